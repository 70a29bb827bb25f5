//! Linearizations of an experiment's network, trained on its tasks: tasks and a training recipe
//! come in, histories go out, each computed once for all figures. Called by the figures and by
//! `train`.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use entk::{
    gram::Outputs,
    linearize::Linearized,
    models::{Model, Params},
    spectral::Gram,
    train::{DualFit, DualSgd, History, Optimizer, SgdConfig, Stability, Targets, logits},
};

use crate::{
    experiment::{Experiment, cached_training::Training, kernel::InitialKernel, tasks::Task},
    run::{Run, cache::Key, stderr::say},
};

impl Experiment {
    /// Trains one linearization at theta_0 a task; by SGD over the kernel of all images, all at
    /// once and exactly, by other rules and of several outputs in weight space.
    ///
    /// # Errors
    /// When [`DualSgd`] or [`train`](Self::train) fails, or the cache cannot be written.
    pub fn linearize(
        &self,
        run: &Run,
        kernel: &InitialKernel,
        tasks: &[Task],
        config: &SgdConfig,
    ) -> Result<Vec<History>> {
        if config.optimizer != Optimizer::HeavyBall {
            return self.linearize_in_weights(run, tasks, config);
        }
        let of_classes = tasks.iter().take_while(|task| task.classes > 2).count();
        if of_classes > 0 {
            let (of_classes, others) = tasks.split_at(of_classes);
            let mut histories = self.linearize_in_weights(run, of_classes, config)?;
            if !others.is_empty() {
                histories.extend(self.linearize(run, kernel, others, config)?);
            }
            return Ok(histories);
        }
        let tasks: Vec<&[u8]> = tasks.iter().map(|task| &*task.labels).collect();
        let key = Key::new("linearizations").with("kernel", &kernel.identity)?;
        let key = key.with("train", &self.train)?.with("tasks", &tasks)?.with("config", config)?;
        run.cache().value(&key, || {
            let f0 = logits(&self.network, &self.theta0, &self.images, config.eval_batch)?;
            self.dual(run, &kernel.gram, &f0, &tasks, config)
        })
    }

    /// Trains one linearization at theta_0 a task in weight space: the same numbers up to
    /// round-off.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn linearize_in_weights(
        &self,
        run: &Run,
        tasks: &[Task],
        config: &SgdConfig,
    ) -> Result<Vec<History>> {
        let fits = self.fit_all(run, "linearizations", linear_model, tasks, config)?;
        Ok(fits.into_iter().map(|fit| fit.history).collect())
    }

    /// Trains the linearization at `params` on one task, from 0 instead of the network's outputs,
    /// with the batch-norm statistics of `params`.
    ///
    /// # Errors
    /// As [`linearize`](Self::linearize).
    pub fn linearize_at(
        &self,
        run: &Run,
        params: &Params,
        task: &[u8],
        config: &SgdConfig,
    ) -> Result<History> {
        if self.network.outputs() > 1 {
            return self.linearize_classes_at(run, params, task, config);
        }
        let key = self.key("linearization-from-0", params, &self.images)?;
        let key = key.with("train", &self.train)?.with("task", task)?.with("config", config)?;
        run.cache().value(&key, || {
            let gram = self.gram_at(run, params, &self.images, Outputs::Trace)?;
            let mut histories = self.dual(run, &gram, &vec![0.0; gram.n()], &[task], config)?;
            histories.pop().context("one task has one history")
        })
    }

    /// [`linearize_at`](Self::linearize_at) of several outputs, in weight space.
    fn linearize_classes_at(
        &self,
        run: &Run,
        params: &Params,
        task: &[u8],
        config: &SgdConfig,
    ) -> Result<History> {
        let model = Linearized::new(&self.network, params.clone()).without_offset();
        let training =
            Training { model: &model, labels: task, config: &self.recipe(config)?, keep: &[] };
        let start = Self { theta0: params.clone(), ..self.to_dtype(params.dtype())? };
        let trained = run.stage("linearizations", config.epochs as u64, |stage| {
            start.train(run.cache(), stage, &training)
        })?;
        Ok(trained.fit.history)
    }

    fn dual(
        &self,
        run: &Run,
        gram: &Gram,
        f0: &[f64],
        tasks: &[&[u8]],
        config: &SgdConfig,
    ) -> Result<Vec<History>> {
        let dual = DualSgd::new(gram, self.train, f0)?;
        let targets: Vec<Targets> =
            tasks.iter().map(|labels| Targets::from(labels.to_vec())).collect();
        let fits = fit_over(run, &dual, &targets, config)?;
        Ok(fits.into_iter().map(|fit| fit.history).collect())
    }
}

fn linear_model(on: &Experiment) -> Box<dyn Model + '_> {
    Box::new(Linearized::new(&on.network, on.theta0.clone()))
}

/// Trains linearizations over a kernel as a stage of the run; says on stderr where the rate is too
/// large for it.
///
/// # Errors
/// When [`DualSgd`] fails.
pub fn fit_over(
    run: &Run,
    dual: &DualSgd<'_>,
    targets: &[Targets],
    config: &SgdConfig,
) -> Result<Vec<DualFit>> {
    run.stage("linearizations", config.epochs as u64, |stage| {
        let Stability { learning_rate, limit, .. } = dual.stability(config)?;
        if learning_rate >= limit {
            say(format_args!(
                "rate {learning_rate}: from {limit:.3} on, SGD on this kernel may oscillate"
            ));
        }
        Ok(dual.fit_observed(targets, config, |_| {
            stage.advance(1);
            ControlFlow::Continue(())
        })?)
    })
}
