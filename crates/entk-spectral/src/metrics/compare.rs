//! How alike two kernels on one sample are: in come two Grams or their eigenpairs, out goes one
//! number, or the cosines between their leading eigenspaces. Users call it, for instance for
//! kernels before and after training.

use faer::MatRef;
use rayon::prelude::*;

use crate::{
    dense::{svd::small_svd, tall::inner},
    eigenpairs::{Eigenpairs, check_k, check_sizes},
    error::{Result, SpectralError},
    kernel::{centre::Means, gram::Gram},
};

/// Centred kernel alignment: <H A H, H B H> / (||H A H|| ||H B H||) in the Frobenius inner product,
/// with H = I - 1 1^T / N, which takes the mean feature out.
///
/// Between 0 and 1 for positive semi-definite kernels; 1 if and only if the centred kernels are
/// proportional. Independent of the scale of either.
///
/// Source: Cortes, Mohri and Rostamizadeh (2012); used to compare kernels before and after
/// training. Cost: two passes over both kernels. The bits do not depend on the number of threads.
///
/// # Errors
/// [`SizeMismatch`](SpectralError::SizeMismatch), or [`ConstantGram`](SpectralError::ConstantGram)
/// if a kernel is constant, so that nothing is left when its mean is taken out.
///
/// ```
/// use entk_spectral::{Gram, centred_kernel_alignment};
///
/// let a = Gram::from_lower_f64(3, vec![1.0, 0., 0., 0.0, 1.0, 0., 0.0, 0.0, 1.0])?;
/// let shifted = Gram::from_lower_f64(3, vec![9.0, 0., 0., 5.0, 9.0, 0., 5.0, 5.0, 9.0])?;
/// assert!((centred_kernel_alignment(&a, &shifted)? - 1.0).abs() < 1e-14);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn centred_kernel_alignment(a: &Gram, b: &Gram) -> Result<f64> {
    let n = a.n();
    check_sizes(b.n(), n)?;
    let (means_a, means_b) = (Means::of(a), Means::of(b));
    let rows: Vec<[f64; 3]> = (0..n)
        .into_par_iter()
        .map(|i| {
            let (x, y) = (means_a.centred(a.row(i), i), means_b.centred(b.row(i), i));
            [(&x, &y), (&x, &x), (&y, &y)]
                .map(|(x, y)| x.iter().zip(y.iter()).map(|(x, y)| x * y).sum())
        })
        .collect();
    let [cross, aa, bb] =
        rows.iter().fold([0.0; 3], |s, r| [s[0] + r[0], s[1] + r[1], s[2] + r[2]]);
    // Centring leaves of a constant kernel the round-off of N sums of its entries.
    let floor = (n as f64 * f64::EPSILON).powi(2) * (n * n) as f64;
    if aa <= floor || bb <= floor {
        return Err(SpectralError::ConstantGram { n });
    }
    Ok(cross / (aa.sqrt() * bb.sqrt()))
}

/// Cosines of the principal angles between the spans of the k leading eigenvectors of two kernels:
/// the k singular values of Phi_a Phi_b^T, descending.
///
/// All 1 for the same span, all 0 for orthogonal ones; the mean of their squares is the share of
/// one span inside the other. A cosine near 1 determines its angle only to about 1e-8. Cost: k^2 N
/// for the overlaps, 70 k^3 for the values.
///
/// # Errors
/// [`InvalidK`](SpectralError::InvalidK) unless both have k pairs,
/// [`SizeMismatch`](SpectralError::SizeMismatch), and those of the dense solver.
///
/// ```
/// use entk_spectral::{Gram, eigh, principal_cosines};
///
/// let a = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 0.0, 1.0])?)?;
/// let b = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?)?;
/// assert!((principal_cosines(&a, &b, 1)?[0] - 0.5_f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn principal_cosines(a: &Eigenpairs, b: &Eigenpairs, k: usize) -> Result<Vec<f64>> {
    check_k(k, a.len().min(b.len()))?;
    check_sizes(a.dim(), b.dim())?;
    let overlaps = inner(a.matrix().subcols(0, k), b.matrix().subcols(0, k));
    let overlaps = MatRef::from_column_major_slice(&overlaps, k, k);
    let values = small_svd(overlaps)?.values;
    Ok(values.into_iter().map(|x| x.clamp(0.0, 1.0)).collect())
}
