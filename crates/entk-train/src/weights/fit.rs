//! From a model, parameters and examples to trained parameters with their history, in one call.
//!
//! Programs call it for one task or for many; each run is a [`Trainer`] taken to its end.

use std::ops::ControlFlow;

use entk_models::{Model, Params};
use rayon::prelude::*;

use crate::{
    config::SgdConfig,
    error::Result,
    examples::Examples,
    history::{EpochRecord, Fit},
    weights::trainer::Trainer,
};

/// Trains `model` from `params` on `train` by SGD with momentum on the mean sigmoid cross-entropy
/// of one logit, or by the rule and on the loss that the settings choose: several outputs need one
/// of theirs ([`Loss`](crate::Loss)).
///
/// Step t of T = epochs x floor(N / batch), on the minibatch B: `g = 1/|B| sum_B grad loss`,
/// `v <- g + momentum v`, `theta <- theta - learning_rate factor(t, T) v`. Minibatches come from
/// [`Minibatches`](crate::Minibatches) with the config's seed. Batch norms use and update the
/// statistics of the batch ([`Model::training_sweep`]); evaluation uses the running ones. Paper:
/// its released settings are [`SgdConfig::default`].
///
/// `params` is not changed. [`fit_observed`] shows every epoch to a callback, which may end the
/// run; a [`Trainer`] runs one epoch at a time with the parameters in sight.
///
/// An epoch costs N (forward + VJP), and where it is evaluated a forward pass over the training and
/// test examples.
///
/// # Errors
/// Settings out of range, fewer examples than a minibatch, a loss or class weights that the targets
/// have not, a model with another number of outputs than the targets, inputs that do not fit the
/// model, those of [`Model::verify`];
/// [`TrainError::Diverged`](crate::TrainError::Diverged) with
/// epoch and step where a logit or the parameters are no longer finite, or the loss of a minibatch
/// is above 1e8. Nothing is returned of a diverged run.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Dense, Flatten, Model, Network, Sequential};
/// use entk_train::{Examples, SgdConfig, fit};
///
/// let layers = Sequential::new().then(Flatten).then(Dense::new("w", 1, 1));
/// let line = Network::new(&[1, 1, 1], layers)?;
/// let x = Tensor::new(&[-2.0, -1.0, 1.0, 2.0], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
/// let task = Examples::new(x, vec![0, 0, 1, 1])?;
///
/// let start = line.init(0, DType::F64, &Device::Cpu)?;
/// let config = SgdConfig { batch: 2, epochs: 200, ..SgdConfig::default() };
/// let trained = fit(&line, &start, &task, None, &config)?;
/// assert!(trained.history.convergence_epoch(0.1).is_some());
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn fit(
    model: &dyn Model,
    params: &Params,
    train: &Examples,
    test: Option<&Examples>,
    config: &SgdConfig,
) -> Result<Fit> {
    fit_observed(model, params, train, test, config, |_| ControlFlow::Continue(()))
}

/// Trains as [`fit`] does, and shows the record of every epoch to `on_epoch` as it goes to the
/// history.
///
/// With [`ControlFlow::Break`] the callback ends the run, which is no error and shows in
/// [`History::outcome`](crate::History::outcome).
///
/// # Errors
/// As [`fit`].
///
/// ```
/// use std::ops::ControlFlow;
///
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Dense, Flatten, Model, Network, Sequential};
/// use entk_train::{Examples, Outcome, SgdConfig, fit_observed};
///
/// let layers = Sequential::new().then(Flatten).then(Dense::new("w", 1, 1));
/// let line = Network::new(&[1, 1, 1], layers)?;
/// let x = Tensor::new(&[-2.0, -1.0, 1.0, 2.0], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
/// let task = Examples::new(x, vec![0, 0, 1, 1])?;
///
/// let start = line.init(0, DType::F64, &Device::Cpu)?;
/// let config = SgdConfig { batch: 2, epochs: 1000, ..SgdConfig::default() };
/// let trained = fit_observed(&line, &start, &task, None, &config, |epoch| match epoch.train {
///     Some(metrics) if metrics.loss < 0.05 => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// })?;
/// assert_eq!(trained.history.outcome, Outcome::Stopped);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[cfg_attr(
    feature = "tracing",
    tracing::instrument(name = "fit", skip_all, fields(epochs = config.epochs))
)]
pub fn fit_observed(
    model: &dyn Model,
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

/// Trains a network for each task, all from `params` and in the same order of examples, side by
/// side: one thread takes one network at a time.
///
/// Each result has the bits of [`fit`] on its task. It pays where steps are small: a thread that
/// keeps a network to itself waits for no other, at every layer of every step. For linearizations
/// see [`DualSgd`](crate::DualSgd), which trains all targets at the cost of little more than one.
///
/// A task is its training and its test examples; tasks on the same images share them
/// ([`Examples::with_targets`]). [`fit_many_observed`] shows their epochs to a callback. The memory
/// is that of as many trainings as there are threads.
///
/// # Errors
/// As [`fit`], of the first task that fails; [`TrainError::Diverged`](crate::TrainError::Diverged)
/// names it.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Dense, Flatten, Model, Network, Sequential};
/// use entk_train::{Examples, SgdConfig, fit_many};
///
/// let layers = Sequential::new().then(Flatten).then(Dense::new("w", 1, 1));
/// let line = Network::new(&[1, 1, 1], layers)?;
/// let x = Tensor::new(&[-2.0, -1.0, 1.0, 2.0], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
/// let one = Examples::new(x, vec![0, 0, 1, 1])?;
/// let tasks = [(one.clone(), None), (one.with_targets(vec![1, 1, 0, 0])?, None)];
///
/// let start = line.init(0, DType::F64, &Device::Cpu)?;
/// let config = SgdConfig { batch: 2, epochs: 200, ..SgdConfig::default() };
/// let fits = fit_many(&line, &start, &tasks, &config)?;
/// for fit in &fits {
///     let end = fit.history.last().and_then(|record| record.train);
///     assert_eq!(end.and_then(|metrics| metrics.accuracy), Some(1.0));
/// }
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn fit_many(
    model: &dyn Model,
    params: &Params,
    tasks: &[(Examples, Option<Examples>)],
    config: &SgdConfig,
) -> Result<Vec<Fit>> {
    fit_many_observed(model, params, tasks, config, |_, _| ControlFlow::Continue(()))
}

/// Trains as [`fit_many`] does, and shows every epoch to `on_epoch`, with the number of the task
/// from 0.
///
/// The callback is called from the threads; with [`ControlFlow::Break`] it ends the run of that
/// task.
///
/// # Errors
/// As [`fit_many`].
#[cfg_attr(
    feature = "tracing",
    tracing::instrument(name = "fit_many", skip_all, fields(epochs = config.epochs))
)]
pub fn fit_many_observed(
    model: &dyn Model,
    params: &Params,
    tasks: &[(Examples, Option<Examples>)],
    config: &SgdConfig,
    on_epoch: impl Fn(usize, &EpochRecord) -> ControlFlow<()> + Sync,
) -> Result<Vec<Fit>> {
    let one = |(index, (train, test)): (usize, &(Examples, Option<Examples>))| {
        fit_observed(model, params, train, test.as_ref(), config, |record| on_epoch(index, record))
            .map_err(|error| error.of_target(index))
    };
    // Collected in order, so that the first of several failures is reported.
    let fits: Vec<Result<Fit>> = tasks.par_iter().enumerate().with_max_len(1).map(one).collect();
    fits.into_iter().collect()
}
