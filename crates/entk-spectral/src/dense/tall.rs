//! Products with tall matrices, n rows and few columns. Every task has a fixed shape and is one
//! sequential product, so that the bits do not depend on the number of threads. The solvers, `qr`
//! and `principal_cosines` call these.

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

/// Rows that one task of [`subtract`] and [`rotate`] handles.
const ROWS: usize = 256;
/// Columns of the left factor that one task of [`inner`] handles.
const COLS: usize = 128;
/// Rows that one task of [`inner`] sums over.
const DEPTH: usize = 4096;

/// V^T W for V (n x m) and W (n x w), both column by column: an m x w matrix, column by column.
/// Sums over rows go in slabs of 4,096, added in order.
pub(crate) fn inner(v: MatRef<'_, f64>, w: MatRef<'_, f64>) -> Vec<f64> {
    let (n, m, width) = (v.nrows(), v.ncols(), w.ncols());
    let slabs = n.div_ceil(DEPTH);
    let tasks: Vec<Vec<f64>> = (0..m.div_ceil(COLS) * slabs)
        .into_par_iter()
        .map(|task| {
            let (first, start) = ((task / slabs) * COLS, (task % slabs) * DEPTH);
            let (cols, rows) = (COLS.min(m - first), DEPTH.min(n - start));
            let mut part = vec![0.0; cols * width];
            let dst = MatMut::from_column_major_slice_mut(&mut part, cols, width);
            let left = v.submatrix(start, first, rows, cols);
            matmul(dst, Accum::Replace, left.transpose(), w.subrows(start, rows), 1.0, Par::Seq);
            part
        })
        .collect();
    let mut out = vec![0.0; m * width];
    for (task, part) in tasks.iter().enumerate() {
        let first = (task / slabs) * COLS;
        let cols = part.len() / width.max(1);
        for (c, part) in part.chunks_exact(cols.max(1)).enumerate() {
            let out = &mut out[c * m + first..c * m + first + cols];
            out.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
    out
}

/// W -= V H for V (n x m), H (m x w, column by column), W (n x w).
pub(crate) fn subtract(w: MatMut<'_, f64>, v: MatRef<'_, f64>, h: &[f64]) {
    let h = MatRef::from_column_major_slice(h, v.ncols(), w.ncols());
    w.par_row_chunks_mut(ROWS).enumerate().for_each(|(task, w)| {
        let v = v.subrows(task * ROWS, w.nrows());
        matmul(w, Accum::Add, v, h, -1.0, Par::Seq);
    });
}

/// V Y for V (n x m) and Y (m x p): n x p, column by column, into `out`.
pub(crate) fn combine(out: MatMut<'_, f64>, v: MatRef<'_, f64>, y: MatRef<'_, f64>) {
    out.par_row_chunks_mut(ROWS).enumerate().for_each(|(task, out)| {
        let v = v.subrows(task * ROWS, out.nrows());
        matmul(out, Accum::Replace, v, y, 1.0, Par::Seq);
    });
}

/// The leading p columns of V become V Y, in place, for Y (m x p) with p <= m. Working memory: 256
/// rows a thread.
pub(crate) fn rotate(v: MatMut<'_, f64>, y: MatRef<'_, f64>) {
    let kept = y.ncols();
    v.par_row_chunks_mut(ROWS).for_each(|mut v| {
        let rows = v.nrows();
        let mut panel = vec![0.0; rows * kept];
        let mut image = MatMut::from_column_major_slice_mut(&mut panel, rows, kept);
        matmul(image.as_mut(), Accum::Replace, v.as_ref(), y, 1.0, Par::Seq);
        v.as_mut().subcols_mut(0, kept).copy_from(image.as_ref());
    });
}

/// A B for small matrices, sequentially.
pub(crate) fn multiply(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}
