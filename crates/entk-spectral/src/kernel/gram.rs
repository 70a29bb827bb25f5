//! The kernel matrix of one sample: in comes a buffer of N x N entries of which the lower triangle
//! is read, out goes a [`Gram`]. Whoever computes or loads a kernel calls it; the solvers and the
//! metrics read it.

use std::fmt;

use rayon::prelude::*;

use crate::{
    dense::vector::finite,
    entries::{Entries, EntryType, Scalar, Storage, with_entries},
    error::{Result, SpectralError},
    kernel::{
        cross::CrossGram,
        matrix::{Matrix, check_finite, check_shape},
    },
};

/// Rows of the upper triangle filled at a time: tasks that run at the same time then read
/// neighbouring entries of the lower triangle.
const MIRROR_ROWS: usize = 64;
/// How far entries (i, j) and (j, i) of a matrix from elsewhere may differ, relative to their
/// scale.
const SYMMETRY_F32: f64 = 1e-4;
const SYMMETRY_F64: f64 = 1e-10;
/// Rows that one task mirrors: a cache line of f64.
const MIRROR_TASK: usize = 8;

/// The kernel matrix K of one sample of N inputs: K\[i\]\[j\] = Theta(x_i, x_j).
///
/// N x N, row by row, entries in f32 or f64. Two properties hold by construction and need no
/// further check anywhere: every entry is finite, and K\[i\]\[j\] and K\[j\]\[i\] are the same
/// bits. There is no normalisation: no 1/N and no 1/P. Positive semi-definiteness is a property of
/// the spectrum; see [`check_psd`](crate::check_psd).
///
/// ```
/// use entk_spectral::Gram;
///
/// // Only the lower triangle is read; the zero above the diagonal is replaced.
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 3.0])?;
/// assert_eq!(gram.get(0, 1), 1.0);
/// assert_eq!(gram.trace()?, 5.0);
/// assert_eq!(gram.matvec(&[1.0, 1.0])?, [3.0, 4.0]);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Gram {
    matrix: Matrix,
}

impl Gram {
    /// Builds the Gram from an N x N row-major f32 buffer of which only the lower triangle (j <= i)
    /// is read; the upper one is overwritten with its mirror image, in place.
    ///
    /// # Errors
    /// [`Empty`](crate::SpectralError::Empty) for n = 0,
    /// [`BufferLength`](crate::SpectralError::BufferLength) unless the buffer has n * n entries,
    /// [`NonFiniteEntry`](crate::SpectralError::NonFiniteEntry) with the first NaN or infinity of
    /// the lower triangle in row-major order.
    pub fn from_lower_f32(n: usize, mut entries: Vec<f32>) -> Result<Self> {
        symmetrise(n, &mut entries)?;
        Ok(Self { matrix: Matrix::from_checked(Storage::F32(entries), n, n) })
    }

    /// As [`from_lower_f32`](Self::from_lower_f32), with f64 entries.
    ///
    /// # Errors
    /// As [`from_lower_f32`](Self::from_lower_f32).
    pub fn from_lower_f64(n: usize, mut entries: Vec<f64>) -> Result<Self> {
        symmetrise(n, &mut entries)?;
        Ok(Self { matrix: Matrix::from_checked(Storage::F64(entries), n, n) })
    }

    /// Builds the Gram from an N x N row-major f32 buffer that somebody else has computed: all of
    /// it must be finite, and symmetric within 1e-4 of max(|K_ii K_jj|^(1/2), |K_ij|, |K_ji|),
    /// which is the round-off of long f32 sums in another order. The lower triangle is kept.
    ///
    /// # Errors
    /// As [`from_lower_f32`](Self::from_lower_f32), for the whole matrix, and
    /// [`NotSymmetric`](crate::SpectralError::NotSymmetric) with the largest difference.
    ///
    /// ```
    /// use entk_spectral::{Gram, SpectralError};
    ///
    /// assert!(Gram::from_symmetric_f32(2, vec![2.0, 1.0, 1.0, 3.0]).is_ok());
    /// let error = Gram::from_symmetric_f32(2, vec![2.0, 0.0, 1.0, 3.0]);
    /// assert!(matches!(error, Err(SpectralError::NotSymmetric { row: 1, col: 0, .. })));
    /// ```
    pub fn from_symmetric_f32(n: usize, mut entries: Vec<f32>) -> Result<Self> {
        check_symmetric(n, &entries, SYMMETRY_F32)?;
        mirror(n, &mut entries);
        Ok(Self { matrix: Matrix::from_checked(Storage::F32(entries), n, n) })
    }

