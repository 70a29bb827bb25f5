//! The posterior of a Gaussian process at test inputs: in come the factor of the training kernel
//! and kernels with the test inputs, out go variances or the whole covariance. Users call it; the
//! mean is `predict` with the coefficients of the same factor.

use entk_spectral::{CrossGram, EntryType, Gram, SpectralError};
use faer::Accum;

use crate::{
    dense::{dot, matrix, matrix_mut, multiply, zeros},
    error::{PredictError, Result},
    gaussian::variance::{Covariance, Variances},
    solve::cholesky::Cholesky,
};

/// Test inputs solved for at a time.
const STACK: usize = 256;

/// The variance of f at M test inputs after N noisy observations: K(x, x) - k(x) . (K + sigma^2)^-1
/// k(x), with k(x) the kernel between x and the training inputs.
///
/// `factor` is that of the training kernel with ridge sigma^2, `cross` holds the test inputs as
/// rows, `prior` is K(x, x) at each of them. A new observation has this variance plus sigma^2. It
/// is one number for all C columns of targets; for a full kernel the rows of `cross` and `prior`
/// are those of the M C outputs. The mean is [`predict`](crate::predict) with the coefficients of
/// [`Cholesky::solve`].
///
/// Where round-off makes a variance negative it becomes zero, which is counted; what round-off does
/// not explain (1e4 eps of the stored type, relative to the prior) is an error. Cost: N^2 M / 2
/// multiply-adds, 2 kB of memory times N.
///
/// Source: Rasmussen and Williams (2006), equation 2.26.
///
/// # Errors
/// [`NegativeVariance`](PredictError::NegativeVariance), [`Count`](PredictError::Count),
/// [`SizeMismatch`](SpectralError::SizeMismatch), or [`OutOfMemory`](PredictError::OutOfMemory).
///
/// ```
/// use entk_predict::{Cholesky, CholeskyConfig, posterior_variance};
/// use entk_spectral::{CrossGram, Gram};
///
/// let gram = Gram::from_lower_f64(1, vec![1.0])?;
/// let factor = Cholesky::new(&gram, 1.0, CholeskyConfig::default())?;
/// // At the training input one observation with noise 1 halves the variance.
/// let cross = CrossGram::from_f64(2, 1, vec![1.0, 0.0])?;
/// let variances = posterior_variance(&factor, &cross, &[1.0, 1.0])?;
/// assert!((variances.values[0] - 0.5).abs() < 1e-15 && variances.values[1] == 1.0);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
pub fn posterior_variance(
    factor: &Cholesky<'_>,
    cross: &CrossGram,
    prior: &[f64],
) -> Result<Variances> {
    check_cross(cross, factor.n(), prior.len())?;
    let (m, n) = (cross.rows(), cross.cols());
    let mut variances = Vec::with_capacity(m);
    for first in (0..m).step_by(STACK) {
        let halves = half_solved(factor, cross, first, STACK.min(m - first))?;
        let explained = halves.chunks_exact(n).map(|v| dot(v, v));
        variances.extend(prior[first..].iter().zip(explained).map(|(k, v)| k - v));
    }
    Variances::new(variances, prior, coarser(factor, cross.entry_type()))
}

/// The covariance of f between M test inputs after N noisy observations: K** - K* (K + sigma^2)^-1
/// K*^T, with `prior` = K** the kernel of the test inputs.
///
/// As [`posterior_variance`], which needs the diagonal only. Cost: N M (N + M) / 2 multiply-adds
/// and 8 M (N + M) bytes.
///
/// # Errors
/// As [`posterior_variance`].
pub fn posterior_covariance(
    factor: &Cholesky<'_>,
    cross: &CrossGram,
    prior: &Gram,
) -> Result<Covariance> {
    check_cross(cross, factor.n(), prior.n())?;
    let (m, n) = (cross.rows(), cross.cols());
    let halves = half_solved(factor, cross, 0, m)?;
    let mut explained = zeros(m, m, "the covariance")?;
    let v = matrix(&halves, n);
    multiply(matrix_mut(&mut explained, m), Accum::Replace, v.transpose(), v);
    for (i, row) in explained.chunks_exact_mut(m).enumerate() {
        let prior = prior.row(i);
        row.iter_mut().enumerate().for_each(|(j, x)| *x = prior.get(j) - *x);
    }
    Covariance::new(explained, &prior.diagonal(), coarser(factor, cross.entry_type()))
}

/// L^-1 k(x) for some of the test inputs, N numbers each.
fn half_solved(
    factor: &Cholesky<'_>,
    cross: &CrossGram,
    first: usize,
    count: usize,
) -> Result<Vec<f64>> {
    let n = cross.cols();
    let mut columns = zeros(n, count, "kernels with the test inputs")?;
    for (i, column) in columns.chunks_exact_mut(n).enumerate() {
        let row = cross.row(first + i);
        column.iter_mut().enumerate().for_each(|(j, x)| *x = row.get(j));
    }
    factor.half_solve(&mut columns);
    Ok(columns)
}

/// Accepts a kernel of `m` test inputs with `n` training inputs.
pub(crate) fn check_cross(cross: &CrossGram, n: usize, m: usize) -> Result<()> {
    if cross.cols() != n {
        return Err(SpectralError::SizeMismatch { pairs: n, gram: cross.cols() }.into());
    }
    let (expected, found) = (cross.rows(), m);
    let what = "prior variances at test inputs";
    if found == expected { Ok(()) } else { Err(PredictError::Count { what, expected, found }) }
}

/// The coarser of the types of two kernels.
fn coarser(factor: &Cholesky<'_>, cross: EntryType) -> EntryType {
    if cross == EntryType::F32 { cross } else { factor.entry_type() }
}
