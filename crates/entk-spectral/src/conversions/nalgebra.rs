//! Kernels from and to matrices of nalgebra. Called by users.

use ::nalgebra::{DMatrix, Scalar};

use crate::{
    conversions::{Entry, cross, gram},
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    kernel::{cross::CrossGram, gram::Gram},
};

impl<T: Entry + Scalar> TryFrom<&DMatrix<T>> for Gram {
    type Error = SpectralError;

    fn try_from(matrix: &DMatrix<T>) -> Result<Self> {
        gram(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)])
    }
}

impl<T: Entry + Scalar> TryFrom<&DMatrix<T>> for CrossGram {
    type Error = SpectralError;

    fn try_from(matrix: &DMatrix<T>) -> Result<Self> {
        cross(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)])
    }
}

impl From<&Gram> for DMatrix<f64> {
    fn from(kernel: &Gram) -> Self {
        Self::from_fn(kernel.n(), kernel.n(), |i, j| kernel.get(i, j))
    }
}

impl From<&Eigenpairs> for DMatrix<f64> {
    fn from(pairs: &Eigenpairs) -> Self {
        Self::from_fn(pairs.dim(), pairs.len(), |i, j| pairs.vector(j)[i])
    }
}
