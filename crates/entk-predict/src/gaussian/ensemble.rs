//! [`Ensemble`]: in come the eigenpairs of an NTK and the covariance of outputs at initialisation,
//! out go variances of the outputs of linearized networks trained from random initialisations, at
//! any times. Users call it; the mean is `SquaredLossFlow`.

use entk_spectral::{CrossGram, Eigenpairs, EntryType, Gram, SpectralError};
use faer::{Accum, MatRef};

use crate::{
    dense::{dot, matrix, matrix_mut, multiply, product, zeros},
    error::Result,
    fit::flow::{check_examples, check_times, weight},
    gaussian::{
        posterior::check_cross,
        variance::{Covariance, Variances},
    },
};

/// Trained linearized networks over random initialisations, on the squared loss at time t.
///
/// Outputs at initialisation have mean zero and covariance K (the NNGP kernel, or the covariance of
/// f_0 over initialisations); all networks share the kernel Theta (the NTK), the loss and the time
/// of [`SquaredLossFlow`](crate::SquaredLossFlow), whose predictions without an offset are the
/// mean. With B = Theta(*, X) Theta^-1 (I - exp(-Theta t / N)) the covariance at test inputs is
///
/// ```text
/// K(*, *) + B K(X, X) B^T - B K(X, *) - K(*, X) B^T
/// ```
///
/// Source: Lee et al. (2019), equation 16; `gradient_descent_mse_ensemble` of neural-tangents,
/// whose time is C times this one.
///
/// ```
/// use entk_predict::Ensemble;
/// use entk_spectral::{CrossGram, Gram, eigh};
///
/// let (ntk, nngp) = (Gram::from_lower_f64(1, vec![2.0])?, Gram::from_lower_f64(1, vec![1.0])?);
/// let pairs = eigh(&ntk)?;
/// let ensemble = Ensemble::new(&pairs, &nngp, 1)?;
/// // At the training input all trained networks agree.
/// let (theta, k) = (CrossGram::from_f64(1, 1, vec![2.0])?, CrossGram::from_f64(1, 1, vec![1.0])?);
/// let variances = ensemble.variances(&theta, &k, &[1.0], &[0.0, f64::INFINITY])?;
/// assert_eq!((variances[0].values[0], variances[1].values[0]), (1.0, 0.0));
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ensemble<'a> {
    pairs: &'a Eigenpairs,
    /// Phi^T K Phi, N x N.
    prior: Vec<f64>,
    prior_type: EntryType,
    examples: f64,
    floor: f64,
}

/// Kernels of some test inputs in the eigenbasis: Theta(*, X) Phi and K(*, X) Phi, one row for each
/// test input.
struct TestBasis {
    theta: Vec<f64>,
    prior: Vec<f64>,
    rows: usize,
}

impl<'a> Ensemble<'a> {
    /// The ensemble of all eigenpairs of Theta(X, X) and `prior` = K(X, X) on N training inputs;
    /// `examples` as in [`SquaredLossFlow::new`](crate::SquaredLossFlow::new).
    ///
    /// Cost: 2 N^3 multiply-adds and 16 N^2 bytes, half of which stay.
    ///
    /// # Errors
    /// [`NeedsAllPairs`](SpectralError::NeedsAllPairs),
    /// [`SizeMismatch`](SpectralError::SizeMismatch),
    /// [`Setting`](crate::PredictError::Setting), or
    /// [`OutOfMemory`](crate::PredictError::OutOfMemory).
    pub fn new(pairs: &'a Eigenpairs, prior: &Gram, examples: usize) -> Result<Self> {
        let (dim, found) = (pairs.dim(), pairs.len());
        if found != dim {
            let measure = "variance of an ensemble";
            return Err(SpectralError::NeedsAllPairs { measure, dim, found }.into());
        }
        if prior.n() != dim {
            return Err(SpectralError::SizeMismatch { pairs: dim, gram: prior.n() }.into());
        }
        check_examples(pairs, examples)?;
        let images = prior.product(pairs.vectors())?;
        let phi = matrix(pairs.vectors(), dim);
        Ok(Self {
            pairs,
            prior: product(phi.transpose(), matrix(&images, dim), "the prior in the eigenbasis")?,
            prior_type: prior.entry_type(),
            examples: examples as f64,
            floor: pairs.round_off(),
        })
    }

