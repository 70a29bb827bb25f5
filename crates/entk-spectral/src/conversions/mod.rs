//! Matrices of other crates as kernels, and kernels and eigenvectors as theirs: one file a crate,
//! each behind the feature of its name. Called by users.
//!
//! `faer::MatRef`, `ndarray::ArrayView2` and `&nalgebra::DMatrix` of f32 or f64 become a [`Gram`],
//! if they are square and symmetric within round-off as [`Gram::from_symmetric_f64`] checks, or a
//! [`CrossGram`]. A `&Gram` becomes a matrix of f64 of these crates, a copy of 8 N^2 bytes, and
//! `&Eigenpairs` one of N x k with eigenvector j in column j: Phi of K Phi = Phi Lambda.

#[cfg(feature = "faer")]
mod faer;
#[cfg(feature = "nalgebra")]
mod nalgebra;
#[cfg(feature = "ndarray")]
mod ndarray;

use crate::{
    error::{Result, SpectralError},
    kernel::{cross::CrossGram, gram::Gram},
};

/// An element type of kernels.
trait Entry: Copy {
    fn gram(n: usize, entries: Vec<Self>) -> Result<Gram>;
    fn cross(rows: usize, cols: usize, entries: Vec<Self>) -> Result<CrossGram>;
}

impl Entry for f32 {
    fn gram(n: usize, entries: Vec<Self>) -> Result<Gram> {
        Gram::from_symmetric_f32(n, entries)
    }

    fn cross(rows: usize, cols: usize, entries: Vec<Self>) -> Result<CrossGram> {
        CrossGram::from_f32(rows, cols, entries)
    }
}

impl Entry for f64 {
    fn gram(n: usize, entries: Vec<Self>) -> Result<Gram> {
        Gram::from_symmetric_f64(n, entries)
    }

    fn cross(rows: usize, cols: usize, entries: Vec<Self>) -> Result<CrossGram> {
        CrossGram::from_f64(rows, cols, entries)
    }
}

/// All entries row by row, for a matrix that need not keep them so.
fn row_by_row<T>(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> T) -> Vec<T> {
    (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).collect()
}

fn gram<T: Entry>(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> T) -> Result<Gram> {
    if rows != cols {
        return Err(SpectralError::NotSquare { rows, cols });
    }
    T::gram(rows, row_by_row(rows, cols, entry))
}

fn cross<T: Entry>(
    rows: usize,
    cols: usize,
    entry: impl Fn(usize, usize) -> T,
) -> Result<CrossGram> {
    T::cross(rows, cols, row_by_row(rows, cols, entry))
}