    /// As [`from_symmetric_f32`](Self::from_symmetric_f32), with f64 entries, symmetric within
    /// 1e-10.
    ///
    /// # Errors
    /// As [`from_symmetric_f32`](Self::from_symmetric_f32).
    pub fn from_symmetric_f64(n: usize, mut entries: Vec<f64>) -> Result<Self> {
        check_symmetric(n, &entries, SYMMETRY_F64)?;
        mirror(n, &mut entries);
        Ok(Self { matrix: Matrix::from_checked(Storage::F64(entries), n, n) })
    }

    /// Number of samples N.
    pub fn n(&self) -> usize {
        self.matrix.rows()
    }

    /// The type in which entries are stored.
    pub fn entry_type(&self) -> EntryType {
        self.matrix.entry_type()
    }

    /// Entry K\[i\]\[j\].
    ///
    /// # Panics
    /// As indexing a slice does, unless i < N and j < N.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.matrix.get(i, j)
    }

    /// Row i, which is also column i: N entries.
    ///
    /// # Panics
    /// As indexing a slice does, unless i < N.
    pub fn row(&self, i: usize) -> Entries<'_> {
        self.matrix.row(i)
    }

    /// All N * N entries, row by row.
    pub fn entries(&self) -> Entries<'_> {
        self.matrix.entries()
    }

    /// The diagonal K\[i\]\[i\] = ||grad f(x_i)||^2, in f64.
    pub fn diagonal(&self) -> Vec<f64> {
        let step = self.n() + 1;
        with_entries!(self.entries(), x => x.iter().step_by(step).map(|x| x.widen()).collect())
    }

    /// The sum of the diagonal, which is the sum of the eigenvalues.
    ///
    /// # Errors
    /// [`Overflow`](crate::SpectralError::Overflow) if it does not fit an f64.
    pub fn trace(&self) -> Result<f64> {
        finite(self.diagonal().iter().sum(), "trace")
    }

    /// The Frobenius norm, (sum of K\[i\]\[j\]^2)^(1/2), which is the l2 norm of the eigenvalues.
    ///
    /// # Errors
    /// [`Overflow`](crate::SpectralError::Overflow) if it does not fit an f64; entries of any
    /// finite size are squared safely.
    pub fn frobenius(&self) -> Result<f64> {
        finite(self.matrix.frobenius(), "Frobenius norm")
    }

    /// The largest |K\[i\]\[j\]|.
    pub fn max_abs(&self) -> f64 {
        self.matrix.max_abs()
    }

    /// This kernel with its entries widened to f64, which is exact. Memory: 8 N^2 bytes.
    pub fn to_f64(&self) -> Self {
        Self { matrix: self.matrix.to_f64() }
    }

    /// The principal submatrix on `indices`: entry (a, b) of the result is
    /// K\[indices\[a\]\]\[indices\[b\]\]. It is the Gram of that part of the sample, in that order;
    /// an index may repeat and then stands for a repeated input.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](crate::SpectralError::IndexOutOfRange), or
    /// [`Empty`](crate::SpectralError::Empty) without indices.
    pub fn principal(&self, indices: &[usize]) -> Result<Self> {
        Ok(Self { matrix: self.matrix.gather(indices, indices)? })
    }

    /// The rectangular part with the given rows and columns, for instance test against training
    /// inputs of one joint sample.
    ///
    /// # Errors
    /// As [`principal`](Self::principal).
    pub fn block(&self, rows: &[usize], cols: &[usize]) -> Result<CrossGram> {
        Ok(CrossGram::from_matrix(self.matrix.gather(rows, cols)?))
    }

    /// y = K x in f64: x and y have N entries. The bits do not depend on the number of threads.
    /// Cost: N^2 multiply-adds, one pass over the entries.
    ///
    /// # Errors
    /// [`OneVector`](crate::SpectralError::OneVector),
    /// [`NonFiniteVector`](crate::SpectralError::NonFiniteVector), or
    /// [`Overflow`](crate::SpectralError::Overflow).
    pub fn matvec(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.matrix.matvec(x)
    }

    /// Y = K X for k columns, accumulated in f64. The columns of N entries lie one after the other,
    /// in `columns` as in the result; this is the layout of
    /// [`Eigenpairs::vectors`](crate::Eigenpairs::vectors). The bits do not depend on the number of
    /// threads. Cost: k N^2 multiply-adds at the speed of a matrix product, one pass over the
    /// entries.
    ///
    /// # Errors
    /// As [`matvec`](Self::matvec); [`VectorLength`](crate::SpectralError::VectorLength) unless the
    /// length is a non-zero multiple of N.
    pub fn product(&self, columns: &[f64]) -> Result<Vec<f64>> {
        self.matrix.product(columns)
    }
}

