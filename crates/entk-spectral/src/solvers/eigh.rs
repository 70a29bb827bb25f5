//! All eigenpairs of a Gram, by a dense solver whose answer is checked before it goes out. Users
//! call it, `eigsh` for small kernels, and `nystrom` for its landmarks.

use entk_memory::ensure;
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    dense::{
        ritz::dense_eigen,
        vector::{BinaryScale, finite, norm, zeros},
    },
    eigenpairs::Eigenpairs,
    entries::{Scalar, with_entries},
    error::{Result, SpectralError},
    kernel::gram::Gram,
};

/// Growth factor of the solver's self-checks, in units of N eps: its backward error and loss of
/// norm stay near 1.
const GROWTH: f64 = 10.0;

/// What helps where all pairs do not fit.
const FEWER: &str = "use fewer samples, or ask for the leading pairs only";
/// Matrices of N x N numbers in f64 that are held at the same time.
const MATRICES: u64 = 5;

/// Memory that [`eigh`] takes beside the Gram, in bytes: 5 * 8 N^2.
pub fn eigh_bytes(n: usize) -> u64 {
    let n = n as u64;
    n.saturating_mul(n).saturating_mul(MATRICES * 8)
}

/// All N eigenpairs of a Gram: K = sum over j of lambda_j phi_j phi_j^T.
///
/// The work is done in f64 whatever the stored type, by Householder tridiagonalisation and divide
/// and conquer, on the matrix scaled by a power of two (exactly), so that kernels of any finite
/// magnitude are handled. A [`Gram`] is finite by construction. The pairs are checked to be finite
/// and sorted, with vectors of norm 1 and values that sum to the trace, each within 10 N eps. The
/// zero kernel has eigenvalues 0 and the unit vectors as eigenvectors.
///
/// Negative eigenvalues are returned as computed, never clipped: round-off makes them even for a
/// true Gram. [`check_psd`](crate::check_psd) judges them, and
/// [`residual_ratio`](crate::residual_ratio) with
/// [`orthogonality_ratio`](crate::orthogonality_ratio) measure the result.
///
/// Cost: about 9 N^3 operations; memory beyond the Gram about 5 * 8 N^2 bytes, of which 8 N^2 stay
/// in the result. Uses the current rayon pool, in a fixed number of parts: the bits are the same
/// for any number of threads.
///
/// # Errors
/// [`NoConvergence`](SpectralError::NoConvergence) or
/// [`UntrustedSolution`](SpectralError::UntrustedSolution) if the solver fails,
/// [`NoMemory`](SpectralError::NoMemory) before anything is computed, or
/// [`Overflow`](SpectralError::Overflow) if lambda_0 does not fit an f64.
///
/// ```
/// use entk_spectral::{Gram, eigh, orthogonality_ratio, residual_ratio};
///
/// let gram = Gram::from_lower_f64(2, vec![5.0, 0.0, 2.0, 2.0])?;
/// let pairs = eigh(&gram)?;
/// assert!((pairs.values()[0] - 6.0).abs() < 1e-14);
/// assert!((pairs.values()[1] - 1.0).abs() < 1e-14);
/// assert!(residual_ratio(&gram, &pairs)? < 10.0);
/// assert!(orthogonality_ratio(&pairs) < 10.0);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[cfg_attr(feature = "tracing", tracing::instrument(name = "eigh", skip_all, fields(n = gram.n())))]
pub fn eigh(gram: &Gram) -> Result<Eigenpairs> {
    ensure("all eigenpairs", eigh_bytes(gram.n()), None, FEWER)?;
    let largest = gram.max_abs();
    if largest == 0.0 {
        return of_zero(gram);
    }
    let (n, scale) = (gram.n(), BinaryScale::of(largest));
    let (mut values, mut vectors) = {
        let scaled = scaled_entries(gram, scale)?;
        // Symmetric: row-major and column-major are the same matrix.
        let (values, vectors) = dense_eigen(MatRef::from_column_major_slice(&scaled, n, n))?;
        check_solution(&scaled, &values, &vectors)?;
        (values, vectors)
    };
    values.reverse();
    reverse_chunks(&mut vectors, n);
    for value in &mut values {
        *value = finite(scale.up(*value), "largest eigenvalue")?;
    }
    Ok(Eigenpairs::from_sorted(values, vectors, n, gram.entry_type()))
}

