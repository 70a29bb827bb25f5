//! The tasks of the figures, the classes or the signs of an eigenfunction: an experiment and
//! eigenpairs come in, labels and networks trained on them go out. Called by the figures.

use anyhow::{Context, Result};
use entk::{
    models::Model,
    spectral::{BinaryTarget, Eigenpairs},
    train::{EpochRecord, Fit, History, Loss, Metrics, SgdConfig},
};
use rayon::prelude::*;

use crate::{
    experiment::{
        Experiment,
        cached_training::Training,
        labels::{LabelTargets, Labels},
        target_rule::TargetRule,
    },
    run::Run,
};

/// Networks of at most so many operations for a forward pass of one image are trained side by side,
/// one thread each. Larger ones have work for all threads in every layer, and need the memory.
const SMALL: f64 = 1e8;

/// Labels of all images, and which eigenfunction they are the signs of.
#[derive(Clone, Debug)]
pub struct Task {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    pub index: usize,
    /// Its eigenvalue.
    pub eigenvalue: Option<f64>,
    /// The labels: 0 and 1, or classes.
    pub labels: Vec<u8>,
    /// How many classes they are of: 2 of a network with one logit.
    pub classes: usize,
}

impl Task {
    /// A task of one logit.
    pub fn binary(index: usize, eigenvalue: Option<f64>, target: &BinaryTarget) -> Self {
        Self { index, eigenvalue, labels: target.labels().to_vec(), classes: 2 }
    }

    /// The share of labels 1 among labels 0 and 1.
    pub fn positive_fraction(&self) -> Option<f64> {
        let positive = self.labels.iter().filter(|label| **label == 1).count();
        (self.classes == 2).then(|| positive as f64 / self.labels.len() as f64)
    }

    /// What alignments and energies measure: signs, or one-hot targets less 1/C.
    ///
    /// # Errors
    /// Labels that are none of the classes.
    pub fn targets(&self) -> Result<LabelTargets> {
        let (rule, outputs) = match self.classes {
            2 => (TargetRule::Signs, 1),
            classes => (TargetRule::CentredOneHot, classes),
        };
        Labels::of_classes("of the task", &self.labels).targets(Some(rule), outputs)
    }
}

impl Experiment {
    /// The class task (CIFAR2 on CIFAR-10).
    ///
    /// # Errors
    /// A sample without images.
    pub fn class_task(&self) -> Result<Task> {
        let Self { labels, network, .. } = self.of_classes.as_deref().unwrap_or(self);
        Ok(match network.outputs() {
            1 => Task::binary(0, None, &BinaryTarget::from_labels(labels.clone())?),
            classes => Task { index: 0, eigenvalue: None, labels: labels.clone(), classes },
        })
    }

    /// What a task is learnt by: with --classes another network for the class task.
    pub fn of_task(&self, task: &Task) -> &Self {
        self.of_classes.as_deref().filter(|_| task.index == 0).unwrap_or(self)
    }

    /// The class task, then one task for each of the eigenfunctions `indices`, from 1.
    ///
    /// # Errors
    /// An index beyond the pairs.
    pub fn tasks(&self, pairs: &Eigenpairs, indices: &[usize]) -> Result<Vec<Task>> {
        let mut tasks = vec![self.class_task()?];
        for &index in indices {
            let eigenvalue = Some(pairs.pair(index - 1)?.0);
            let target = BinaryTarget::from_pair(pairs, index - 1)?;
            tasks.push(Task::binary(index, eigenvalue, &target));
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
    pub fn eigen_tasks(&self, run: &Run, indices: &[usize]) -> Result<Vec<Task>> {
        let last = indices.last().copied().unwrap_or(1);
        self.tasks(&self.kernel(run)?.eigenpairs(run, last)?, indices)
    }

    /// The network trained on each task, always from theta_0 and in the same order of images.
    ///
    /// # Errors
    /// As [`Experiment::train`], naming the task.
    pub fn networks(&self, run: &Run, tasks: &[Task], config: &SgdConfig) -> Result<Vec<Fit>> {
        self.fit_all(run, "networks", network, tasks, config)
    }

    /// A recipe with the loss of as many outputs as the network has.
    ///
    /// # Errors
    /// Labels that are no targets of the network.
    pub fn recipe(&self, config: &SgdConfig) -> Result<SgdConfig> {
        let loss = match self.network.outputs() {
            1 => config.loss,
            _ => Loss::of(&self.targets(&self.labels)?),
        };
        Ok(SgdConfig { loss, ..config.clone() })
    }

    /// Trains another model of the same parameters, that of each task's experiment, as
    /// [`networks`](Self::networks) does, as a stage of this name.
    ///
    /// # Errors
    /// As [`networks`](Self::networks).
    pub fn fit_all(
        &self,
        run: &Run,
        name: &str,
        model: impl for<'e> Fn(&'e Self) -> Box<dyn Model + 'e> + Sync,
        tasks: &[Task],
        config: &SgdConfig,
    ) -> Result<Vec<Fit>> {
        let cache = run.cache();
        run.stage(name, (tasks.len() * config.epochs) as u64, |stage| {
            let one = |task: &Task| {
                let on = self.of_task(task);
                let (model, config) = (model(on), &on.recipe(config)?);
                let training = Training { model: &*model, labels: &task.labels, config, keep: &[] };
                let trained = on.train(cache, stage, &training);
                Ok(trained.with_context(|| format!("the task of index {}", task.index))?.fit)
            };
            if model(self).operations() > SMALL {
                return tasks.iter().map(one).collect();
            }
            // Collected in order, so that the first error is the one reported.
            let fits: Vec<Result<Fit>> = tasks.par_iter().with_max_len(1).map(one).collect();
            fits.into_iter().collect()
        })
    }
}

fn network(on: &Experiment) -> Box<dyn Model + '_> {
    Box::new(on.network.clone())
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
