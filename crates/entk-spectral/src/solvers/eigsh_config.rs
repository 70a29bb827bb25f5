//! The settings of `eigsh` and what follows from them for an operator: in come settings, out go
//! sizes and limits, checked. The solver and its users read them.

use std::time::{Duration, Instant};

use crate::{
    error::{Result, SpectralError},
    ranks::{communicator::Ranks, operator::DistributedOperator},
    solvers::{
        certified_pairs::Solver, eigh::eigh_bytes, krylov::checkpoint::Solve, residuals::stack,
    },
};

/// Up to this size the dense solver is as fast for any k.
const SMALL: usize = 512;
/// From this share of all pairs on (1 in 3), the dense solver is as fast.
const DENSE_SHARE: usize = 3;
/// The largest block that an operator of this family asks for.
const WIDEST_HINT: usize = 128;
/// Accepted tolerances: a smaller one is lost in round-off, a larger one determines no eigenvector.
const TOLERANCES: (f64, f64) = (1e-13, 0.1);

/// Settings of [`eigsh`](crate::eigsh()).
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `solver` | `Auto` | see [`Solver`] | |
/// | `tolerance` | 1e-10 | largest residual, relative to lambda_0 | 1e-13 to 0.1 |
/// | `block` | the operator's hint | columns multiplied at a time | at least 1 |
/// | `basis` | k + max(3 k / 4, 8 blocks) | basis vectors of 8 N bytes | at least k + 2 blocks |
/// | `max_products` | 50 k + 100 blocks + 1,000 | columns multiplied before it gives up | |
/// | `max_time` | none | wall time before it gives up, looked at between blocks | |
/// | `seed` | 0 | of the random start (ChaCha8) | |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EigshConfig {
    /// Which solver.
    pub solver: Solver,
    /// Largest accepted ||K v - lambda v|| / lambda_0.
    pub tolerance: f64,
    /// Columns multiplied at a time.
    pub block: Option<usize>,
    /// Basis vectors kept.
    pub basis: Option<usize>,
    /// Columns multiplied before giving up.
    pub max_products: Option<usize>,
    /// Wall time before giving up.
    pub max_time: Option<Duration>,
    /// Seed of the random start.
    pub seed: u64,
}

impl Default for EigshConfig {
    fn default() -> Self {
        Self {
            solver: Solver::Auto,
            tolerance: 1e-10,
            block: None,
            basis: None,
            max_products: None,
            max_time: None,
            seed: 0,
        }
    }
}

impl EigshConfig {
    /// Refuses what no operator could be solved with, before one is read.
    ///
    /// # Errors
    /// [`InvalidSetting`](SpectralError::InvalidSetting) for a tolerance outside 1e-13 to 0.1 or a
    /// block of 0.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, expected| Err(SpectralError::InvalidSetting { field, expected });
        if !(TOLERANCES.0..=TOLERANCES.1).contains(&self.tolerance) {
            return invalid("tolerance", "from 1e-13 to 0.1");
        }
        if self.block == Some(0) {
            return invalid("block", "at least 1");
        }
        Ok(())
    }

    /// Whether the `k` largest of `n` pairs are found from a few products, in place of all pairs.
    pub(crate) fn is_iterative(&self, n: usize, k: usize) -> bool {
        match self.solver {
            Solver::Krylov => true,
            Solver::Auto => n > SMALL && k <= n / DENSE_SHARE,
            Solver::Dense => false,
        }
    }

    /// Basis vectors of 8 N bytes, for blocks of `block` columns.
    fn basis_of(&self, n: usize, k: usize, block: usize) -> usize {
        let usual = k.saturating_add((k.saturating_mul(3) / 4).max(8 * block));
        self.basis.unwrap_or(usual).min(n)
    }

    /// Memory that [`eigsh`](crate::eigsh()) takes beside the operator for the `k` largest of `n`
    /// pairs, in bytes: the basis, its projection three times, a few blocks and the pairs twice; or
    /// what [`eigh`](crate::eigh()) takes, for which an operator that is no [`Gram`](crate::Gram)
    /// is widened to one, 8 N^2 bytes more.
    pub fn bytes(&self, n: usize, k: usize) -> u64 {
        if self.is_iterative(n, k) { self.bytes_of_rows(n, n, k) } else { eigh_bytes(n) }
    }

    /// Memory that [`eigsh_row_gram`](crate::eigsh_row_gram()) takes beside the operator for the
    /// `k` largest pairs of A A^T, in bytes: that of a solve on the smaller side of A, of `side`
    /// numbers a vector, and the pairs three times, of which `rows` rows are held here.
    pub fn row_gram_bytes(&self, rows: usize, side: usize, k: usize) -> u64 {
        let pairs = (rows as u64).saturating_mul(k as u64).saturating_mul(3 * 8);
        self.bytes(side, k.min(side)).saturating_add(pairs)
    }

    /// As [`bytes`](Self::bytes), for a rank that holds so many of n rows; solved by products.
    pub fn bytes_of_rows(&self, rows: usize, n: usize, k: usize) -> u64 {
        let block = self.block.unwrap_or(WIDEST_HINT).min(n);
        let basis = self.basis_of(n, k, block);
        let vectors = basis.saturating_add(4 * block).saturating_add(k.saturating_mul(2));
        let whole = if rows < n { 2 * block.max(stack(n)) } else { 0 };
        let numbers = (vectors as u64).saturating_mul(rows as u64);
        let numbers = numbers.saturating_add((whole as u64).saturating_mul(n as u64));
        let projected = (basis as u64).saturating_mul(basis as u64);
        numbers.saturating_add(projected.saturating_mul(3)).saturating_mul(8)
    }
}