    /// The variances at M test inputs at every time of a list: `theta` and `prior` are Theta and K
    /// between test inputs (rows) and training inputs (columns), `variances` is K(x, x) at each
    /// test input. Negative ones are handled as by
    /// [`posterior_variance`](crate::posterior_variance).
    ///
    /// Cost: 2 N^2 M multiply-adds, and N^2 M for every time.
    ///
    /// # Errors
    /// [`NegativeVariance`](crate::PredictError::NegativeVariance),
    /// [`Count`](crate::PredictError::Count), [`SizeMismatch`](SpectralError::SizeMismatch),
    /// [`Setting`](crate::PredictError::Setting) for a time, or
    /// [`OutOfMemory`](crate::PredictError::OutOfMemory).
    pub fn variances(
        &self,
        theta: &CrossGram,
        prior: &CrossGram,
        variances: &[f64],
        times: &[f64],
    ) -> Result<Vec<Variances>> {
        let basis = self.basis(theta, prior, variances.len())?;
        check_times(times)?;
        let at = |&time| {
            Variances::new(self.at(&basis, variances, time)?, variances, self.coarser(theta, prior))
        };
        times.iter().map(at).collect()
    }

    /// The covariances between M test inputs at every time of a list, for `covariance` = K(*, *);
    /// otherwise as [`variances`](Self::variances). Cost beyond it: 2 N M^2 for every time.
    ///
    /// # Errors
    /// As [`variances`](Self::variances).
    pub fn covariances(
        &self,
        theta: &CrossGram,
        prior: &CrossGram,
        covariance: &Gram,
        times: &[f64],
    ) -> Result<Vec<Covariance>> {
        let basis = self.basis(theta, prior, covariance.n())?;
        check_times(times)?;
        let diagonal = covariance.diagonal();
        let at = |&time| {
            let values = self.covariance_at(&basis, covariance, time)?;
            Covariance::new(values, &diagonal, self.coarser(theta, prior))
        };
        times.iter().map(at).collect()
    }

    fn basis(&self, theta: &CrossGram, prior: &CrossGram, m: usize) -> Result<TestBasis> {
        check_cross(theta, self.pairs.dim(), m)?;
        check_cross(prior, self.pairs.dim(), m)?;
        let in_basis = |cross: &CrossGram| cross.product(self.pairs.vectors());
        Ok(TestBasis { theta: in_basis(theta)?, prior: in_basis(prior)?, rows: m })
    }

    /// B Phi at one time: the columns of Theta(*, X) Phi, weighted.
    fn learned(&self, basis: &TestBasis, time: f64) -> Vec<f64> {
        let mut learned = basis.theta.clone();
        for (column, &value) in learned.chunks_exact_mut(basis.rows).zip(self.pairs.values()) {
            let weight = weight(value, time / self.examples, self.floor);
            column.iter_mut().for_each(|x| *x *= weight);
        }
        learned
    }

    /// B (K Phi)  - 2 K(*, X) Phi, of which the inner product with B Phi is what changes.
    fn change(&self, basis: &TestBasis, learned: &[f64], share: f64) -> Result<Vec<f64>> {
        let b = matrix(learned, basis.rows);
        let mut change = product(b, matrix(&self.prior, self.pairs.dim()), "covariances")?;
        change.iter_mut().zip(&basis.prior).for_each(|(x, k)| *x -= share * k);
        Ok(change)
    }

    fn at(&self, basis: &TestBasis, prior: &[f64], time: f64) -> Result<Vec<f64>> {
        let learned = self.learned(basis, time);
        let change = self.change(basis, &learned, 2.0)?;
        let (b, change) = (matrix(&learned, basis.rows), matrix(&change, basis.rows));
        let row = |i: usize, m: MatRef<'_, f64>| m.row(i).iter().copied().collect::<Vec<f64>>();
        let changed = |(i, k): (usize, &f64)| k + dot(&row(i, b), &row(i, change));
        Ok(prior.iter().enumerate().map(changed).collect())
    }

    fn covariance_at(&self, basis: &TestBasis, prior: &Gram, time: f64) -> Result<Vec<f64>> {
        let m = basis.rows;
        let learned = self.learned(basis, time);
        let change = self.change(basis, &learned, 1.0)?;
        let (b, k) = (matrix(&learned, m), matrix(&basis.prior, m));
        let mut covariance = zeros(m, m, "the covariance")?;
        // B (K B^T - K(X, *)), then minus K(*, X) B^T.
        multiply(matrix_mut(&mut covariance, m), Accum::Replace, b, matrix(&change, m).transpose());
        let other = product(k, b.transpose(), "covariances")?;
        for (i, row) in covariance.chunks_exact_mut(m).enumerate() {
            let (prior, other) = (prior.row(i), &other[i * m..(i + 1) * m]);
            row.iter_mut().enumerate().for_each(|(j, x)| *x += prior.get(j) - other[j]);
        }
        Ok(covariance)
    }

    fn coarser(&self, theta: &CrossGram, prior: &CrossGram) -> EntryType {
        let types =
            [self.pairs.entry_type(), self.prior_type, theta.entry_type(), prior.entry_type()];
        if types.contains(&EntryType::F32) { EntryType::F32 } else { EntryType::F64 }
    }
}
