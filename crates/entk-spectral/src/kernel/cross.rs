//! The kernel between two samples: in comes a buffer of M x N entries, out goes a [`CrossGram`].
//! Predictions multiply with it; `extend`, `nystrom` and `svds` read it.

use std::fmt;

use crate::{
    entries::{Entries, EntryType, Storage},
    error::Result,
    kernel::matrix::{Matrix, check_finite, check_shape},
};

/// The kernel between two samples: entry (i, j) is Theta(x_i, x'_j) for row sample x (M inputs, say
/// test) and column sample x' (N inputs, say training).
///
/// M x N, row by row, finite, f32 or f64, not normalised. With the coefficients a of a linearized
/// model on the columns, `matvec` gives its outputs on the rows.
///
/// ```
/// use entk_spectral::CrossGram;
///
/// let cross = CrossGram::from_f64(1, 3, vec![1.0, 2.0, 3.0])?;
/// assert_eq!((cross.rows(), cross.cols()), (1, 3));
/// assert_eq!(cross.matvec(&[1.0, 0.0, -1.0])?, [-2.0]);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct CrossGram {
    matrix: Matrix,
}

impl CrossGram {
    /// Builds the matrix from a row-major f32 buffer.
    ///
    /// # Errors
    /// [`Empty`](crate::SpectralError::Empty) if a side is 0,
    /// [`BufferLength`](crate::SpectralError::BufferLength) unless the buffer has rows * cols
    /// entries, [`NonFiniteEntry`](crate::SpectralError::NonFiniteEntry) with the first NaN or
    /// infinity.
    pub fn from_f32(rows: usize, cols: usize, entries: Vec<f32>) -> Result<Self> {
        check_shape(WHAT, rows, cols, entries.len())?;
        check_finite(&entries, cols, |_| cols)?;
        Ok(Self::from_matrix(Matrix::from_checked(Storage::F32(entries), rows, cols)))
    }

    /// Builds the matrix from a row-major f64 buffer.
    ///
    /// # Errors
    /// As [`from_f32`](Self::from_f32).
    pub fn from_f64(rows: usize, cols: usize, entries: Vec<f64>) -> Result<Self> {
        check_shape(WHAT, rows, cols, entries.len())?;
        check_finite(&entries, cols, |_| cols)?;
        Ok(Self::from_matrix(Matrix::from_checked(Storage::F64(entries), rows, cols)))
    }

    pub(crate) fn from_matrix(matrix: Matrix) -> Self {
        Self { matrix }
    }

    /// Number of rows M.
    pub fn rows(&self) -> usize {
        self.matrix.rows()
    }

    /// Number of columns N.
    pub fn cols(&self) -> usize {
        self.matrix.cols()
    }

    /// The type in which entries are stored.
    pub fn entry_type(&self) -> EntryType {
        self.matrix.entry_type()
    }

    /// Entry (i, j).
    ///
    /// # Panics
    /// As indexing a slice does, unless i < M and j < N.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.matrix.get(i, j)
    }

    /// Row i: N entries.
    ///
    /// # Panics
    /// As indexing a slice does, unless i < M.
    pub fn row(&self, i: usize) -> Entries<'_> {
        self.matrix.row(i)
    }

    /// All M * N entries, row by row.
    pub fn entries(&self) -> Entries<'_> {
        self.matrix.entries()
    }

    /// y = K x in f64: x has N entries, y has M.
    ///
    /// # Errors
    /// As [`Gram::matvec`](crate::Gram::matvec).
    pub fn matvec(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.matrix.matvec(x)
    }

    /// Y = K X for several columns: each of N entries in `columns`, each of M in the result, one
    /// after the other.
    ///
    /// # Errors
    /// As [`Gram::product`](crate::Gram::product).
    pub fn product(&self, columns: &[f64]) -> Result<Vec<f64>> {
        self.matrix.product(columns)
    }
}

const WHAT: &str = "cross-Gram matrix";

impl fmt::Debug for CrossGram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossGram")
            .field("rows", &self.rows())
            .field("cols", &self.cols())
            .field("entry_type", &self.entry_type())
            .finish_non_exhaustive()
    }
}
