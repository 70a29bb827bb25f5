//! [`RidgePath`]: in come all eigenpairs of a kernel and targets, out go coefficients,
//! leave-one-out residuals and marginal likelihoods for any number of ridges, from one
//! decomposition. Users call it.

use entk_spectral::Eigenpairs;
use faer::Accum;

use crate::{
    columns::Columns,
    dense::{dot, matrix, matrix_mut, multiply, zeros},
    error::{PredictError, Result, check_ridge},
    fit::filter::Projection,
    solve::cholesky::log_likelihood,
};

/// Rows of the squared eigenvectors formed at a time.
const ROWS: usize = 256;
/// Errors of eigenvalues over N times the largest.
const ROUND_OFF: f64 = 10.0 * f64::EPSILON;

/// What [`RidgePath::select`] chooses a ridge by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Criterion {
    /// The largest marginal likelihood with the kernel as it is.
    #[default]
    Likelihood,
    /// The largest marginal likelihood with kernel and ridge multiplied by the constant that makes
    /// it largest, [`RidgePath::amplitude`].
    ScaledLikelihood,
    /// The smallest mean square of leave-one-out residuals.
    LeaveOneOut,
}

/// The ridge that [`RidgePath::select`] has chosen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelectedRidge {
    /// Position in the list of ridges.
    pub index: usize,
    /// The ridge.
    pub ridge: f64,
    /// The log likelihood, or the mean square, of every ridge of the list.
    pub scores: Vec<f64>,
}

/// Kernel ridge regression for many ridges at once, from one eigendecomposition.
///
/// With ridge r the coefficients are sum over j of phi_j (phi_j . (y - f_0)) / (lambda_j + r). For
/// r = 0 eigenvalues of at most 10 (eps ||K||_F + N 2^-52 lambda_0), eps of the stored type, are
/// left out: the solution of smallest norm, where [`Cholesky`](crate::Cholesky) would refuse.
///
/// ```
/// use entk_predict::{Columns, Criterion, RidgePath};
/// use entk_spectral::{Gram, eigh};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?)?;
/// let targets = Columns::from_rows(2, 1, &[4.0, 4.0])?;
/// let path = RidgePath::new(&pairs, &targets, None)?;
/// let both = path.coefficients(&[1.0, 5.0])?;
/// assert!((both[0].get(0, 0) - 1.0).abs() < 1e-15);
/// assert!((both[1].get(0, 0) - 0.5).abs() < 1e-15);
/// assert_eq!(path.select(&[1e-3, 1.0, 1e3], Criterion::Likelihood)?.ridge, 1.0);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RidgePath<'a> {
    projection: Projection<'a>,
}

impl<'a> RidgePath<'a> {
    /// Targets (N, C) minus `offset`, the outputs at theta_0, over all eigenpairs of the kernel.
    /// Cost: N^2 C multiply-adds.
    ///
    /// # Errors
    /// [`NeedsAllPairs`](entk_spectral::SpectralError::NeedsAllPairs) for truncated eigenpairs, or
    /// [`Shape`](PredictError::Shape).
    pub fn new(pairs: &'a Eigenpairs, targets: &Columns, offset: Option<&Columns>) -> Result<Self> {
        Ok(Self { projection: Projection::new(pairs, targets, offset, "ridge regression")? })
    }

    /// The coefficients (N, C) for every ridge. Cost: N^2 C multiply-adds a ridge, in one product
    /// of matrices.
    ///
    /// # Errors
    /// [`Setting`](PredictError::Setting) for a ridge that is negative or not finite,
    /// [`Singular`](PredictError::Singular) for a positive one that does not lift every eigenvalue
    /// above the floor, or [`Overflow`](PredictError::Overflow).
    pub fn coefficients(&self, ridges: &[f64]) -> Result<Vec<Columns>> {
        for &ridge in ridges {
            check_ridge(ridge)?;
            if ridge > 0.0 {
                self.check_positive(ridge)?;
            }
        }
        let floor = self.projection.floor();
        let inverse = |k: usize, x: f64| {
            if ridges[k] == 0.0 && x <= floor { 0.0 } else { 1.0 / (x + ridges[k]) }
        };
        self.projection.weighted(ridges.len(), inverse)
    }

    /// The log marginal likelihood for every ridge, as
    /// [`Cholesky::log_marginal_likelihood`](crate::Cholesky::log_marginal_likelihood). Cost: N C
    /// a ridge.
    ///
    /// # Errors
    /// [`Setting`](PredictError::Setting), or [`Singular`](PredictError::Singular).
    pub fn log_marginal_likelihoods(&self, ridges: &[f64]) -> Result<Vec<f64>> {
        ridges.iter().map(|&ridge| self.likelihood(ridge, |fit, _| (fit, 0.0))).collect()
    }

    /// The constant s that makes the marginal likelihood of covariance s (K + ridge) largest: the
    /// mean over N C of y . (K + ridge)^-1 y. Variances of a Gaussian process on a kernel without a
    /// scale of its own are s times those of [`posterior_variance`](crate::posterior_variance).
    ///
    /// # Errors
    /// [`Setting`](PredictError::Setting), or [`Singular`](PredictError::Singular).
    pub fn amplitude(&self, ridge: f64) -> Result<f64> {
        Ok(self.quadratic(ridge)? / self.projection.parts().values().len() as f64)
    }

    /// The leave-one-out residuals (N, C) for one ridge, as
    /// [`Cholesky::leave_one_out`](crate::Cholesky::leave_one_out). Cost: N^2 (C + 1).
    ///
    /// # Errors
    /// [`Setting`](PredictError::Setting), or [`Singular`](PredictError::Singular).
    pub fn leave_one_out(&self, ridge: f64) -> Result<Columns> {
        Ok(self.left_out(&[ridge])?.remove(0))
    }

