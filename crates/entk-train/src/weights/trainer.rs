//! [`Trainer`]: a run between two epochs, with its parameters, optimiser and history.
//!
//! [`fit`](crate::fit) runs it to its end; programs that save checkpoints, or look at the
//! parameters on the way, hold it themselves.

use entk_device::memory::ensure;
use entk_models::{Model, Params};

use crate::{
    config::SgdConfig,
    error::Result,
    examples::Examples,
    history::{EpochRecord, Fit, History, Outcome},
    metrics::{
        distance::Distance,
        evaluate::{check_outputs, logits},
    },
    optim::OptimizerState,
    steps::{Step, StepSchedule},
    weights::gradient::BatchGradient,
};

/// Sets of parameters that are there at the same time: the start, those of the epoch before, the
/// present and the next, the gradient and what is added to it, and two moments.
const SETS: u64 = 8;

/// Refuses a training that memory cannot hold beside its examples: sets of parameters, and the
/// values and cotangents of a minibatch.
fn ensure_memory(model: &dyn Model, params: &Params, config: &SgdConfig) -> Result<()> {
    let item = params.dtype().size_in_bytes() as u64;
    let values = (model.network().summary().values() as u64).saturating_mul(2);
    let sets = SETS.saturating_mul(params.count() as u64);
    let numbers = values.saturating_mul(config.batch as u64).saturating_add(sets);
    let remedy = "use a smaller minibatch or a narrower network";
    Ok(ensure("the training", numbers.saturating_mul(item), None, remedy)?)
}

/// Training under way, one epoch at a time, with the parameters in sight: what
/// [`fit`](crate::fit) runs to its end.
///
/// Between epochs the parameters may be measured, kept or linearized; nothing that is read here
/// changes what comes next. A run that [saves](Self::save) itself can be interrupted at any moment
/// and [resumed](Self::resume).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Dense, Flatten, Model, Network, Sequential};
/// use entk_train::{Examples, SgdConfig, Trainer};
///
/// let layers = Sequential::new().then(Flatten).then(Dense::new("w", 1, 1));
/// let line = Network::new(&[1, 1, 1], layers)?;
/// let x = Tensor::new(&[-2.0, -1.0, 1.0, 2.0], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
/// let task = Examples::new(x, vec![0, 0, 1, 1])?;
///
/// let start = line.init(0, DType::F64, &Device::Cpu)?;
/// let config = SgdConfig { batch: 2, epochs: 3, ..SgdConfig::default() };
/// let mut trainer = Trainer::new(&line, &start, &task, None, &config)?;
/// let mut norms = vec![];
/// while trainer.step_epoch()?.is_some() {
///     norms.push(trainer.params().norm()?);
/// }
/// assert_eq!((norms.len(), trainer.epoch()), (3, 3));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) train: &'a Examples,
    pub(crate) test: Option<&'a Examples>,
    steps: StepSchedule,
    pub(crate) start: Params,
    pub(crate) state: State,
    pub(crate) history: History,
}

/// The parameters and the optimiser between two steps.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) params: Params,
    pub(crate) optimizer: OptimizerState,
}

impl<'a> Trainer<'a> {
    /// A run at epoch 0 with the parameters `params`; the arguments are those of
    /// [`fit`](crate::fit).
    ///
    /// # Errors
    /// Settings out of range, more memory than there is, fewer examples than a minibatch, a loss or
    /// class weights that the targets have not, a model with another number of outputs than the
    /// targets, inputs that do not fit the model, and those of [`Model::verify`].
    pub fn new(
        model: &'a dyn Model,
        params: &Params,
        train: &'a Examples,
        test: Option<&'a Examples>,
        config: &SgdConfig,
    ) -> Result<Self> {
        let steps = StepSchedule::new(config, train.count())?;
        ensure_memory(model, params, config)?;
        config.objective().check(train.targets())?;
        check_outputs(model, train.targets())?;
        if let Some(test) = test {
            config.objective().check(test.targets())?;
            check_outputs(model, test.targets())?;
            // One example is tried, so that a test set that does not fit is refused before an
            // epoch.
            logits(model, params, &test.inputs().narrow(0, 0, 1)?, 1)?;
        }
        model.verify(params, train.inputs())?;
        let state = State { params: params.clone(), optimizer: OptimizerState::new(config)? };
        let history = History::default();
        Ok(Self { model, train, test, steps, start: params.clone(), state, history })
    }

