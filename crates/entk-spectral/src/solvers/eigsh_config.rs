//! The settings of `eigsh` and what follows from them for an operator: in come settings, out go
//! sizes and limits, checked. The solver and its users read them.

use std::time::{Duration, Instant};

use crate::{
    error::{Result, SpectralError},
    kernel::operator::SymmetricOperator,
    solvers::{certified_pairs::Solver, krylov::checkpoint::Solve},
};

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
    pub(crate) fn new<K: SymmetricOperator + ?Sized>(
        operator: &K,
        k: usize,
        config: &EigshConfig,
    ) -> Result<Self> {
        let n = operator.n();
        let invalid = |field, expected| Err(SpectralError::InvalidSetting { field, expected });
        if !(TOLERANCES.0..=TOLERANCES.1).contains(&config.tolerance) {
            return invalid("tolerance", "between 1e-13 and 0.1");
        }
        let block = config.block.unwrap_or(operator.block()).min(n);
        if block == 0 {
            return invalid("block", "at least 1");
        }
        let least = k.saturating_add(2 * block).min(n);
        let basis = config.basis.unwrap_or(k.saturating_add((3 * k / 4).max(8 * block))).min(n);
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

    /// The limit that is reached, if any.
    pub(crate) fn exhausted(&self, products: usize) -> Option<&'static str> {
        // One block is always multiplied, so that there is something to report.
        if products == 0 {
            None
        } else if products >= self.max_products {
            Some("limit of products")
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some("limit of time")
        } else {
            None
        }
    }
}
