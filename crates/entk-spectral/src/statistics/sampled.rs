//! The Frobenius norm of a large kernel from the kernel of a random sample: in come its entries and
//! the large kernel's diagonal, out goes an estimate with an interval. Users call it beside
//! `StochasticLanczos`, whose probes are independent of it.

use crate::{
    dense::vector::finite,
    error::{Result, SpectralError},
    kernel::gram::Gram,
    statistics::interval::{Estimate, jackknife_error, student_t},
};

/// Fewest inputs of a sample.
const FEWEST: usize = 8;

/// ||K||_F^2 of a kernel of n inputs, of which `sample` are some, drawn without replacement;
/// `diagonal_squares` is the sum of K_ii^2 over all n.
///
/// The off-diagonal part is n (n - 1) times the mean of K_ij^2 over the pairs of the sample, a
/// U-statistic; its error comes from leaving out one input at a time, less the share that the
/// sample is of all.
///
/// Cost: one pass over the entries.
///
/// # Errors
/// [`InvalidSetting`](SpectralError::InvalidSetting) for a sample of fewer than 8 inputs or of more
/// than n, [`Overflow`](SpectralError::Overflow) for squares beyond f64.
///
/// ```
/// use entk_spectral::{Gram, sampled_frobenius};
///
/// let n = 50;
/// let entries = (0..n * n).map(|at| 1.0 / (1.0 + (at / n + at % n) as f64)).collect();
/// let gram = Gram::from_lower_f64(n, entries)?;
/// let squares: f64 = gram.diagonal().iter().map(|k| k * k).sum();
/// let all = sampled_frobenius(&gram, n, squares)?;
/// let exact: f64 = (0..n * n).map(|at| gram.get(at / n, at % n).powi(2)).sum();
/// assert!((all.value / exact - 1.0).abs() < 1e-14);
/// assert!(all.high - all.low < 1e-14, "nothing is left to guess");
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn sampled_frobenius(sample: &Gram, n: usize, diagonal_squares: f64) -> Result<Estimate> {
    let s = sample.n();
    if s < FEWEST || s > n {
        let expected = "a sample of 8 inputs or more, and no more than there are";
        return Err(SpectralError::InvalidSetting { field: "sample", expected });
    }
    let square = |i: usize, j: usize| if i == j { 0.0 } else { sample.get(i, j).powi(2) };
    let of_input = |i: usize| (0..s).map(|j| square(i, j)).sum::<f64>();
    let rows: Vec<f64> = (0..s).map(of_input).collect();
    let total = finite(rows.iter().sum(), "sum of squared entries")?;
    let pairs = |count: f64| count * (count - 1.0);
    let (count, all) = (s as f64, n as f64);
    let without: Vec<f64> =
        rows.iter().map(|row| (total - 2.0 * row) / pairs(count - 1.0)).collect();
    let unseen = 1.0 - count / all;
    let half = student_t(s - 1) * jackknife_error(&without) * unseen.sqrt();
    let off_diagonal = Estimate::around(total / pairs(count), half);
    Ok(off_diagonal.map(|mean| diagonal_squares + pairs(all) * mean))
}
