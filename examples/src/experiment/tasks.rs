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
    experiment::{
        Experiment,
        cached_training::{Snapshots, Trained, Training},
    },
    run::Run,
};

/// Operations of a forward pass for one image up to which networks are trained side by side, one
/// thread each. Larger ones have work for all threads in every layer, and need the memory.
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

    /// Another model of the same parameters, trained as the [`networks`](Self::networks) are; a
    /// stage of this name.
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
            // In order, so that the first error is the one that is told.
            let fits: Vec<Result<Fit>> = tasks.par_iter().with_max_len(1).map(one).collect();
            fits.into_iter().collect()
        })
    }

    /// The network trained on one task, looked at before, on the way (close together at first) and
    /// at the end.
    ///
    /// # Errors
    /// As [`networks`](Self::networks).
    pub fn snapshots(&self, run: &Run, task: &BinaryTask, config: &SgdConfig) -> Result<Snapshots> {
        let (epochs, labels) = (snapshot_epochs(config.epochs), task.target.labels());
        let training = Training { model: &self.network, labels, config, keep: &epochs };
        let trained = run.stage("networks", config.epochs as u64, |stage| {
            self.train(run.cache(), stage, &training)
        });
        let Trained { fit, kept } =
            trained.with_context(|| format!("the task of index {}", task.index))?;
        Ok(Snapshots { params: epochs.into_iter().zip(kept).collect(), history: fit.history })
    }
}

/// Epochs at which a network under training is looked at: 0, close together at first, and the last
/// one.
fn snapshot_epochs(last: usize) -> Vec<usize> {
    const EPOCHS: [usize; 11] = [0, 1, 2, 3, 5, 10, 20, 40, 60, 100, 150];
    EPOCHS.into_iter().filter(|epoch| *epoch < last).chain([last]).collect()
}

/// The last epoch, with what was measured on training and test images.
///
/// # Errors
/// A run without an epoch, or whose last one was not measured.
pub fn last_epoch(history: &History) -> Result<(&EpochRecord, Metrics, Metrics)> {
    let last = history.last().context("no epoch was run")?;
    let (train, test) = last.train.zip(last.test).context("the last epoch was not measured")?;
    Ok((last, train, test))
}

#[cfg(test)]
mod tests {
    use super::snapshot_epochs;

    #[test]
    fn snapshots_begin_at_the_start_and_end_at_the_end() {
        assert_eq!(snapshot_epochs(10), [0, 1, 2, 3, 5, 10]);
        assert_eq!(snapshot_epochs(4), [0, 1, 2, 3, 4]);
    }
}
