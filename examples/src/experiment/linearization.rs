//! Linearizations of an experiment's network, trained on its tasks: tasks and a training recipe
//! come in, histories go out, each computed once for all figures. Called by the figures and by
//! `train`.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use entk::{
    linearize::Linearized,
    models::Params,
    spectral::Gram,
    train::{DualSgd, History, Optimizer, SgdConfig, Stability, logits},
};

use crate::{
    experiment::{Experiment, kernel::InitialKernel, tasks::BinaryTask},
    run::{Run, cache::Key, stderr::say},
};

impl Experiment {
    /// Trains one linearization at theta_0 a task; by SGD over the kernel of all images, all at
    /// once and exactly, by other rules in weight space.
    ///
    /// # Errors
    /// When [`DualSgd`] or [`train`](Self::train) fails, or the cache cannot be written.
    pub fn linearize(
        &self,
        run: &Run,
        kernel: &InitialKernel,
        tasks: &[BinaryTask],
        config: &SgdConfig,
    ) -> Result<Vec<History>> {
        if config.optimizer != Optimizer::HeavyBall {
            let model = Linearized::new(&self.network, self.theta0.clone());
            let fits = self.fit_all(run, "linearizations", &model, tasks, config)?;
            return Ok(fits.into_iter().map(|fit| fit.history).collect());
        }
        let tasks: Vec<&[u8]> = tasks.iter().map(|task| task.target.labels()).collect();
        let key = Key::new("linearizations").with("kernel", &kernel.identity)?;
        let key = key.with("train", &self.train)?.with("tasks", &tasks)?.with("config", config)?;
        run.cache().value(&key, || {
            let f0 = logits(&self.network, &self.theta0, &self.images, config.eval_batch)?;
            self.dual(run, &kernel.gram, &f0, &tasks, config)
        })
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
        let key = self.key("linearization-from-0", params, &self.images)?;
        let key = key.with("train", &self.train)?.with("task", task)?.with("config", config)?;
        run.cache().value(&key, || {
            let gram = self.gram_at(run, params, &self.images)?;
            let mut histories = self.dual(run, &gram, &vec![0.0; gram.n()], &[task], config)?;
            histories.pop().context("one task has one history")
        })
    }

    fn dual(
        &self,
        run: &Run,
        gram: &Gram,
        f0: &[f64],
        tasks: &[&[u8]],
        config: &SgdConfig,
    ) -> Result<Vec<History>> {
        run.stage("linearizations", config.epochs as u64, |stage| {
            let dual = DualSgd::new(gram, self.train, f0)?;
            let Stability { learning_rate, limit, .. } = dual.stability(config)?;
            if learning_rate >= limit {
                say(format_args!(
                    "rate {learning_rate}: from {limit:.3} on, SGD on this kernel may oscillate"
                ));
            }
            let fits = dual.fit_observed(tasks, config, |_| {
                stage.advance(1);
                ControlFlow::Continue(())
            })?;
            Ok(fits.into_iter().map(|fit| fit.history).collect())
        })
    }
}
