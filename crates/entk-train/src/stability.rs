//! How large a learning rate a kernel bears.

use entk_spectral::{Entries, Gram};
use rayon::prelude::*;

use crate::{
    batches::Minibatches,
    config::{Decay, SgdConfig, Update},
    loss::Loss,
};

/// Power iterations at most, and the relative growth of the estimate at which they end.
const ITERATIONS: usize = 100;
const SETTLED: f64 = 1e-6;

/// A learning rate beside the one from which steps grow without bound, from
/// [`DualSgd::stability`](crate::DualSgd::stability).
///
/// On a quadratic of curvature c the heavy ball is stable below `2 (1 + momentum) / c`, Nesterov's
/// step below `2 (1 + momentum) / ((1 + 2 momentum) c)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// An upper bound on the Hessian of a minibatch's loss, in the direction in which it is largest:
    /// lambda_max(K_BB) / (4 |B|) for the cross-entropy, four times that for the squared loss; the
    /// largest over the minibatches of the first epoch, plus the weight of a decay from the start.
    /// By power iteration, which approaches the eigenvalue from below, to about 1e-4.
    pub curvature: f64,
    /// The learning rate that this curvature bears.
    pub limit: f64,
    /// The learning rate of the settings.
    pub learning_rate: f64,
}

impl Stability {
    pub(crate) fn new(config: &SgdConfig, curvature: f64) -> Self {
        let decay = if let Decay::FromStart(weight) = config.decay { weight } else { 0.0 };
        let curvature = curvature + decay;
        let slack =
            if config.update == Update::Nesterov { 1.0 + 2.0 * config.momentum } else { 1.0 };
        let limit = 2.0 * (1.0 + config.momentum) / (slack * curvature);
        Self { curvature, limit, learning_rate: config.learning_rate }
    }

    /// Whether the learning rate is below the limit. Beyond it the cross-entropy, whose curvature
    /// falls as logits grow, need not diverge; it then oscillates.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.learning_rate < self.limit
    }
}

/// The largest bound on a Hessian over the minibatches of the first epoch.
pub(crate) fn batch_curvature(gram: &Gram, batches: Minibatches, loss: Loss) -> f64 {
    let epoch = batches.epoch(1);
    let batches: Vec<&[u32]> = epoch.iter().collect();
    let largest = |batch: &&[u32]| largest_eigenvalue(gram, batch) / batch.len() as f64;
    let values: Vec<f64> = batches.par_iter().map(largest).collect();
    loss.curvature() * values.into_iter().fold(0.0, f64::max)
}

/// lambda_max of the part of the Gram on `examples`, from the diagonal's root on: the dominant
/// eigenvector of a kernel with entries of one sign has entries of one sign.
fn largest_eigenvalue(gram: &Gram, examples: &[u32]) -> f64 {
    let root = |&i: &u32| gram.get(i as usize, i as usize).max(0.0).sqrt();
    let mut x: Vec<f64> = examples.iter().map(root).collect();
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        let norm = dot(&x, &x).sqrt();
        if norm == 0.0 {
            return 0.0;
        }
        x.iter_mut().for_each(|x| *x /= norm);
        let y: Vec<f64> = examples.iter().map(|&i| row_product(gram, i, examples, &x)).collect();
        let next = dot(&x, &y);
        let settled = next - value <= SETTLED * next;
        (x, value) = (y, next);
        if settled {
            break;
        }
    }
    value
}

fn row_product(gram: &Gram, row: u32, examples: &[u32], x: &[f64]) -> f64 {
    let pairs = examples.iter().zip(x);
    match gram.row(row as usize) {
        Entries::F32(row) => pairs.map(|(&j, x)| f64::from(row[j as usize]) * x).sum(),
        Entries::F64(row) => pairs.map(|(&j, x)| row[j as usize] * x).sum(),
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
