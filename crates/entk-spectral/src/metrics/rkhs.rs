//! The norm of a target in the kernel's Hilbert space, on a sample: in come all eigenpairs and the
//! values f of the target, out go f^T K^-1 f and the condition number of K. Users call it.

use crate::{
    dense::vector::{BinaryScale, check_vector, finite, max_abs, norm},
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    solvers::psd::{ends, noise_floor},
};

/// f^T K^-1 f with the conditioning of K, from [`inverse_quadratic`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InverseQuadratic {
    /// f^T K^-1 f.
    pub value: f64,
    /// lambda_0 / lambda_{N-1}: the factor by which errors in K may grow.
    pub condition: f64,
}

/// The quadratic form f^T K^-1 f = sum over j of (phi_j . f)^2 / lambda_j: on a sample, the squared
/// norm of the smoothest function that takes the values f.
///
/// Lemma 1 on a sample, for K positive definite: (f^T K^-1 f) (f^T K f) >= (f^T f)^2, with equality
/// at eigenvectors. A large norm thus forces a small alignment and the other way round.
///
/// Refused where K is singular to working accuracy: lambda_{N-1} must exceed eps ||K||_F (rounding
/// of the stored entries, eps of their type) plus 10 N 2^-52 lambda_0 (the solver).
///
/// Paper: Lemma 1. Cost: N^2, given the eigenpairs.
///
/// # Errors
/// [`Singular`](SpectralError::Singular), [`NeedsAllPairs`](SpectralError::NeedsAllPairs) for
/// truncated pairs, [`OneVector`](SpectralError::OneVector),
/// [`NonFiniteVector`](SpectralError::NonFiniteVector), or [`Overflow`](SpectralError::Overflow).
///
/// ```
/// use entk_spectral::{Gram, eigh, inverse_quadratic};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![4.0, 0.0, 0.0, 1.0])?)?;
/// let norm = inverse_quadratic(&pairs, &[2.0, 3.0])?;
/// assert!((norm.value - 10.0).abs() < 1e-13);
/// assert!((norm.condition - 4.0).abs() < 1e-13);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn inverse_quadratic(pairs: &Eigenpairs, f: &[f64]) -> Result<InverseQuadratic> {
    pairs.require_all("inverse quadratic form")?;
    let values = pairs.values();
    let (largest, smallest) = ends(values);
    // The floor follows the largest magnitude, which may be that of a negative eigenvalue.
    let spread = largest.abs().max(smallest.abs());
    let floor = noise_floor(norm(values), spread, pairs.dim(), pairs.entry_type());
    if smallest <= floor {
        return Err(SpectralError::Singular { smallest, largest, floor });
    }
    check_vector(f, pairs.dim())?;
    let (f_scale, k_scale) = (BinaryScale::of(max_abs(f)), BinaryScale::of(largest));
    let f: Vec<f64> = f.iter().map(|&x| f_scale.down(x)).collect();
    let coefficients = pairs.coefficients(&f)?;
    let sum: f64 =
        coefficients.iter().zip(values).map(|(c, &value)| c * c / k_scale.down(value)).sum();
    let value = f_scale.up(k_scale.down(f_scale.up(sum)));
    Ok(InverseQuadratic {
        value: finite(value, "inverse quadratic form")?,
        condition: largest / smallest,
    })
}