impl fmt::Debug for Gram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gram")
            .field("n", &self.n())
            .field("entry_type", &self.entry_type())
            .finish_non_exhaustive()
    }
}

/// Checks that all entries are finite, and that the matrix is symmetric within `tolerance`.
fn check_symmetric<T: Scalar>(n: usize, entries: &[T], tolerance: f64) -> Result<()> {
    check_shape("Gram matrix", n, n, entries.len())?;
    check_finite(entries, n, |_| n)?;
    let diagonal: Vec<f64> =
        entries.iter().step_by(n + 1).map(|x| x.widen().abs().sqrt()).collect();
    let entry = |i: usize, j: usize| entries[i * n + j].widen();
    let relative = |i: usize, j: usize| {
        let (lower, upper) = (entry(i, j), entry(j, i));
        let scale = (diagonal[i] * diagonal[j]).max(lower.abs()).max(upper.abs());
        (if lower == upper { 0.0 } else { (lower - upper).abs() / scale }, i, j)
    };
    // Square by square, so that both an entry and its mirror image are near those read before.
    let worst_of_rows = |first: usize| {
        let rows = first..n.min(first + MIRROR_ROWS);
        let starts = (0..rows.end).step_by(MIRROR_ROWS);
        let square = |start: usize| {
            let row = move |i: usize| (start..i.min(start + MIRROR_ROWS)).map(move |j| (i, j));
            rows.clone().flat_map(row)
        };
        starts.flat_map(square).map(|(i, j)| relative(i, j)).fold((0.0, 0, 0), larger)
    };
    let blocks = (0..n.div_ceil(MIRROR_ROWS)).into_par_iter().map(|block| block * MIRROR_ROWS);
    let (worst, row, col) = blocks.map(worst_of_rows).reduce(|| (0.0, 0, 0), larger);
    if worst <= tolerance {
        return Ok(());
    }
    let (lower, upper) = (entry(row, col), entry(col, row));
    Err(SpectralError::NotSymmetric { row, col, lower, upper, worst, tolerance })
}

/// The larger difference, and of equal ones the first.
fn larger(a: (f64, usize, usize), b: (f64, usize, usize)) -> (f64, usize, usize) {
    if b.0 > a.0 || (b.0 == a.0 && (b.1, b.2) < (a.1, a.2)) { b } else { a }
}

/// Checks the lower triangle and mirrors it.
fn symmetrise<T: Scalar>(n: usize, entries: &mut [T]) -> Result<()> {
    check_shape("Gram matrix", n, n, entries.len())?;
    check_finite(entries, n, |row| row + 1)?;
    mirror(n, entries);
    Ok(())
}

/// Copies the lower triangle onto the upper one, block row by block row: the rows of a block are
/// written in parallel, reading only rows below them.
fn mirror<T: Scalar>(n: usize, entries: &mut [T]) {
    let mut rest = entries;
    for first in (0..n).step_by(MIRROR_ROWS) {
        let rows = MIRROR_ROWS.min(n - first);
        let (block, below) = rest.split_at_mut(rows * n);
        mirror_within(n, first, block);
        let below = &*below;
        block.par_chunks_mut(MIRROR_TASK * n).enumerate().for_each(|(task, strip)| {
            mirror_from_below(n, first + rows, first + task * MIRROR_TASK, below, strip)
        });
        rest = &mut rest[rows * n..];
    }
}

/// Mirrors the diagonal block of the rows `first..`, which begins in column `first`.
pub(crate) fn mirror_within<T: Scalar>(n: usize, first: usize, block: &mut [T]) {
    let rows = block.len() / n;
    for i in 0..rows {
        for j in i + 1..rows {
            block[i * n + first + j] = block[j * n + first + i];
        }
    }
}

/// Fills the columns from `start` on of the rows from `first` on with the columns of the rows
/// below, one short run of each row at a time.
fn mirror_from_below<T: Scalar>(
    n: usize,
    start: usize,
    first: usize,
    below: &[T],
    strip: &mut [T],
) {
    let rows = strip.len() / n;
    for (j, row) in below.chunks_exact(n).enumerate() {
        for (i, &x) in row[first..first + rows].iter().enumerate() {
            strip[i * n + start + j] = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_symmetric_needs_no_tolerance() {
        let check = |entries: &[f64], tolerance| check_symmetric(2, entries, tolerance);
        assert!(check(&[2.0, 1.0, 1.0, 3.0], 0.0).is_ok());
        // Off by an eighth of 4.
        assert!(check(&[4.0, 1.0, 1.5, 4.0], 0.125).is_ok());
        assert!(check(&[4.0, 1.0, 1.5, 4.0], 0.124).is_err());
    }
}
