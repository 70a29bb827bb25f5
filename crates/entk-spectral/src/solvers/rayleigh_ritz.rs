//! A Rayleigh-Ritz step with an operator B in the span of B V: in come orthonormal columns V, out
//! go singular values and left vectors. `svds` and `row_gram` end with it, since it gives back the
//! digits that the squared problem costs.

use faer::{Mat, MatMut, MatRef};

use crate::{
    dense::{
        qr::{Orthonormal, orthonormal},
        svd::{SmallSvd, small_svd},
        tall::combine,
        vector::{norm, zeros},
    },
    eigenpairs::check_k,
    error::Result,
    kernel::operator::check_finite,
    ranks::row_bands::BAND,
};

/// Singular values and left vectors of B V for orthonormal V, and the rotation of V that belongs to
/// them.
pub(crate) struct Turned {
    pub(crate) values: Vec<f64>,
    pub(crate) left: Vec<f64>,
    pub(crate) rotation: Mat<f64>,
}

/// With Q R = B V, the triplets are those of R, turned by Q; `tall` are the rows of B.
pub(crate) fn left_triplets(
    forward: impl Fn(&[f64], &mut [f64]) -> Result<()>,
    tall: usize,
    vectors: &[f64],
    k: usize,
) -> Result<Turned> {
    let mut images = zeros(tall * k, "images of the singular vectors")?;
    forward(vectors, &mut images)?;
    check_finite(&images, tall)?;
    let largest = images.chunks_exact(tall).map(norm).fold(0.0, f64::max);
    let floor = f64::EPSILON * (tall as f64).sqrt() * largest;
    let Orthonormal { q, r, .. } = orthonormal(images, tall, floor)?;
    check_k(k, r.nrows())?;
    let SmallSvd { values, u, v } = small_svd(r.as_ref())?;
    Ok(Turned { values, left: turn(&q, tall, &u)?, rotation: v })
}

/// Columns of `dim` entries, turned.
pub(crate) fn turn(basis: &[f64], dim: usize, by: &Mat<f64>) -> Result<Vec<f64>> {
    let k = by.ncols();
    let mut out = zeros(dim * k, "singular vectors")?;
    let basis = MatRef::from_column_major_slice(basis, dim, k);
    combine(MatMut::from_column_major_slice_mut(&mut out, dim, k), basis, by.as_ref(), BAND);
    Ok(out)
}
