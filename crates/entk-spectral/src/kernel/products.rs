//! Products of kernel entries, row by row in f32 or f64, with columns in f64: in comes a whole
//! kernel or one tile of it, out go the images of the columns. `operator` and `tiles` call the
//! products, `matrix` the copy of a panel.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::entries::Scalar;

/// Rows of a product that one task computes.
const PANEL_ROWS: usize = 256;
/// Columns of the kernel widened to f64 at a time: with the rows, 256 KiB, within an L2 cache.
/// Measured best of nine shapes for 16 to 128 columns.
const PANEL_COLS: usize = 128;

/// Y = K X, or Y += K X, for y.nrows() x `cols` entries K.
pub(crate) fn multiply<T: Scalar>(
    accumulate: Accum,
    k: &[T],
    cols: usize,
    x: MatRef<'_, f64>,
    y: MatMut<'_, f64>,
) {
    y.par_row_chunks_mut(PANEL_ROWS).enumerate().for_each(|(task, mut y)| {
        let rows = y.nrows();
        let mut panel = Vec::with_capacity(rows * PANEL_COLS.min(cols));
        let mut accumulate = accumulate;
        for start in (0..cols).step_by(PANEL_COLS) {
            let width = PANEL_COLS.min(cols - start);
            widen(k, cols, task * PANEL_ROWS..task * PANEL_ROWS + rows, start, width, &mut panel);
            let k = MatRef::from_row_major_slice(&panel, rows, width);
            matmul(y.as_mut(), accumulate, k, x.subrows(start, width), 1.0, Par::Seq);
            accumulate = Accum::Add;
        }
    });
}

/// Y += K^T X for x.nrows() x `cols` entries K.
pub(crate) fn add_transposed<T: Scalar>(
    k: &[T],
    cols: usize,
    x: MatRef<'_, f64>,
    y: MatMut<'_, f64>,
) {
    y.par_row_chunks_mut(PANEL_ROWS).enumerate().for_each(|(task, mut y)| {
        let width = y.nrows();
        let mut panel = Vec::with_capacity(width * PANEL_COLS);
        for start in (0..x.nrows()).step_by(PANEL_COLS) {
            let rows = PANEL_COLS.min(x.nrows() - start);
            widen(k, cols, start..start + rows, task * PANEL_ROWS, width, &mut panel);
            let k = MatRef::from_row_major_slice(&panel, rows, width);
            matmul(y.as_mut(), Accum::Add, k.transpose(), x.subrows(start, rows), 1.0, Par::Seq);
        }
    });
}

/// Replaces `panel` by the columns `start..start + width` of the given rows, row by row in f64.
pub(crate) fn widen<T: Scalar>(
    k: &[T],
    cols: usize,
    rows: Range<usize>,
    start: usize,
    width: usize,
    panel: &mut Vec<f64>,
) {
    panel.resize(rows.len() * width, 0.0);
    for (row, wide) in rows.zip(panel.chunks_exact_mut(width)) {
        let at = row * cols + start;
        wide.iter_mut().zip(&k[at..at + width]).for_each(|(wide, k)| *wide = k.widen());
    }
}
