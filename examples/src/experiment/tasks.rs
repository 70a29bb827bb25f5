//! The binary tasks of the figures, the classes or the signs of an eigenfunction: an experiment and
//! eigenpairs come in, labels and networks trained on them go out. Called by the figures.

use anyhow::{Context, Result};
use entk::{
    models::Model,
    spectral::{BinaryTarget, Eigenpairs},
    train::{EpochRecord, Fit, History, Metrics, SgdConfig},
};
use rayon::prelude::*;

use crate::{
    experiment::{Experiment, cached_training::Training},
    run::Run,
};

/// Networks of at most so many operations for a forward pass of one image are trained side by side,
/// one thread each. Larger ones have work for all threads in every layer, and need the memory.
const SMALL: f64 = 1e8;

/// Labels of all images, and which eigenfunction they are the signs of.
#[derive(Clone, Debug)]
pub struct BinaryTask {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    pub index: usize,
    /// Its eigenvalue.
    pub eigenvalue: Option<f64>,
    /// The labels.
    pub target: BinaryTarget,
}

impl Experiment {
    /// The class task (CIFAR2 on CIFAR-10).
    ///
    /// # Errors
    /// A sample without images.
    pub fn class_task(&self) -> Result<BinaryTask> {
        let target = BinaryTarget::from_labels(self.labels.clone())?;
        Ok(BinaryTask { index: 0, eigenvalue: None, target })
    }

    /// The class task, then one task for each of the eigenfunctions `indices`, from 1.
    ///
    /// # Errors
    /// An index beyond the pairs.
    pub fn tasks(&self, pairs: &Eigenpairs, indices: &[usize]) -> Result<Vec<BinaryTask>> {
        let mut tasks = vec![self.class_task()?];
        for &index in indices {
            let eigenvalue = Some(pairs.pair(index - 1)?.0);
            let target = BinaryTarget::from_pair(pairs, index - 1)?;
            tasks.push(BinaryTask { index, eigenvalue, target });
        }
        Ok(tasks)
    }

    /// The class task and those of the eigenfunctions `indices`, from 1 and ascending, of the
    /// kernel at theta_0.
    ///
    /// # Errors
    /// As [`kernel`](Self::kernel), [`InitialKernel::eigenpairs`] and [`tasks`](Self::tasks).
    ///
    /// [`InitialKernel::eigenpairs`]: crate::InitialKernel::eigenpairs
    pub fn eigen_tasks(&self, run: &Run, indices: &[usize]) -> Result<Vec<BinaryTask>> {
        let last = indices.last().copied().unwrap_or(1);
        self.tasks(&self.kernel(run)?.eigenpairs(run, last)?, indices)
    }

    /// The network trained on each task, always from theta_0 and in the same order of images.
    ///
    /// # Errors
    /// As [`Experiment::train`], naming the task.
    pub fn networks(
        &self,
        run: &Run,
        tasks: &[BinaryTask],
        config: &SgdConfig,
    ) -> Result<Vec<Fit>> {
        self.fit_all(run, "networks", &self.network, tasks, config)
    }

    /// Trains another model of the same parameters as [`networks`](Self::networks) does, as a stage
    /// of this name.
    ///
    /// # Errors
    /// As [`networks`](Self::networks).
    pub fn fit_all(
        &self,
        run: &Run,
        name: &str,
        model: &dyn Model,
        tasks: &[BinaryTask],
        config: &SgdConfig,
    ) -> Result<Vec<Fit>> {
        let cache = run.cache();
        run.stage(name, (tasks.len() * config.epochs) as u64, |stage| {
            let one = |task: &BinaryTask| {
                let training = Training { model, labels: task.target.labels(), config, keep: &[] };
                let trained = self.train(cache, stage, &training);
                Ok(trained.with_context(|| format!("the task of index {}", task.index))?.fit)
            };
            if model.operations() > SMALL {
                return tasks.iter().map(one).collect();
            }
            // Collected in order, so that the first error is the one reported.
            let fits: Vec<Result<Fit>> = tasks.par_iter().with_max_len(1).map(one).collect();
            fits.into_iter().collect()
        })
    }
}

/// What was measured of a classifier over a set of images.
#[derive(Clone, Copy, Debug)]
pub struct Classification {
    /// The mean loss.
    pub loss: f64,
    /// The share of images that are classified right.
    pub accuracy: f64,
}

/// The last epoch, with what was measured on training and test images.
///
/// # Errors
/// A run without an epoch, of real targets, or whose last epoch was not measured.
pub fn last_epoch(history: &History) -> Result<(&EpochRecord, Classification, Classification)> {
    let last = history.last().context("no epoch was run")?;
    let (train, test) = last.train.zip(last.test).context("the last epoch was not measured")?;
    let of = |Metrics { loss, accuracy, .. }: Metrics| {
        let accuracy = accuracy.context("real targets have no accuracy")?;
        anyhow::Ok(Classification { loss, accuracy })
    };
    Ok((last, of(train)?, of(test)?))
}