/// The settings with their defaults filled in, checked against the operator.
pub(crate) struct Plan {
    pub(crate) k: usize,
    pub(crate) tolerance: f64,
    pub(crate) block: usize,
    pub(crate) basis: usize,
    max_products: usize,
    deadline: Option<Instant>,
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) fn new<K: DistributedOperator + ?Sized>(
        operator: &K,
        k: usize,
        config: &EigshConfig,
    ) -> Result<Self> {
        let n = operator.rows().n();
        let invalid = |field, expected| Err(SpectralError::InvalidSetting { field, expected });
        config.check()?;
        let block = config.block.unwrap_or(operator.block()).min(n);
        if block == 0 {
            return invalid("block", "at least 1");
        }
        let least = k.saturating_add(2 * block).min(n);
        let basis = config.basis_of(n, k, block);
        if basis < least {
            return invalid("basis", "at least k plus two blocks");
        }
        let products = k.saturating_mul(50).saturating_add(100 * block + 1000);
        Ok(Self {
            k,
            tolerance: config.tolerance,
            block,
            basis,
            max_products: config.max_products.unwrap_or(products),
            deadline: config.max_time.and_then(|time| Instant::now().checked_add(time)),
            seed: config.seed,
        })
    }

    /// What a checkpoint must be of.
    pub(crate) fn solve(&self) -> Solve {
        let Self { k, tolerance, block, basis, seed, .. } = *self;
        Solve { k, tolerance, block, basis, seed }
    }

    /// The limit that is reached, if any; that of time is the first rank's.
    pub(crate) fn exhausted(
        &self,
        ranks: &Ranks<'_>,
        products: usize,
    ) -> Result<Option<&'static str>> {
        // One block is always multiplied, so that there is something to report.
        if products == 0 {
            return Ok(None);
        }
        if products >= self.max_products {
            return Ok(Some("limit of products"));
        }
        let Some(deadline) = self.deadline else { return Ok(None) };
        Ok(ranks.first(Instant::now() >= deadline)?.then_some("limit of time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_matrices_and_many_pairs_are_solved_densely() {
        let is_iterative = |n, k| EigshConfig::default().is_iterative(n, k);
        assert!(!is_iterative(SMALL, 1) && is_iterative(SMALL + 1, 1));
        assert!(is_iterative(3000, 1000) && !is_iterative(3000, 1001));
        let of = |solver| EigshConfig { solver, ..EigshConfig::default() };
        assert!(of(Solver::Krylov).is_iterative(2, 2) && !of(Solver::Dense).is_iterative(3000, 1));
    }
}
