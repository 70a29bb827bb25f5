//! Products of dense matrices in tasks of fixed shape, so that the bits do not depend on the number
//! of threads, and memory that is asked for instead of taken. All other modules call it.

use entk_memory::ensure;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::error::{PredictError, Result};

/// Rows of a product that one task computes.
const ROWS: usize = 256;
/// Independent partial sums of [`dot`].
const LANES: usize = 8;

/// Inner product, always summed in the same order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, x), y)| *sum += x * y);
    }
    sums.iter().sum::<f64>() + tail
}

/// Euclidean norm.
pub(crate) fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// y += a x.
pub(crate) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// A matrix of `rows` rows given column by column.
pub(crate) fn matrix(values: &[f64], rows: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(values, rows, values.len() / rows)
}

/// A matrix of `rows` rows, column by column, to write to.
pub(crate) fn matrix_mut(values: &mut [f64], rows: usize) -> MatMut<'_, f64> {
    let cols = values.len() / rows;
    MatMut::from_column_major_slice_mut(values, rows, cols)
}

/// Y = A B, or Y += A B.
pub(crate) fn multiply(
    y: MatMut<'_, f64>,
    accumulate: Accum,
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
) {
    y.par_row_chunks_mut(ROWS).enumerate().for_each(|(task, y)| {
        let a = a.subrows(task * ROWS, y.nrows());
        matmul(y, accumulate, a, b, 1.0, Par::Seq);
    });
}

/// A B, column by column.
pub(crate) fn product(
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
    what: &'static str,
) -> Result<Vec<f64>> {
    let mut values = zeros(a.nrows(), b.ncols(), what)?;
    multiply(matrix_mut(&mut values, a.nrows()), Accum::Replace, a, b);
    Ok(values)
}

/// A zero-filled rows x cols buffer, or an error instead of an abort when memory is short.
pub(crate) fn zeros(rows: usize, cols: usize, what: &'static str) -> Result<Vec<f64>> {
    let len = rows.saturating_mul(cols);
    let bytes = (len as u64).saturating_mul(size_of::<f64>() as u64);
    ensure(what, bytes, None, "use fewer samples or columns, or conjugate gradients")?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| PredictError::OutOfMemory {
        what,
        bytes: len.saturating_mul(size_of::<f64>()),
    })?;
    values.resize(len, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More rows than one task computes; whole numbers are exact.
    #[test]
    fn products_of_many_rows_are_those_of_each_row() -> Result<()> {
        let rows = 2 * ROWS + 3;
        let values: Vec<f64> = (0..2 * rows).map(|at| (at % 11) as f64).collect();
        let found = product(matrix(&values, rows), matrix(&[3.0, -2.0], 2), "a test")?;
        for (row, found) in found.iter().enumerate() {
            assert_eq!(*found, 3.0 * values[row] - 2.0 * values[rows + row], "{row}");
        }
        Ok(())
    }
}
