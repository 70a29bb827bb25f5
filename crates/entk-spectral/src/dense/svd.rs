//! The singular value decomposition of a small square matrix M: out go singular values and vectors.
//! `svds` turns its basis by the vectors, `principal_cosines` takes the values.

use faer::{Mat, MatRef};

use crate::{dense::ritz::dense_eigen, error::Result};

/// M = U diag(values) V^T.
pub(crate) struct SmallSvd {
    /// Descending.
    pub(crate) values: Vec<f64>,
    pub(crate) u: Mat<f64>,
    pub(crate) v: Mat<f64>,
}

/// The singular values and vectors of M, from the eigenpairs of [[0, M], [M^T, 0]], which are plus
/// and minus the values with (u, v) / sqrt(2). Unlike the eigenvalues of M^T M they lose no digits.
/// For a singular M only the values are meaningful.
pub(crate) fn small_svd(m: MatRef<'_, f64>) -> Result<SmallSvd> {
    let k = m.nrows();
    let doubled = Mat::from_fn(2 * k, 2 * k, |i, j| match (i < k, j < k) {
        (true, false) => m[(i, j - k)],
        (false, true) => m[(j, i - k)],
        _ => 0.0,
    });
    let (values, vectors) = dense_eigen(doubled.as_ref())?;
    let entry =
        |row: usize, j: usize| std::f64::consts::SQRT_2 * vectors[(2 * k - 1 - j) * 2 * k + row];
    let (u, v) = (Mat::from_fn(k, k, entry), Mat::from_fn(k, k, |i, j| entry(k + i, j)));
    Ok(SmallSvd { values: values.into_iter().rev().take(k).collect(), u, v })
}
