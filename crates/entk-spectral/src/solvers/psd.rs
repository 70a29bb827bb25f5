//! Whether a spectrum is that of a positive semi-definite kernel: in come all eigenpairs, out goes
//! a report or an error. Users call the check; `nystrom` and `inverse_quadratic` call the floor
//! below which an eigenvalue is round-off.

use crate::{
    eigenpairs::Eigenpairs,
    entries::EntryType,
    error::{Result, SpectralError},
};

/// Growth factor of the round-off that is accepted in a negative eigenvalue.
const GROWTH: f64 = 10.0;

/// What [`check_psd`] found in an accepted spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PsdReport {
    /// How many eigenvalues are negative.
    pub negative: usize,
    /// The smallest eigenvalue.
    pub smallest: f64,
    /// The bound it had to reach, -10 N eps lambda_0 (at most 0).
    pub bound: f64,
}

/// Checks that a spectrum is non-negative up to round-off, and counts the negative eigenvalues.
///
/// A Gram of gradients, K = J J^T, is positive semi-definite. The rounding of its entries and of
/// the solver move an eigenvalue by at most a small multiple of N eps lambda_0, where eps is that
/// of the *stored* type. Hence the rule: lambda_min >= -10 N eps lambda_0 is accepted and counted,
/// anything below is an error. [`eigh`](crate::eigh) itself does not refuse: whoever needs a
/// positive spectrum asks.
///
/// # Errors
/// [`NotPositiveSemidefinite`](SpectralError::NotPositiveSemidefinite) with both ends of the
/// spectrum, or [`NeedsAllPairs`](SpectralError::NeedsAllPairs) for truncated pairs.
///
/// ```
/// use entk_spectral::{Gram, SpectralError, check_psd, eigh};
///
/// let pairs = eigh(&Gram::from_lower_f32(2, vec![1.0, 0.0, 1.0, 1.0])?)?;
/// assert!(check_psd(&pairs)?.smallest.abs() < 1e-15);
///
/// let indefinite = eigh(&Gram::from_lower_f32(2, vec![1.0, 0.0, 2.0, 1.0])?)?;
/// assert!(matches!(
///     check_psd(&indefinite),
///     Err(SpectralError::NotPositiveSemidefinite { negative: 1, .. })
/// ));
/// # Ok::<(), SpectralError>(())
/// ```
pub fn check_psd(pairs: &Eigenpairs) -> Result<PsdReport> {
    pairs.require_all("check for positive semi-definiteness")?;
    let (largest, smallest) = ends(pairs.values());
    let bound = -GROWTH * pairs.dim() as f64 * pairs.entry_type().epsilon() * largest.max(0.0);
    let negative = pairs.values().iter().filter(|&&x| x < 0.0).count();
    if smallest >= bound {
        Ok(PsdReport { negative, smallest, bound })
    } else {
        Err(SpectralError::NotPositiveSemidefinite { smallest, largest, bound, negative })
    }
}

/// Largest and smallest of descending, non-empty values.
pub(crate) fn ends(values: &[f64]) -> (f64, f64) {
    match values {
        [largest, .., smallest] => (*largest, *smallest),
        [only] => (*only, *only),
        [] => (0.0, 0.0),
    }
}

/// Below this an eigenvalue cannot be told from zero: eps ||K||_F for the rounding of the stored
/// entries (Weyl's inequality with ||dK||_2 <= ||dK||_F) plus 10 N 2^-52 lambda_max for the solver.
pub(crate) fn noise_floor(frobenius: f64, largest: f64, dim: usize, entry_type: EntryType) -> f64 {
    entry_type.epsilon() * frobenius + GROWTH * dim as f64 * f64::EPSILON * largest
}
