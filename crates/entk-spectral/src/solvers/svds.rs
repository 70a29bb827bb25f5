//! The k largest singular triplets of a linear operator A: in come A and settings, out go triplets
//! with measured residuals, found by `eigsh` of A^T A or A A^T and one step with A itself. Users
//! call it.

use crate::{
    dense::vector::{norm, zeros},
    eigenpairs::{check_k, fix_sign},
    error::Result,
    kernel::{
        operator::LinearOperator,
        row_gram::{ColumnGram, RowGram},
    },
    solvers::{
        eigsh::eigsh,
        eigsh_config::EigshConfig,
        rayleigh_ritz::{left_triplets, turn},
    },
};

/// Singular triplets A v_j = sigma_j u_j, sigma descending, of an M x N operator.
///
/// In every v_j the entry of largest magnitude is positive, with the tie rule of
/// [`Eigenpairs`](crate::Eigenpairs); u_j has the sign that goes with it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SingularTriplets {
    /// sigma_j, descending and positive.
    pub values: Vec<f64>,
    /// u_0, then u_1, ...: orthonormal, M entries each.
    pub left: Vec<f64>,
    /// v_0, then v_1, ...: orthonormal, N entries each.
    pub right: Vec<f64>,
    /// (||A v_j - sigma_j u_j||^2 + ||A^T u_j - sigma_j v_j||^2)^(1/2), measured; there is a
    /// singular value of A within this distance of sigma_j.
    pub residuals: Vec<f64>,
}

/// The k largest singular triplets of a linear operator.
///
/// [`eigsh`] of A^T A or A A^T, whichever is smaller, then a Rayleigh-Ritz step with A itself,
/// which gives back the digits that squaring costs: with Q R = A V, the singular values and vectors
/// are those of R, turned by Q and V. The space of the vectors is found to `tolerance` sigma_0^2 in
/// the residual of the squared problem; a sigma_j is thus meaningful while sigma_j^2 is well above
/// that.
///
/// Cost: as [`eigsh`], with two products in place of each one, and 2 k more.
///
/// # Errors
/// [`InvalidK`](crate::SpectralError::InvalidK) unless 1 <= k <= min(M, N), or with the number of
/// singular values above round-off if they are fewer than k; otherwise as [`eigsh`].
///
/// ```
/// use entk_spectral::{CrossGram, EigshConfig, svds};
///
/// let a = CrossGram::from_f64(2, 3, vec![3.0, 0.0, 0.0, 0.0, 0.0, -2.0])?;
/// let top = svds(&a, 2, &EigshConfig::default())?;
/// assert!((top.values[0] - 3.0).abs() < 1e-14);
/// assert!((top.values[1] - 2.0).abs() < 1e-14);
/// assert!((top.right[5] - 1.0).abs() < 1e-14 && (top.left[3] + 1.0).abs() < 1e-14);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[cfg_attr(feature = "tracing", tracing::instrument(name = "svds", skip_all, fields(k = k)))]
pub fn svds<A: LinearOperator + ?Sized>(
    operator: &A,
    k: usize,
    config: &EigshConfig,
) -> Result<SingularTriplets> {
    let (m, n) = (operator.rows(), operator.cols());
    check_k(k, m.min(n))?;
    if n <= m {
        let pairs = eigsh(&ColumnGram::new(operator), k, config)?.pairs;
        let turned = left_triplets(|x, y| operator.apply(x, y), m, pairs.vectors(), k)?;
        let right = turn(pairs.vectors(), n, &turned.rotation)?;
        canonical(operator, turned.values, turned.left, right)
    } else {
        let pairs = eigsh(&RowGram::new(operator), k, config)?.pairs;
        let turned = left_triplets(|x, y| operator.apply_transposed(x, y), n, pairs.vectors(), k)?;
        let left = turn(pairs.vectors(), m, &turned.rotation)?;
        canonical(operator, turned.values, left, turned.left)
    }
}

/// Fixes the signs and measures the residuals.
fn canonical<A: LinearOperator + ?Sized>(
    operator: &A,
    values: Vec<f64>,
    mut left: Vec<f64>,
    mut right: Vec<f64>,
) -> Result<SingularTriplets> {
    let (m, n, k) = (operator.rows(), operator.cols(), values.len());
    for (u, v) in left.chunks_exact_mut(m).zip(right.chunks_exact_mut(n)) {
        if fix_sign(v) {
            u.iter_mut().for_each(|x| *x = -*x);
        }
    }
    let mut forward = zeros(m * k, "images of the singular vectors")?;
    operator.apply(&right, &mut forward)?;
    let mut backward = zeros(n * k, "images of the singular vectors")?;
    operator.apply_transposed(&left, &mut backward)?;
    let off = |image: &[f64], vector: &[f64], value: f64| {
        norm(&image.iter().zip(vector).map(|(y, x)| y - value * x).collect::<Vec<_>>())
    };
    let residuals = (0..k)
        .map(|j| {
            let (u, v) = (j * m..(j + 1) * m, j * n..(j + 1) * n);
            let a = off(&forward[u.clone()], &left[u], values[j]);
            a.hypot(off(&backward[v.clone()], &right[v], values[j]))
        })
        .collect();
    Ok(SingularTriplets { values, left, right, residuals })
}