    /// One pass over the data; returns what was measured after it, or none where the run had ended
    /// before.
    ///
    /// # Errors
    /// [`TrainError::Diverged`](crate::TrainError::Diverged) and others as
    /// [`fit`](crate::fit); the run is then still at the end of the epoch before.
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "epoch", level = "debug", skip_all, fields(epoch = self.epoch() + 1))
    )]
    pub fn step_epoch(&mut self) -> Result<Option<&EpochRecord>> {
        if self.is_done() {
            return Ok(None);
        }
        let before = self.state.clone();
        let epoch = self.epoch() + 1;
        // Run on a thread of the pool: entering the pool at every step would cost a wait.
        match rayon::scope(|_| self.run_epoch(epoch)) {
            Ok(record) => {
                #[cfg(feature = "tracing")]
                tracing::debug!(minibatch_loss = record.minibatch_loss, "done");
                if self.steps.converged(&record) {
                    self.history.outcome = Outcome::Converged;
                }
                self.history.epochs.push(record);
            }
            Err(error) => {
                self.state = before;
                return Err(error);
            }
        }
        Ok(self.history.last())
    }

    /// Ends the run, unless it has ended; [`History::outcome`] then says so.
    pub fn stop(&mut self) {
        if !self.is_done() {
            self.history.outcome = Outcome::Stopped;
        }
    }

    /// Whether there is no epoch left to run.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.epoch() >= self.config().epochs || self.history.outcome != Outcome::Completed
    }

    /// Epochs done.
    #[must_use]
    pub fn epoch(&self) -> usize {
        self.history.epochs.len()
    }

    /// The parameters after these epochs, with the batch-norm statistics that training left.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.state.params
    }

    /// The parameters at epoch 0.
    #[must_use]
    pub fn start(&self) -> &Params {
        &self.start
    }

    /// What was measured so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The settings of the run.
    #[must_use]
    pub fn config(&self) -> &SgdConfig {
        self.steps.config()
    }

    /// The parameters and the history as they are.
    #[must_use]
    pub fn into_fit(self) -> Fit {
        Fit { params: self.state.params, history: self.history }
    }

    fn run_epoch(&mut self, epoch: usize) -> Result<EpochRecord> {
        let mut loss = f64::NAN;
        for (index, indices) in self.steps.batches().epoch(epoch).iter().enumerate() {
            loss = self.step(Step { epoch, index: index + 1 }, indices)?;
        }
        self.record(epoch, loss)
    }

    /// One step on the examples `indices`; returns their loss before it.
    fn step(&mut self, at: Step, indices: &[u32]) -> Result<f64> {
        let State { params, optimizer } = &mut self.state;
        let objective = self.steps.config().objective();
        let batch = BatchGradient::new(self.model, params, self.train, indices, &objective)
            .map_err(|error| self.steps.diverged(at, error))?;
        let loss = self.steps.loss(at, &batch.logits, &batch.targets)?;
        let next = optimizer.step(&self.start, params, batch.gradient, self.steps.rate(at))?;
        self.state.params = if batch.statistics.is_empty() {
            next
        } else {
            next.with_statistics(batch.statistics)?
        };
        Ok(loss)
    }

    /// Measures after an epoch. A distance that is not finite reveals such parameters, even where
    /// no logit shows them.
    fn record(&self, epoch: usize, minibatch_loss: f64) -> Result<EpochRecord> {
        let at = self.steps.end_of(epoch);
        let distance = Distance::between(&self.start, &self.state.params)?;
        if !distance.l2.is_finite() {
            return Err(self.steps.diverged_by(at, "the norm of theta - theta_0", distance.l2));
        }
        let due = self.steps.evaluates(epoch);
        let measure = |examples: &Examples| {
            let batch = self.config().eval_batch;
            let logits = logits(self.model, &self.state.params, examples.inputs(), batch)
                .map_err(|error| self.steps.diverged(at, error))?;
            self.steps.metrics(at, &logits, examples.targets())
        };
        Ok(EpochRecord {
            epoch,
            learning_rate: self.steps.rate(Step { epoch, index: 1 }),
            train: due.then(|| measure(self.train)).transpose()?,
            test: self.test.filter(|_| due).map(measure).transpose()?,
            minibatch_loss,
            distance,
        })
    }
}