    /// Chooses a ridge of a list.
    ///
    /// # Errors
    /// [`Count`](PredictError::Count) for an empty list, [`Setting`](PredictError::Setting),
    /// [`Singular`](PredictError::Singular), or [`Overflow`](PredictError::Overflow).
    pub fn select(&self, ridges: &[f64], criterion: Criterion) -> Result<SelectedRidge> {
        let (scores, sign) = match criterion {
            Criterion::Likelihood => (self.log_marginal_likelihoods(ridges)?, 1.0),
            Criterion::ScaledLikelihood => (self.scaled_likelihoods(ridges)?, 1.0),
            Criterion::LeaveOneOut => (self.left_out_squares(ridges)?, -1.0),
        };
        let better = |a: &usize, b: &usize| (sign * scores[*a]).total_cmp(&(sign * scores[*b]));
        let index = (0..ridges.len()).rev().max_by(better);
        let what = "ridges";
        let index = index.ok_or(PredictError::Count { what, expected: 1, found: 0 })?;
        Ok(SelectedRidge { index, ridge: ridges[index], scores })
    }

    fn scaled_likelihoods(&self, ridges: &[f64]) -> Result<Vec<f64>> {
        let scaled = |fit: f64, count: f64| (count, count * (fit / count).ln());
        ridges.iter().map(|&ridge| self.likelihood(ridge, scaled)).collect()
    }

    /// The likelihood with y . A^-1 y replaced by the first of what `scaled` returns, and the
    /// second added to the sum of the log determinants.
    fn likelihood(&self, ridge: f64, scaled: impl Fn(f64, f64) -> (f64, f64)) -> Result<f64> {
        let (n, cols) = (self.projection.pairs().dim(), self.projection.parts().cols());
        let (fit, extra) = scaled(self.quadratic(ridge)?, (n * cols) as f64);
        let values = self.projection.pairs().values();
        let determinant: f64 = values.iter().map(|x| (x + ridge).ln()).sum();
        let likelihood = log_likelihood(n, cols, fit + extra, determinant);
        let quantity = "likelihood";
        if likelihood.is_finite() {
            Ok(likelihood)
        } else {
            Err(PredictError::Overflow { quantity })
        }
    }

    /// The sum over columns of y . (K + ridge)^-1 y.
    fn quadratic(&self, ridge: f64) -> Result<f64> {
        check_ridge(ridge)?;
        self.check_positive(ridge)?;
        let inverse: Vec<f64> = self.inverses(ridge);
        let columns = self.projection.parts().values().chunks_exact(inverse.len());
        Ok(columns
            .map(|parts| dot(&parts.iter().map(|x| x * x).collect::<Vec<_>>(), &inverse))
            .sum())
    }

    fn inverses(&self, ridge: f64) -> Vec<f64> {
        self.projection.pairs().values().iter().map(|x| 1.0 / (x + ridge)).collect()
    }

    /// The mean squares of leave-one-out residuals for every ridge.
    fn left_out_squares(&self, ridges: &[f64]) -> Result<Vec<f64>> {
        let square = |e: &Columns| dot(e.values(), e.values()) / e.values().len() as f64;
        Ok(self.left_out(ridges)?.iter().map(square).collect())
    }

    fn left_out(&self, ridges: &[f64]) -> Result<Vec<Columns>> {
        for &ridge in ridges {
            check_ridge(ridge)?;
            self.check_positive(ridge)?;
        }
        let n = self.projection.pairs().dim();
        let diagonals = self.inverse_diagonals(ridges)?;
        let divide = |(alpha, diagonal): (Columns, &[f64])| {
            let values = alpha.values().iter().zip(diagonal.iter().cycle());
            let values = values.map(|(alpha, inverse)| alpha / inverse).collect();
            Columns::computed(n, values, "leave-one-out residuals")
        };
        self.coefficients(ridges)?.into_iter().zip(diagonals.chunks_exact(n)).map(divide).collect()
    }

    /// The diagonals of (K + ridge)^-1: sum over j of phi_j(i)^2 / (lambda_j + ridge), N numbers a
    /// ridge.
    fn inverse_diagonals(&self, ridges: &[f64]) -> Result<Vec<f64>> {
        let pairs = self.projection.pairs();
        let (n, phi) = (pairs.dim(), pairs.vectors());
        let inverses: Vec<f64> = ridges.iter().flat_map(|&ridge| self.inverses(ridge)).collect();
        let mut diagonals = zeros(n, ridges.len(), "diagonals of the inverse")?;
        let mut out = matrix_mut(&mut diagonals, n);
        for first in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - first);
            let squares: Vec<f64> = phi
                .chunks_exact(n)
                .flat_map(|phi| phi[first..first + rows].iter().map(|x| x * x))
                .collect();
            let out = out.as_mut().subrows_mut(first, rows);
            multiply(out, Accum::Replace, matrix(&squares, rows), matrix(&inverses, n));
        }
        Ok(diagonals)
    }

    /// Refuses a ridge that leaves the shifted kernel without an inverse.
    fn check_positive(&self, ridge: f64) -> Result<()> {
        let values = self.projection.pairs().values();
        let smallest = values.last().copied().unwrap_or(0.0);
        // Round-off of the solver alone; the rounding of entries is what a ridge is for.
        let floor = self.projection.floor().min(ROUND_OFF * values.len() as f64 * values[0].abs());
        if smallest + ridge > floor {
            Ok(())
        } else {
            Err(PredictError::Singular { smallest, floor, ridge })
        }
    }
}
