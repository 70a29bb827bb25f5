use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use entk_models::{Model, Params};

use crate::{
    error::Result,
    examples::Examples,
    history::{EpochRecord, History, Outcome},
    loss::sigmoid_cross_entropy_cotangent,
    metrics::{Distance, check_one_output, evaluate, host, logits},
    pace::{At, Pace},
    sgd::{Sgd, SgdConfig},
};

/// What [`fit`] returns.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The trained parameters, with the batch-norm statistics that training left.
    pub params: Params,
    /// What was measured on the way.
    pub history: History,
}

/// Trains `model` from `params` on `train` by SGD with momentum on the mean sigmoid cross-entropy.
///
/// Step t of T = epochs x floor(N / batch), on the minibatch B: `g = 1/|B| sum_B grad loss`,
/// `v <- g + momentum v`, `theta <- theta - learning_rate factor(t, T) v`. Minibatches come from
/// [`Minibatches`] with the config's seed. Batch norms use and update the statistics of the batch
/// ([`Model::training_sweep`]); evaluation uses the running ones. Paper: its released settings are
/// [`SgdConfig::default`].
///
/// After every epoch `on_epoch` is given the record that goes to the history; with
/// [`ControlFlow::Break`] it ends the run, which is no error and shows in
/// [`History::outcome`]. `params` is not changed.
///
/// An epoch costs N (forward + VJP), and where it is evaluated a forward pass over the training and
/// test examples.
///
/// # Errors
/// Settings out of range, fewer examples than a minibatch, a model with other than one output,
/// inputs that do not fit the model; [`TrainError::Diverged`] with epoch and step where a logit or the
/// parameters are no longer finite, or the loss of a minibatch is above 1e8. Nothing is returned of a diverged run.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Dense, Flatten, Model, Network, Sequential};
/// use entk_train::{Examples, Outcome, SgdConfig, fit};
///
/// let layers = Sequential::new().then(Flatten).then(Dense::new("w", 1, 1));
/// let line = Network::new(&[1, 1, 1], layers)?;
/// let x = Tensor::new(&[-2.0, -1.0, 1.0, 2.0], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
/// let task = Examples::new(x, vec![0, 0, 1, 1])?;
///
/// let start = line.init(0, DType::F64, &Device::Cpu)?;
/// let config = SgdConfig { batch: 2, epochs: 1000, ..SgdConfig::default() };
/// let trained = fit(&line, &start, &task, None, &config, |epoch| match epoch.train {
///     Some(metrics) if metrics.loss < 0.05 => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// })?;
/// assert_eq!(trained.history.outcome, Outcome::Stopped);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn fit<M: Model + ?Sized>(
    model: &M,
    params: &Params,
    train: &Examples,
    test: Option<&Examples>,
    config: &SgdConfig,
    mut on_epoch: impl FnMut(&EpochRecord) -> ControlFlow<()>,
) -> Result<Fit> {
    let mut run = Run::new(model, params, train, config)?;
    if let Some(test) = test {
        // One example, so that a test set that does not fit is refused before an epoch is spent.
        logits(model, params, &test.inputs().narrow(0, 0, 1)?, 1)?;
    }
    let mut history = History::default();
    for epoch in 1..=config.epochs {
        let minibatch_loss = run.epoch(epoch)?;
        let record = run.record(epoch, minibatch_loss, test)?;
        let flow = on_epoch(&record);
        history.epochs.push(record);
        if flow.is_break() {
            history.outcome = Outcome::Stopped;
            break;
        }
    }
    Ok(Fit { params: run.params, history })
}

/// A run under way.
struct Run<'a, M: ?Sized> {
    model: &'a M,
    train: &'a Examples,
    pace: Pace<'a>,
    start: &'a Params,
    params: Params,
    sgd: Sgd,
}

impl<'a, M: Model + ?Sized> Run<'a, M> {
    fn new(
        model: &'a M,
        start: &'a Params,
        train: &'a Examples,
        config: &'a SgdConfig,
    ) -> Result<Self> {
        check_one_output(model)?;
        let pace = Pace::new(config, train.count())?;
        let sgd = Sgd::new(config.momentum)?;
        Ok(Self { model, train, pace, start, params: start.clone(), sgd })
    }

    /// One pass over the data; returns the loss of the last minibatch.
    fn epoch(&mut self, epoch: usize) -> Result<f64> {
        let mut loss = f64::NAN;
        for (index, indices) in self.pace.batches().epoch(epoch).iter().enumerate() {
            loss = self.step(At { epoch, step: index + 1 }, indices)?;
        }
        Ok(loss)
    }

    /// One step on the examples `indices`; returns their loss before it.
    fn step(&mut self, at: At, indices: &[u32]) -> Result<f64> {
        let (x, labels) = self.train.minibatch(indices)?;
        let sweep = self.model.training_sweep(&self.params, &x)?;
        let outputs = sweep.outputs();
        let logits = host(outputs)?;
        let loss = self.pace.loss(at, &logits, &labels)?;
        let cotangent = sigmoid_cross_entropy_cotangent(&logits, &labels)?;
        let cotangent = Tensor::from_vec(cotangent, outputs.dims(), &Device::Cpu)?
            .to_dtype(outputs.dtype())?
            .to_device(outputs.device())?;
        let gradient = sweep.vjp(&cotangent)?;
        let statistics = sweep.statistics().to_vec();
        let next = self.sgd.step(&self.params, &gradient, self.pace.rate(at))?;
        self.params = if statistics.is_empty() { next } else { next.with_statistics(statistics)? };
        Ok(loss)
    }

    /// Measures after an epoch. A distance that is not finite reveals such parameters, even where
    /// no logit shows them.
    fn record(
        &self,
        epoch: usize,
        minibatch_loss: f64,
        test: Option<&Examples>,
    ) -> Result<EpochRecord> {
        let at = self.pace.end_of(epoch);
        let distance = Distance::between(self.start, &self.params)?;
        if !distance.l2.is_finite() {
            return Err(self.pace.diverged_by(at, "the norm of theta - theta_0", distance.l2));
        }
        let due = self.pace.evaluates(epoch);
        let measure = |examples: &Examples| {
            evaluate(self.model, &self.params, examples, self.pace.config().eval_batch)
                .map_err(|error| self.pace.diverged(at, error))
        };
        Ok(EpochRecord {
            epoch,
            learning_rate: self.pace.rate(At { epoch, step: 1 }),
            train: due.then(|| measure(self.train)).transpose()?,
            test: test.filter(|_| due).map(measure).transpose()?,
            minibatch_loss,
            distance,
        })
    }
}
