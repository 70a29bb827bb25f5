//! [`StepSchedule`]: from the settings and the number of examples to the minibatches, the learning
//! rate of each step and the epochs that are evaluated.
//!
//! Both solvers ask it at every step, and have it turn a logit or loss that shows divergence into
//! the error that names the epoch and the step.

use crate::{
    batches::Minibatches,
    config::SgdConfig,
    error::{Result, TrainError},
    history::EpochRecord,
    metrics::quality::Metrics,
    targets::Targets,
};

/// The loss of a minibatch, in nats, above which a run counts as diverged. The gradient of the
/// cross-entropy is saturated long before; a run that carried on would end with finite numbers that
/// mean nothing.
const LOSS_CEILING: f64 = 1e8;

/// A position in a run: the epoch and the step in it, both from 1.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) epoch: usize,
    pub(crate) index: usize,
}

/// The order, rates and evaluations of all steps of a run; every solver takes them from here.
#[derive(Debug, Clone)]
pub(crate) struct StepSchedule {
    config: SgdConfig,
    batches: Minibatches,
}

impl StepSchedule {
    /// The steps over `examples` examples; refuses settings out of range.
    pub(crate) fn new(config: &SgdConfig, examples: usize) -> Result<Self> {
        config.check()?;
        let batches = Minibatches::new(examples, config.batch, config.seed)?;
        Ok(Self { config: config.clone(), batches })
    }

    pub(crate) fn config(&self) -> &SgdConfig {
        &self.config
    }

    pub(crate) fn batches(&self) -> Minibatches {
        self.batches
    }

    /// The learning rate of a step.
    pub(crate) fn rate(&self, at: Step) -> f64 {
        let per_epoch = self.batches.per_epoch();
        let step = (at.epoch - 1) * per_epoch + at.index - 1;
        let steps = self.config.epochs.saturating_mul(per_epoch);
        self.config.learning_rate * self.config.schedule.factor(step, steps)
    }

    /// The last step of an epoch.
    pub(crate) fn end_of(&self, epoch: usize) -> Step {
        Step { epoch, index: self.batches.per_epoch() }
    }

    /// Whether all examples are measured after this epoch.
    pub(crate) fn evaluates(&self, epoch: usize) -> bool {
        epoch.is_multiple_of(self.config.eval_every) || epoch == self.config.epochs
    }

    /// The loss of a minibatch, unless it shows that the run has diverged.
    pub(crate) fn loss(&self, at: Step, logits: &[f64], targets: &Targets) -> Result<f64> {
        let objective = self.config.objective();
        let loss = objective.value(logits, targets).map_err(|error| self.diverged(at, error))?;
        if loss.is_nan() || loss > LOSS_CEILING {
            return Err(self.diverged_by(at, "the loss of the minibatch", loss));
        }
        Ok(loss)
    }

    /// What is measured over a set of examples.
    pub(crate) fn metrics(&self, at: Step, logits: &[f64], targets: &Targets) -> Result<Metrics> {
        Metrics::with_objective(&self.config.objective(), logits, targets)
            .map_err(|error| self.diverged(at, error))
    }

    /// Whether the loss in this record is one at which the settings end the run.
    pub(crate) fn converged(&self, record: &EpochRecord) -> bool {
        let reached = |stop: f64| record.train.is_some_and(|metrics| metrics.loss <= stop);
        self.config.stop_at_loss.is_some_and(reached)
    }

    /// A logit that is not finite means divergence here; any other error stays what it is.
    pub(crate) fn diverged(&self, at: Step, error: TrainError) -> TrainError {
        match error {
            TrainError::NonFiniteLogit { value, .. } => self.diverged_by(at, "a logit", value),
            other => other,
        }
    }

    pub(crate) fn diverged_by(&self, at: Step, what: &'static str, value: f64) -> TrainError {
        TrainError::Diverged {
            target: None,
            epoch: at.epoch,
            step: at.index,
            steps: self.batches.per_epoch(),
            what,
            value,
            learning_rate: self.config.learning_rate,
        }
    }
}
