//! What a training returns: [`History`], one [`EpochRecord`] an epoch, and [`Fit`].
//!
//! Solvers append a record after each epoch; callbacks see it, checkpoints keep the history.

use entk_models::Params;
use serde::{Deserialize, Serialize};

use crate::metrics::{distance::Distance, quality::Metrics};

/// What was measured at the end of one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs done, from 1.
    pub epoch: usize,
    /// Learning rate of the epoch's first step.
    pub learning_rate: f64,
    /// Over all training examples, at the parameters after the epoch; none in epochs that are not
    /// evaluated.
    pub train: Option<Metrics>,
    /// Over all test examples; none without any, and in epochs that are not evaluated.
    pub test: Option<Metrics>,
    /// Loss of the epoch's last minibatch, just before its step and with the statistics of the
    /// batch: what the paper's code calls the training loss. A noisy value; compare, do not
    /// report.
    pub minibatch_loss: f64,
    /// Distance of the parameters from where training started.
    pub distance: Distance,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// All epochs were run.
    #[default]
    Completed,
    /// The callback asked to stop.
    Stopped,
    /// The loss over all training examples came down to
    /// [`stop_at_loss`](crate::SgdConfig::stop_at_loss).
    Converged,
}

/// The epochs of one run, in order.
///
/// ```
/// use entk_train::{Distance, EpochRecord, History, Metrics};
///
/// let record = |epoch, loss| EpochRecord {
///     epoch,
///     learning_rate: 0.05,
///     train: Some(Metrics { loss, ..Metrics::default() }),
///     test: None,
///     minibatch_loss: loss,
///     distance: Distance { l2: 1.0, cosine: None },
/// };
/// let history = History {
///     epochs: vec![record(1, 0.3), record(2, 0.009), record(3, 0.001)],
///     ..History::default()
/// };
/// assert_eq!(history.convergence_epoch(0.01), Some(2));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// One record for each epoch that was run.
    pub epochs: Vec<EpochRecord>,
    /// Whether it was run to the end.
    pub outcome: Outcome,
}

impl History {
    /// The convergence time: the first epoch after which the loss over all training examples was at
    /// most `threshold`; the paper's figures take 0.01. None if that was never seen. Epochs without
    /// evaluation do not count, so with `eval_every > 1` the answer is rounded up to it.
    #[must_use]
    pub fn convergence_epoch(&self, threshold: f64) -> Option<usize> {
        let reached = |record: &&EpochRecord| record.train.is_some_and(|m| m.loss <= threshold);
        self.epochs.iter().find(reached).map(|record| record.epoch)
    }

    /// The record of the last epoch that was run.
    #[must_use]
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }
}

/// What [`fit`](crate::fit) returns.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The trained parameters, with the batch-norm statistics that training left.
    pub params: Params,
    /// What was measured on the way.
    pub history: History,
}
