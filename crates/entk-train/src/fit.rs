use std::ops::ControlFlow;

use entk_models::{Model, Params};

use crate::{
    config::SgdConfig,
    error::Result,
    examples::Examples,
    history::{EpochRecord, History},
    trainer::Trainer,
};

/// What [`fit`] returns.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The trained parameters, with the batch-norm statistics that training left.
    pub params: Params,
    /// What was measured on the way.
    pub history: History,
}

/// Trains `model` from `params` on `train` by SGD with momentum on the mean sigmoid cross-entropy, or by
/// the rule and on the loss that the settings choose.
///
/// Step t of T = epochs x floor(N / batch), on the minibatch B: `g = 1/|B| sum_B grad loss`,
/// `v <- g + momentum v`, `theta <- theta - learning_rate factor(t, T) v`. Minibatches come from
/// [`Minibatches`](crate::Minibatches) with the config's seed. Batch norms use and update the statistics of the batch
/// ([`Model::training_sweep`]); evaluation uses the running ones. Paper: its released settings are
/// [`SgdConfig::default`].
///
/// After every epoch `on_epoch` is given the record that goes to the history; with
/// [`ControlFlow::Break`] it ends the run, which is no error and shows in
/// [`History::outcome`]. `params` is not changed. A [`Trainer`] does the same with the parameters in
/// sight.
///
/// An epoch costs N (forward + VJP), and where it is evaluated a forward pass over the training and
/// test examples.
///
/// # Errors
/// Settings out of range, fewer examples than a minibatch, a model with other than one output,
/// inputs that do not fit the model; [`TrainError::Diverged`](crate::TrainError::Diverged) with epoch and step where a logit or the
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
    let mut run = Trainer::new(model, params, train, test, config)?;
    while let Some(record) = run.step_epoch()? {
        if on_epoch(record).is_break() {
            run.stop();
        }
    }
    Ok(run.into_fit())
}
