//! Products with tall matrices, n rows and few columns. Every task has a fixed shape and is one
//! sequential product, so that the bits do not depend on the number of threads, nor, within a band
//! of rows, on where the band lies. The solvers, `qr` and `principal_cosines` call these.

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::ranks::row_bands::BAND;

/// Rows that one task of [`subtract`] and [`rotate`] handles.
const ROWS: usize = 256;
/// Columns of the left factor that one task of [`inner`] handles.
const COLS: usize = 128;

/// V^T W for V (n x m) and W (n x w), both column by column: an m x w matrix, column by column.
pub(crate) fn inner(v: MatRef<'_, f64>, w: MatRef<'_, f64>) -> Vec<f64> {
    let mut bands = inner_bands(v, w, BAND).into_iter();
    let mut sum = bands.next().unwrap_or_else(|| vec![0.0; v.ncols() * w.ncols()]);
    bands.for_each(|band| sum.iter_mut().zip(band).for_each(|(sum, x)| *sum += x));
    sum
}

/// The terms of V^T W that each band of rows contributes.
pub(crate) fn inner_bands(v: MatRef<'_, f64>, w: MatRef<'_, f64>, band: usize) -> Vec<Vec<f64>> {
    let (n, m, width) = (v.nrows(), v.ncols(), w.ncols());
    let parts = m.div_ceil(COLS);
    let tasks: Vec<Vec<f64>> = (0..parts * n.div_ceil(band))
        .into_par_iter()
        .map(|task| {
            let (first, start) = ((task % parts) * COLS, (task / parts) * band);
            let (cols, rows) = (COLS.min(m - first), band.min(n - start));
            let mut part = vec![0.0; cols * width];
            let dst = MatMut::from_column_major_slice_mut(&mut part, cols, width);
            let left = v.submatrix(start, first, rows, cols);
            matmul(dst, Accum::Replace, left.transpose(), w.subrows(start, rows), 1.0, Par::Seq);
            part
        })
        .collect();
    tasks.chunks(parts.max(1)).map(|parts| stacked(parts, m, width)).collect()
}

/// Matrices of `width` columns below each other, m rows in all.
fn stacked(parts: &[Vec<f64>], m: usize, width: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(m * width);
    for c in 0..width {
        for part in parts {
            let rows = part.len() / width;
            out.extend_from_slice(&part[c * rows..(c + 1) * rows]);
        }
    }
    out
}

/// Cuts the rows of a matrix into bands and these into tasks, which get their first row.
fn by_rows(w: MatMut<'_, f64>, band: usize, task: impl Fn(usize, MatMut<'_, f64>) + Sync) {
    w.par_row_chunks_mut(band).enumerate().for_each(|(at, w)| {
        w.par_row_chunks_mut(ROWS).enumerate().for_each(|(i, w)| task(at * band + i * ROWS, w));
    });
}

/// W -= V H for V (n x m), H (m x w, column by column), W (n x w), in bands of rows.
pub(crate) fn subtract(w: MatMut<'_, f64>, v: MatRef<'_, f64>, h: &[f64], band: usize) {
    let h = MatRef::from_column_major_slice(h, v.ncols(), w.ncols());
    by_rows(w, band, |first, w| {
        let v = v.subrows(first, w.nrows());
        matmul(w, Accum::Add, v, h, -1.0, Par::Seq);
    });
}

/// V Y for V (n x m) and Y (m x p): n x p, column by column, into `out`, in bands of rows.
pub(crate) fn combine(out: MatMut<'_, f64>, v: MatRef<'_, f64>, y: MatRef<'_, f64>, band: usize) {
    by_rows(out, band, |first, out| {
        let v = v.subrows(first, out.nrows());
        matmul(out, Accum::Replace, v, y, 1.0, Par::Seq);
    });
}

/// The leading p columns of V become V Y, in place, for Y (m x p) with p <= m, in bands of rows.
/// Working memory: 256 rows a thread.
pub(crate) fn rotate(v: MatMut<'_, f64>, y: MatRef<'_, f64>, band: usize) {
    let kept = y.ncols();
    by_rows(v, band, |_, mut v| {
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
