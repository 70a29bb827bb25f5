//! [`SpectralPreconditioner`]: in come the leading eigenpairs of a kernel and a ridge, out goes an
//! approximate inverse of K + ridge that is exact on their span. `conjugate` applies it.

use entk_spectral::Eigenpairs;
use faer::Accum;

use crate::{
    dense::{matrix, matrix_mut, multiply, product},
    error::{PredictError, Result, check_ridge},
};

/// The preconditioner P = sum over j < k of (lambda_j + ridge) phi_j phi_j^T + mu (I - sum of phi_j
/// phi_j^T), from k leading eigenpairs.
///
/// mu is lambda_(k-1) + ridge, the smallest of them. P^-1 (K + ridge) is then the identity on the
/// span, and has eigenvalues from (lambda_(N-1) + ridge) / mu to 1 elsewhere: the condition number
/// is mu / (lambda_(N-1) + ridge) instead of that of K. Any mu between the ends of the remaining
/// spectrum gives the same one; this choice needs no trace, and no eigenvalue exceeds 1 by more
/// than the residuals of the pairs. Pairs with a residual of 1e-6 of the largest serve as well.
///
/// ```
/// use entk_predict::SpectralPreconditioner;
/// use entk_spectral::{Gram, eigh};
///
/// let gram = Gram::from_lower_f64(2, vec![3.0, 0.0, 0.0, 1.0])?;
/// let pairs = eigh(&gram)?;
/// let preconditioner = SpectralPreconditioner::new(&pairs, 1.0)?;
/// assert_eq!(preconditioner.rest(), 2.0);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SpectralPreconditioner<'a> {
    pairs: &'a Eigenpairs,
    /// 1 / (lambda_j + ridge) - 1 / mu.
    gains: Vec<f64>,
    rest: f64,
}

impl<'a> SpectralPreconditioner<'a> {
    /// The preconditioner of K + ridge for leading eigenpairs of K, as
    /// [`eigsh`](entk_spectral::eigsh) gives them.
    ///
    /// # Errors
    /// [`Setting`](PredictError::Setting) for the ridge,
    /// [`Singular`](PredictError::Singular) unless the smallest of the pairs plus the ridge is
    /// positive: give it fewer pairs.
    pub fn new(pairs: &'a Eigenpairs, ridge: f64) -> Result<Self> {
        check_ridge(ridge)?;
        let smallest = pairs.values().last().copied().unwrap_or(0.0);
        let rest = smallest + ridge;
        if rest.is_nan() || rest <= 0.0 {
            return Err(PredictError::Singular { smallest, floor: 0.0, ridge });
        }
        let gain = |value: &f64| 1.0 / (value + ridge) - 1.0 / rest;
        Ok(Self { pairs, gains: pairs.values().iter().map(gain).collect(), rest })
    }

    /// Number of rows N.
    pub fn n(&self) -> usize {
        self.pairs.dim()
    }

    /// mu, what the preconditioner is off the span of the pairs.
    pub fn rest(&self) -> f64 {
        self.rest
    }

    /// P^-1 R for whole columns of N entries, one after the other. Cost: 2 k N multiply-adds a
    /// column.
    ///
    /// # Errors
    /// [`OutOfMemory`](PredictError::OutOfMemory).
    pub(crate) fn apply(&self, columns: &[f64]) -> Result<Vec<f64>> {
        let n = self.n();
        let (phi, r) = (matrix(self.pairs.vectors(), n), matrix(columns, n));
        let mut parts = product(phi.transpose(), r, "projections")?;
        for (part, gain) in parts.iter_mut().zip(self.gains.iter().cycle()) {
            *part *= gain;
        }
        let mut out: Vec<f64> = columns.iter().map(|x| x / self.rest).collect();
        multiply(matrix_mut(&mut out, n), Accum::Add, phi, matrix(&parts, self.pairs.len()));
        Ok(out)
    }
}
