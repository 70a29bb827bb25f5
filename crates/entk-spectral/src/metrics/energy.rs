//! Energy concentration: in come eigenpairs and a target, out goes the share of the target in the
//! leading eigenvectors, for one number K of them or for every K. Users call it.

use crate::{
    dense::vector::{BinaryScale, check_vector, dot, max_abs},
    eigenpairs::{Eigenpairs, check_k},
    error::{Result, SpectralError},
};

/// The share of a target in the span of the K leading eigenvectors.
///
/// Both numbers are in common use and differ widely (0.25 against 0.06): the paper's Table 1 shows
/// `ratio`, unsquared. Both lie in \[0, 1\] up to round-off, grow with K and reach 1 at K = N.
///
/// Paper: Table 1 and figure 6, K = 50, y in {-1, +1}.
///
/// ```
/// use entk_spectral::{Gram, eigh, energy_concentration};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 0.0, 1.0])?)?;
/// let energy = energy_concentration(&pairs, &[3.0, -4.0], 1)?;
/// assert!((energy.ratio - 0.6).abs() < 1e-15);
/// assert!((energy.squared - 0.36).abs() < 1e-15);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EnergyConcentration {
    /// ||Phi y||_2 / ||y||_2, where Phi has phi_0 ... phi_{K-1} as rows.
    pub ratio: f64,
    /// ||Phi y||_2^2 / ||y||_2^2, the share of the squared norm.
    pub squared: f64,
}

/// Energy concentration of y in the k leading eigenvectors. Cost: k N.
///
/// # Errors
/// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= the number of pairs,
/// [`OneVector`](SpectralError::OneVector),
/// [`NonFiniteVector`](SpectralError::NonFiniteVector), or
/// [`ZeroVector`](SpectralError::ZeroVector) for y = 0.
pub fn energy_concentration(
    pairs: &Eigenpairs,
    y: &[f64],
    k: usize,
) -> Result<EnergyConcentration> {
    check_k(k, pairs.len())?;
    let mut curve = curve_to(pairs, y, k)?;
    curve.pop().ok_or(SpectralError::InvalidK { k, available: pairs.len() })
}

/// Energy concentration for every K: entry K - 1 belongs to the K leading eigenvectors, and the
/// numbers never decrease. Cost: as for the last entry alone.
///
/// # Errors
/// As [`energy_concentration`].
pub fn energy_curve(pairs: &Eigenpairs, y: &[f64]) -> Result<Vec<EnergyConcentration>> {
    curve_to(pairs, y, pairs.len())
}

fn curve_to(pairs: &Eigenpairs, y: &[f64], k: usize) -> Result<Vec<EnergyConcentration>> {
    check_vector(y, pairs.dim())?;
    let largest = max_abs(y);
    if largest == 0.0 {
        return Err(SpectralError::ZeroVector { vector: 0 });
    }
    let scale = BinaryScale::of(largest);
    let y: Vec<f64> = y.iter().map(|&y| scale.down(y)).collect();
    let total = dot(&y, &y);
    let mut captured = 0.0;
    let curve = pairs.iter().take(k).map(|(_, phi)| {
        let coefficient = dot(phi, &y);
        captured += coefficient * coefficient;
        let squared = captured / total;
        EnergyConcentration { ratio: squared.sqrt(), squared }
    });
    Ok(curve.collect())
}
