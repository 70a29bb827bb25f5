//! From a kernel and the settings to the learning rate from which steps grow without bound.
//!
//! Asked through [`DualSgd::stability`](crate::DualSgd::stability) before a long run.

use entk_spectral::KernelRows;
use rayon::prelude::*;

use crate::{
    config::{Optimizer, SgdConfig, WeightDecay},
    dual::{logits::rows_at_once, run::Problem},
    error::Result,
    steps::StepSchedule,
};

/// Numbers of the kernel that a thread reads at a time: 32 MiB.
const READ: usize = 1 << 22;

/// Power iterations at most, and the relative growth of the estimate at which they end.
const ITERATIONS: usize = 100;
const CONVERGED: f64 = 1e-6;

/// A learning rate beside the one from which steps grow without bound, from
/// [`DualSgd::stability`](crate::DualSgd::stability).
///
/// On a quadratic of curvature c the heavy ball is stable below `2 (1 + momentum) / c`, Nesterov's
/// step below `2 (1 + momentum) / ((1 + 2 momentum) c)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// An upper bound on the Hessian of a minibatch's loss, in the direction in which it is
    /// largest: `h lambda_max(K_BB) / |B|`, K_BB being the rows and columns of all outputs of the
    /// minibatch, with h = 1/4 for the cross-entropy of a sigmoid, 1/2 for that of a softmax, 1
    /// for the squared loss; the largest over the minibatches of the first epoch, plus the
    /// weight of a decay from the start. Power iteration finds it from below, to about 1e-4.
    /// Class weights raise it by the ratio of the largest to the smallest, which is further
    /// from tight.
    ///
    /// The Hessian in the logits of an example is `diag(p) - p p^T` for a softmax p: along a unit
    /// vector v the variance of v under p, at most a quarter of the square of its range, which is
    /// at most 2.
    pub curvature: f64,
    /// The learning rate below which steps are stable at this curvature.
    pub limit: f64,
    /// The learning rate of the settings.
    pub learning_rate: f64,
}

impl Stability {
    pub(crate) fn new(config: &SgdConfig, curvature: f64) -> Self {
        let decay = if let WeightDecay::FromStart(weight) = config.decay { weight } else { 0.0 };
        let curvature = curvature + decay;
        let slack =
            if config.optimizer == Optimizer::Nesterov { 1.0 + 2.0 * config.momentum } else { 1.0 };
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
pub(super) fn batch_curvature(problem: &Problem<'_>, steps: &StepSchedule) -> Result<f64> {
    let epoch = steps.batches().epoch(1);
    let batches: Vec<&[u32]> = epoch.iter().collect();
    let largest = |batch: &&[u32]| {
        let rows = problem.outputs.rows_of(batch);
        let block = principal(problem.kernel, &rows)?;
        Ok(largest_eigenvalue(&block, rows.len()) / batch.len() as f64)
    };
    let values: Vec<Result<f64>> = batches.par_iter().map(largest).collect();
    let values = values.into_iter().collect::<Result<Vec<_>>>()?;
    let largest = values.into_iter().fold(0.0, f64::max);
    Ok(steps.config().objective().curvature() * problem.outputs.scale() * largest)
}

/// The part of the kernel on `rows`, row by row; each thread reads a few at a time.
fn principal(kernel: &dyn KernelRows, rows: &[u32]) -> Result<Vec<f64>> {
    let (mut buffer, mut part) = (Vec::new(), Vec::with_capacity(rows.len() * rows.len()));
    for indices in rows.chunks(rows_at_once(kernel, READ)) {
        for row in kernel.rows(indices, &mut buffer)? {
            part.extend(rows.iter().map(|&j| row.get(j as usize)));
        }
    }
    Ok(part)
}

/// lambda_max of a symmetric n x n matrix by power iteration, started at the roots of the diagonal:
/// if its entries have one sign, so have those of the dominant eigenvector.
fn largest_eigenvalue(matrix: &[f64], n: usize) -> f64 {
    let mut x: Vec<f64> = matrix.iter().step_by(n + 1).map(|k| k.max(0.0).sqrt()).collect();
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        let norm = dot(&x, &x).sqrt();
        if norm == 0.0 {
            return 0.0;
        }
        x.iter_mut().for_each(|x| *x /= norm);
        let y: Vec<f64> = matrix.chunks_exact(n).map(|row| dot(row, &x)).collect();
        let next = dot(&x, &y);
        let converged = next - value <= CONVERGED * next;
        (x, value) = (y, next);
        if converged {
            break;
        }
    }
    value
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
