//! The k largest singular triplets of a linear operator A: in come A and settings, out go triplets
//! with measured residuals, found by `eigsh` of A^T A or A A^T and one step with A itself. Users
//! call it.

use faer::{Mat, MatMut, MatRef};

use crate::{
    dense::{
        qr::{Orthonormal, orthonormal},
        svd::{SmallSvd, small_svd},
        tall::combine,
        vector::{norm, zeros},
    },
    eigenpairs::{check_k, fix_sign},
    entries::EntryType,
    error::{Result, SpectralError},
    kernel::operator::{LinearOperator, SymmetricOperator, check_images},
    solvers::eigsh::{EigshConfig, eigsh},
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
/// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= min(M, N), or with the number of singular
/// values above round-off if they are fewer than k; otherwise as [`eigsh`].
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
pub fn svds<A: LinearOperator + ?Sized>(
    operator: &A,
    k: usize,
    config: &EigshConfig,
) -> Result<SingularTriplets> {
    let (m, n) = (operator.rows(), operator.cols());
    check_k(k, m.min(n))?;
    if n <= m {
        let normal = Normal { operator, transposed: false };
        let (values, left, right) = normal.triplets(k, config)?;
        canonical(operator, values, left, right)
    } else {
        let normal = Normal { operator, transposed: true };
        let (values, right, left) = normal.triplets(k, config)?;
        canonical(operator, values, left, right)
    }
}

/// B^T B for B = A or A^T.
struct Normal<'a, A: ?Sized> {
    operator: &'a A,
    transposed: bool,
}

/// Values, vectors on the larger side, vectors on the smaller side.
type Triplets = (Vec<f64>, Vec<f64>, Vec<f64>);

impl<A: LinearOperator + ?Sized> Normal<'_, A> {
    /// Entries on the larger side.
    fn tall(&self) -> usize {
        self.operator.rows().max(self.operator.cols())
    }

    fn forward(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        if self.transposed {
            self.operator.apply_transposed(columns, images)
        } else {
            self.operator.apply(columns, images)
        }
    }

    fn backward(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        if self.transposed {
            self.operator.apply(columns, images)
        } else {
            self.operator.apply_transposed(columns, images)
        }
    }

    fn triplets(&self, k: usize, config: &EigshConfig) -> Result<Triplets> {
        let (tall, short) = (self.tall(), self.n());
        let pairs = eigsh(self, k, config)?.pairs;
        let mut images = zeros(tall * k, "images of the singular vectors")?;
        self.forward(pairs.vectors(), &mut images)?;
        let largest = images.chunks_exact(tall).map(norm).fold(0.0, f64::max);
        let floor = f64::EPSILON * (tall as f64).sqrt() * largest;
        let Orthonormal { q, r, .. } = orthonormal(images, tall, floor)?;
        check_k(k, r.nrows())?;
        let SmallSvd { values, u, v } = small_svd(r.as_ref())?;
        let turn = |basis: &[f64], dim: usize, by: &Mat<f64>| {
            let mut out = zeros(dim * k, "singular vectors")?;
            let basis = MatRef::from_column_major_slice(basis, dim, k);
            combine(MatMut::from_column_major_slice_mut(&mut out, dim, k), basis, by.as_ref());
            Ok(out)
        };
        Ok((values, turn(&q, tall, &u)?, turn(pairs.vectors(), short, &v)?))
    }
}

impl<A: LinearOperator + ?Sized> SymmetricOperator for Normal<'_, A> {
    fn n(&self) -> usize {
        self.operator.rows().min(self.operator.cols())
    }

    fn entry_type(&self) -> EntryType {
        self.operator.entry_type()
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let count = check_images(columns, self.n(), images, self.n())?;
        let mut between = zeros(self.tall() * count, "images of the columns")?;
        self.forward(columns, &mut between)?;
        match between.iter().position(|x| !x.is_finite()) {
            Some(at) => {
                Err(SpectralError::NonFiniteImage { row: at % self.tall(), value: between[at] })
            }
            None => self.backward(&between, images),
        }
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