/// Eigenvalues 0 and the unit vectors.
fn of_zero(gram: &Gram) -> Result<Eigenpairs> {
    let n = gram.n();
    let mut vectors = zeros(n * n, "eigenvectors")?;
    vectors.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    Ok(Eigenpairs::from_sorted(vec![0.0; n], vectors, n, gram.entry_type()))
}

/// The whole matrix in f64 with its largest magnitude in [1, 2).
fn scaled_entries(gram: &Gram, scale: BinaryScale) -> Result<Vec<f64>> {
    let n = gram.n();
    let mut scaled = zeros(n * n, "the scaled kernel")?;
    with_entries!(gram.entries(), k => scaled
    .par_chunks_mut(n)
    .zip(k.par_chunks(n))
    .for_each(|(out, row)| {
        out.iter_mut().zip(row).for_each(|(out, x)| *out = scale.down(x.widen()));
    }));
    Ok(scaled)
}

/// Checks the solver's answer, since it has been seen to return NaN as success.
fn check_solution(scaled: &[f64], values: &[f64], vectors: &[f64]) -> Result<()> {
    let n = values.len();
    let tolerance = GROWTH * n as f64 * f64::EPSILON;
    let check = |check: &'static str, found: f64, bound: f64| {
        // Written so that NaN fails.
        if found <= bound {
            Ok(())
        } else {
            Err(SpectralError::UntrustedSolution { n, check, found, bound })
        }
    };
    let descents = values.windows(2).filter(|pair| pair[0] > pair[1]).count();
    check("ascending order", descents as f64, 0.0)?;
    let trace: f64 = scaled.iter().step_by(n + 1).sum();
    let spread = values.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    // N eigenvalues, each off by at most the tolerance times the largest.
    check("the trace", (values.iter().sum::<f64>() - trace).abs(), tolerance * n as f64 * spread)?;
    let norms: Vec<f64> = vectors.par_chunks(n).map(norm).collect();
    norms.iter().try_for_each(|norm| check("unit norm", (norm - 1.0).abs(), tolerance))
}

/// Reverses the order of the chunks of length n, not their contents.
fn reverse_chunks(x: &mut [f64], n: usize) {
    let count = x.len() / n;
    for j in 0..count / 2 {
        let (front, back) = x.split_at_mut((count - 1 - j) * n);
        front[j * n..(j + 1) * n].swap_with_slice(&mut back[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::{check_solution, reverse_chunks};
    use crate::error::SpectralError;

    #[test]
    fn chunks_are_reversed_whole() {
        let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        reverse_chunks(&mut x, 2);
        assert_eq!(x, [5.0, 6.0, 3.0, 4.0, 1.0, 2.0]);
    }

    #[test]
    fn the_gate_refuses_wrong_answers() {
        let (k, phi) = ([1.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 1.0]);
        let refused =
            |values: [f64; 2], vectors: [f64; 4]| match check_solution(&k, &values, &vectors) {
                Err(SpectralError::UntrustedSolution { check, .. }) => check,
                other => panic!("{other:?}"),
            };
        assert_eq!(check_solution(&k, &[1.0, 2.0], &phi), Ok(()));
        assert_eq!(refused([2.0, 1.0], phi), "ascending order");
        assert_eq!(refused([1.0, 2.1], phi), "the trace");
        assert_eq!(refused([1.0, f64::NAN], phi), "the trace");
        assert_eq!(refused([1.0, 2.0], [1.0, 0.1, 0.0, 1.0]), "unit norm");
        assert_eq!(refused([1.0, 2.0], [1.0, f64::NAN, 0.0, 1.0]), "unit norm");
    }
}
