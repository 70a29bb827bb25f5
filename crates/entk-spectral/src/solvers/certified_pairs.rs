//! Leading eigenpairs with the measurement of how good they are: in come the pairs that a solver
//! takes for converged, out go [`CertifiedPairs`] or an error. `eigsh` calls it at its end.

use std::{fmt, ops::Range};

use crate::{
    dense::tall::inner,
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    kernel::operator::SymmetricOperator,
    solvers::residuals::residual_norms,
};

/// Eigenvalues closer than this fraction of the largest count as one cluster.
pub const CLUSTER: f64 = 1e-8;

/// Vectors multiplied at a time.
const STACK: usize = 256;

/// Which solver [`eigsh`](crate::eigsh) uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Solver {
    /// Dense up to N = 512 and for more than a third of all pairs, else Krylov.
    #[default]
    Auto,
    /// [`eigh`](crate::eigh) of the whole matrix, cut to k pairs.
    Dense,
    /// Thick-restart block Lanczos.
    Krylov,
}

/// The leading eigenpairs of an operator, and how good they are.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct CertifiedPairs {
    /// The pairs: descending values, unit vectors, fixed signs.
    pub pairs: Eigenpairs,
    /// ||K phi_j - lambda_j phi_j||_2 of every pair, measured; absolute. There is an eigenvalue of
    /// K within this distance of lambda_j.
    pub residuals: Vec<f64>,
    /// The largest |phi_i . phi_j - \[i = j\]|, measured.
    pub orthogonality: f64,
    /// Runs of at least two neighbouring eigenvalues closer than [`CLUSTER`] times the largest.
    /// Inside a run only the span of the vectors is determined, and labels made from a single one
    /// carry no information about the kernel.
    pub clusters: Vec<Range<usize>>,
    /// Columns that the solver multiplied by the operator; the certificate's are not counted.
    pub products: usize,
    /// Thick restarts.
    pub restarts: usize,
    /// The solver that ran, never `Auto`.
    pub solver: Solver,
}

impl fmt::Debug for CertifiedPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedPairs")
            .field("pairs", &self.pairs)
            .field("worst_residual", &self.residuals.iter().copied().fold(0.0, f64::max))
            .field("orthogonality", &self.orthogonality)
            .field("clusters", &self.clusters.len())
            .field("products", &self.products)
            .field("restarts", &self.restarts)
            .field("solver", &self.solver)
            .finish()
    }
}

/// Measures pairs against their operator, and refuses them beyond the tolerance.
pub(crate) fn certify<K: SymmetricOperator + ?Sized>(
    operator: &K,
    pairs: Eigenpairs,
    tolerance: f64,
    solver: Solver,
    products: usize,
    restarts: usize,
) -> Result<CertifiedPairs> {
    let residuals = residual_norms(operator, &pairs)?;
    let largest = pairs.values()[0].abs();
    let got = residuals.iter().filter(|&&r| r <= tolerance * largest).count();
    if got < pairs.len() {
        return Err(SpectralError::NotConverged {
            wanted: pairs.len(),
            got,
            residuals: residuals.iter().map(|r| r / largest).collect(),
            limit: "accuracy of its products",
        });
    }
    let clusters = clusters(pairs.values());
    let orthogonality = orthogonality(&pairs);
    Ok(CertifiedPairs { pairs, residuals, orthogonality, clusters, products, restarts, solver })
}

/// Runs of at least two descending values, each within the cluster width of the next.
pub(crate) fn clusters(values: &[f64]) -> Vec<Range<usize>> {
    let width = CLUSTER * values.first().map_or(0.0, |x| x.abs());
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (j, pair) in values.windows(2).enumerate() {
        if pair[0] - pair[1] > width {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == j + 1 => run.end = j + 2,
            _ => runs.push(j..j + 2),
        }
    }
    runs
}

/// The largest entry of |V^T V - I|.
fn orthogonality(pairs: &Eigenpairs) -> f64 {
    let (k, v) = (pairs.len(), pairs.matrix());
    let mut worst = 0.0_f64;
    for first in (0..k).step_by(STACK) {
        let cols = STACK.min(k - first);
        let overlaps = inner(v.subcols(0, first + cols), v.subcols(first, cols));
        for (j, column) in overlaps.chunks_exact(first + cols).enumerate() {
            for (i, x) in column.iter().enumerate() {
                let error = (x - f64::from(i == first + j)).abs();
                // `max` would hide a NaN.
                worst = if error > worst || error.is_nan() { error } else { worst };
            }
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::clusters;

    #[test]
    fn clusters_are_maximal_runs_of_close_values() {
        assert!(clusters(&[]).is_empty());
        assert!(clusters(&[1.0]).is_empty());
        assert_eq!(clusters(&[1.0, 0.5, 0.5 - 1e-9, 0.5 - 2e-9, 0.1, 0.1]), [1..4, 4..6]);
        assert!(clusters(&[1.0, 0.5, 0.5 - 1e-7]).is_empty());
        assert_eq!(clusters(&[0.0, 0.0, 0.0]), std::slice::from_ref(&(0..3)));
    }
}
