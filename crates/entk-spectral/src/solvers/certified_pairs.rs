//! Leading eigenpairs with the measurement of how good they are: in come the pairs that a solver
//! takes for converged, out go [`CertifiedPairs`] of one process, or [`DistributedPairs`] of which
//! every rank has its rows, or an error. `eigsh` calls it at its end.

use std::{fmt, ops::Range};

use faer::MatRef;

use crate::{
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
    kernel::operator::SymmetricOperator,
    ranks::{
        communicator::{OneRank, Ranks},
        operator::{DistributedOperator, Whole},
    },
    solvers::{
        columns::{fix_signs, inner},
        residuals::residuals,
    },
};

/// Eigenvalues closer than this fraction of the largest count as one cluster.
pub const CLUSTER: f64 = 1e-8;

/// Vectors multiplied at a time.
const STACK: usize = 256;

/// Which solver [`eigsh`](crate::eigsh) uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
            .field("largest_residual", &self.residuals.iter().copied().fold(0.0, f64::max))
            .field("orthogonality", &self.orthogonality)
            .field("clusters", &self.clusters.len())
            .field("products", &self.products)
            .field("restarts", &self.restarts)
            .field("solver", &self.solver)
            .finish()
    }
}

/// The leading eigenpairs of an operator that is distributed over ranks, and how good they are; all
/// but the vectors is the same on every rank.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DistributedPairs {
    /// The eigenvalues, descending.
    pub values: Vec<f64>,
    /// The rows that this rank holds of phi_0, then of phi_1, and so on: unit vectors with the
    /// signs of [`Eigenpairs`]. [`RowBands::gather`](crate::RowBands::gather) makes them
    /// whole.
    pub vectors: Vec<f64>,
    /// ||K phi_j - lambda_j phi_j||_2 of every pair, measured, as in [`CertifiedPairs`].
    pub residuals: Vec<f64>,
    /// The largest |phi_i . phi_j - \[i = j\]|, measured.
    pub orthogonality: f64,
    /// Runs of close eigenvalues, as in [`CertifiedPairs`].
    pub clusters: Vec<Range<usize>>,
    /// Columns that the solver multiplied by the operator.
    pub products: usize,
    /// Thick restarts.
    pub restarts: usize,
}

impl DistributedPairs {
    /// The pairs of one rank, which holds all rows.
    pub(crate) fn whole<K: DistributedOperator + ?Sized>(
        self,
        operator: &K,
        solver: Solver,
    ) -> CertifiedPairs {
        let Self { values, vectors, residuals, orthogonality, clusters, products, restarts } = self;
        let pairs =
            Eigenpairs::from_sorted(values, vectors, operator.rows().n(), operator.entry_type());
        CertifiedPairs { pairs, residuals, orthogonality, clusters, products, restarts, solver }
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
    let ranks = Ranks::new(&OneRank);
    let whole = Whole::new(operator, &ranks)?;
    let (values, vectors) = pairs.into_parts();
    let pairs = certify_rows(&whole, values, vectors, tolerance, products, restarts)?;
    Ok(pairs.whole(&whole, solver))
}

/// As [`certify`], for values in descending order and the rows of their vectors that this rank
/// holds; fixes the signs.
pub(crate) fn certify_rows<K: DistributedOperator + ?Sized>(
    operator: &K,
    values: Vec<f64>,
    mut vectors: Vec<f64>,
    tolerance: f64,
    products: usize,
    restarts: usize,
) -> Result<DistributedPairs> {
    fix_signs(&operator.rows(), &mut vectors)?;
    let residuals = residuals(operator, &values, &vectors)?;
    let largest = values[0].abs();
    let got = residuals.iter().filter(|&&r| r <= tolerance * largest).count();
    if got < values.len() {
        return Err(SpectralError::NotConverged {
            wanted: values.len(),
            got,
            residuals: residuals.iter().map(|r| r / largest).collect(),
            limit: "accuracy of its products",
        });
    }
    let clusters = clusters(&values);
    let orthogonality = orthogonality(operator, &vectors)?;
    Ok(DistributedPairs { values, vectors, residuals, orthogonality, clusters, products, restarts })
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
fn orthogonality<K: DistributedOperator + ?Sized>(operator: &K, vectors: &[f64]) -> Result<f64> {
    let rows = operator.rows();
    let own = rows.own().len();
    let k = vectors.len() / own;
    let v = MatRef::from_column_major_slice(vectors, own, k);
    let mut worst = 0.0_f64;
    for first in (0..k).step_by(STACK) {
        let cols = STACK.min(k - first);
        let overlaps = inner(&rows, v.subcols(0, first + cols), v.subcols(first, cols))?;
        for (j, column) in overlaps.chunks_exact(first + cols).enumerate() {
            for (i, x) in column.iter().enumerate() {
                let error = (x - f64::from(i == first + j)).abs();
                // `max` would hide a NaN.
                worst = if error > worst || error.is_nan() { error } else { worst };
            }
        }
    }
    Ok(worst)
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
