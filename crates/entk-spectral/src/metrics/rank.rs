//! How many directions a kernel uses, and which layers it consists of: in come all eigenpairs, or
//! one Gram a layer and a target, out go the effective rank, or shares that add up to 1. Users call
//! it.

use crate::{
    dense::vector::{BinaryScale, check_vector, finite},
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    kernel::gram::Gram,
    metrics::alignment::rayleigh_alignments,
};

/// Two measures of how many eigenvalues matter, each between 1 and N, and N for the identity.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EffectiveRank {
    /// exp(-sum p_j ln p_j) with p_j = lambda_j / sum lambda: the entropy rank of Roy and Vetterli
    /// (2007).
    pub entropy: f64,
    /// (sum lambda)^2 / sum lambda^2: the participation ratio, smaller and ruled by the leading
    /// values.
    pub participation: f64,
}

/// Effective rank of a spectrum. Negative eigenvalues (round-off of a Gram) count as 0. Truncated
/// pairs are refused: their rank would be at most the number kept.
///
/// # Errors
/// [`NeedsAllPairs`](SpectralError::NeedsAllPairs), or [`ZeroGram`](SpectralError::ZeroGram) if no
/// eigenvalue is positive.
///
/// ```
/// use entk_spectral::{Gram, effective_rank, eigh};
///
/// let rank = effective_rank(&eigh(&Gram::from_lower_f64(2, vec![3.0, 0.0, 0.0, 1.0])?)?)?;
/// assert!((rank.participation - 16.0 / 10.0).abs() < 1e-14);
/// assert!(rank.entropy > rank.participation && rank.entropy < 2.0);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn effective_rank(pairs: &Eigenpairs) -> Result<EffectiveRank> {
    pairs.require_all("effective rank")?;
    let largest = pairs.values().first().copied().unwrap_or(0.0);
    if largest <= 0.0 {
        return Err(SpectralError::ZeroGram { measure: "the effective rank", n: pairs.dim() });
    }
    let scale = BinaryScale::of(largest);
    let values: Vec<f64> = pairs.values().iter().map(|&x| scale.down(x.max(0.0))).collect();
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|x| x * x).sum();
    let shares = values.iter().map(|x| x / sum).filter(|&p| p > 0.0);
    let entropy: f64 = shares.map(|p| -p * p.ln()).sum();
    Ok(EffectiveRank { entropy: entropy.exp(), participation: sum * sum / squares })
}

/// Which layers a target's alignment comes from: y^T K_l y / sum over m of y^T K_m y, for Grams K_l
/// whose sum is the whole kernel. The shares add up to 1.
///
/// # Errors
/// [`Empty`](SpectralError::Empty) without layers, [`ZeroGram`](SpectralError::ZeroGram) if all are
/// zero on y, and those of [`rayleigh_alignments`]; a layer that is zero by itself has share 0.
///
/// ```
/// use entk_spectral::{Gram, layer_shares};
///
/// let layer = |x: f64| Gram::from_lower_f64(2, vec![x, 0.0, 0.0, x]);
/// let shares = layer_shares(&[layer(3.0)?, layer(0.0)?, layer(1.0)?], &[1.0, -1.0])?;
/// assert_eq!(shares, [0.75, 0.0, 0.25]);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn layer_shares(layers: &[Gram], y: &[f64]) -> Result<Vec<f64>> {
    let n = layers.first().map(Gram::n).ok_or(SpectralError::Empty {
        what: "list of layers",
        rows: 0,
        cols: 0,
    })?;
    check_vector(y, n)?;
    let form = |layer: &Gram| match rayleigh_alignments(layer, y) {
        Err(SpectralError::ZeroGram { .. }) => Ok(0.0),
        Err(error) => Err(error),
        Ok(forms) => Ok(forms.iter().sum()),
    };
    let forms: Vec<f64> = layers.iter().map(form).collect::<Result<_>>()?;
    let total = finite(forms.iter().sum(), "sum over layers")?;
    if total == 0.0 {
        return Err(SpectralError::ZeroGram { measure: "a share of the alignment", n });
    }
    Ok(forms.iter().map(|x| x / total).collect())
}
