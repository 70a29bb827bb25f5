//! Kernels from and to arrays of ndarray. Called by users.

use ::ndarray::{Array2, ArrayView2};

use crate::{
    conversions::{Entry, cross, gram},
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    kernel::{cross::CrossGram, gram::Gram},
};

impl<T: Entry> TryFrom<ArrayView2<'_, T>> for Gram {
    type Error = SpectralError;

    fn try_from(array: ArrayView2<'_, T>) -> Result<Self> {
        gram(array.nrows(), array.ncols(), |i, j| array[(i, j)])
    }
}

impl<T: Entry> TryFrom<ArrayView2<'_, T>> for CrossGram {
    type Error = SpectralError;

    fn try_from(array: ArrayView2<'_, T>) -> Result<Self> {
        cross(array.nrows(), array.ncols(), |i, j| array[(i, j)])
    }
}

impl From<&Gram> for Array2<f64> {
    fn from(kernel: &Gram) -> Self {
        Self::from_shape_fn((kernel.n(), kernel.n()), |(i, j)| kernel.get(i, j))
    }
}

impl From<&Eigenpairs> for Array2<f64> {
    fn from(pairs: &Eigenpairs) -> Self {
        Self::from_shape_fn((pairs.dim(), pairs.len()), |(i, j)| pairs.vector(j)[i])
    }
}
