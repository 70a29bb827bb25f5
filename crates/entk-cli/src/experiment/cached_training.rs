//! Trainings that figures share: a model, labels and a recipe come in, the trained parameters and
//! the history go out. What an earlier run did is read from the cache, and a training that was
//! interrupted goes on with the same bits. Called by the tasks of an experiment.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use entk::{
    device::files::{self, FileError},
    models::{Model, Params},
    train::{Examples, Fit, SgdConfig, TrainError, Trainer},
};

use crate::{
    experiment::Experiment,
    run::{
        cache::{Key, ResultCache},
        progress::Stage,
    },
};

/// A training under way is kept this often.
const SAVE_EVERY: Duration = Duration::from_secs(20);

/// The folder of a training under way, within that of its checkpoints.
const UNDER_WAY: &str = "under-way";

/// A network to be trained on one task.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// What is trained.
    pub model: &'a dyn Model,
    /// Labels of all images.
    pub labels: &'a [u8],
    /// How.
    pub config: &'a SgdConfig,
    /// Epochs, ascending, after which the parameters are kept; 0 is the start.
    pub keep: &'a [usize],
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Its parameters at the end, and what was measured on the way.
    pub fit: Fit,
    /// Its parameters after the epochs asked for.
    pub kept: Vec<Params>,
}

impl Experiment {
    /// Trains on the training images and measures on both; what an earlier run did is taken from
    /// the cache, and an interrupted training goes on with the same bits. Counts its epochs on
    /// `stage`.
    ///
    /// # Errors
    /// When [`Trainer`] fails, or a checkpoint cannot be written.
    pub fn train(
        &self,
        cache: &ResultCache,
        stage: &Stage,
        training: &Training<'_>,
    ) -> Result<Trained> {
        let Training { model, labels, config, keep } = *training;
        let (train, test) = self.examples(labels)?;
        let run = TrainingRun { model, start: &self.theta0, train: &train, test: &test };
        cache.folder_value(&self.training_key(training)?, is_damaged_checkpoint, |folder| {
            run.run_to_end(folder, config, keep, stage)
        })
    }

    fn training_key(&self, training: &Training<'_>) -> Result<Key> {
        let Training { model, labels, config, .. } = *training;
        let key = self.key("training", &self.theta0, &self.images)?;
        let key = key.with("model", &format!("{model:?}"))?.with("train", &self.train)?;
        key.with("labels", labels)?.with("config", config)
    }
}

/// The folder's name is the hash of the run, so that one of another run is damaged too.
fn is_damaged_checkpoint(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(TrainError::Checkpoint { .. } | TrainError::OtherRun { .. })
    )
}

/// One training with its checkpoints in a folder.
struct TrainingRun<'a> {
    model: &'a dyn Model,
    start: &'a Params,
    train: &'a Examples,
    test: &'a Examples,
}

impl TrainingRun<'_> {
    /// Trains to the end, with a checkpoint at every epoch to keep and at the end; also says
    /// whether all checkpoints were there.
    fn run_to_end(
        &self,
        folder: &Path,
        config: &SgdConfig,
        keep: &[usize],
        stage: &Stage,
    ) -> Result<(Trained, bool)> {
        let trainer = || Trainer::new(self.model, self.start, self.train, Some(self.test), config);
        let (mut run, mut kept, mut reused) = (trainer()?, Vec::new(), true);
        let mut counter = Counter { stage, done: 0 };
        let under_way = folder.join(UNDER_WAY);
        for &epoch in keep.iter().chain([&config.epochs]) {
            if epoch == 0 {
                kept.push(self.start.clone());
                continue;
            }
            let here = folder.join(format!("epoch-{epoch}"));
            let mut found = trainer()?;
            if found.resume(&here)? {
                run = found;
            } else {
                reused = false;
                let mut earlier = trainer()?;
                if earlier.resume(&under_way)? && (run.epoch()..=epoch).contains(&earlier.epoch()) {
                    run = earlier;
                }
                train_to(&mut run, epoch, &under_way, &mut counter)?;
                run.save(&here)?;
            }
            counter.advance_to(run.epoch());
            kept.push(run.params().clone());
        }
        kept.pop(); // the end, which the fit has
        if under_way.exists() {
            files::remove_folder(&under_way).map_err(FileError::new("remove", &under_way))?;
        }
        counter.advance_to(config.epochs);
        Ok((Trained { fit: run.into_fit(), kept }, reused))
    }
}

/// Counts the epochs of one training on a stage that it shares with others.
struct Counter<'a> {
    stage: &'a Stage,
    done: usize,
}

impl Counter<'_> {
    fn advance_to(&mut self, epoch: usize) {
        self.stage.advance(epoch.saturating_sub(self.done) as u64);
        self.done = self.done.max(epoch);
    }
}

/// Runs epochs until `epoch` is done, and saves the run now and then.
fn train_to(
    run: &mut Trainer<'_>,
    epoch: usize,
    folder: &Path,
    counter: &mut Counter<'_>,
) -> Result<()> {
    let mut saved = Instant::now();
    while run.epoch() < epoch && run.step_epoch()?.is_some() {
        counter.advance_to(run.epoch());
        if saved.elapsed() >= SAVE_EVERY {
            run.save(folder)?;
            saved = Instant::now();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use entk::models::MlpConfig;

    use super::*;
    use crate::run::{cache::CacheUse, progress::Progress};

    fn experiment() -> Result<Experiment> {
        let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
        let pixels: Vec<f32> = (0..48_u16).map(|at| (f32::from(at) * 0.7).sin()).collect();
        Ok(Experiment {
            images: Tensor::from_vec(pixels, (12, 1, 2, 2), &Device::Cpu)?,
            train: 8,
            labels: [0, 1].repeat(6),
            theta0: network.init(0, DType::F32, &Device::Cpu)?,
            network,
            of_classes: None,
        })
    }

    fn weights(params: &Params) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for (_, tensor) in params.iter() {
            all.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(all)
    }

    fn trained(cache: &ResultCache, keep: &[usize]) -> Result<Trained> {
        let (experiment, stage) = (experiment()?, Progress::new().stage("training", 6));
        let config = SgdConfig { batch: 4, epochs: 6, ..SgdConfig::default() };
        let (model, labels) = (&experiment.network, &*experiment.labels);
        experiment.train(cache, &stage, &Training { model, labels, config: &config, keep })
    }

    #[test]
    fn epochs_kept_lie_on_the_way_to_the_end() -> Result<()> {
        let root = tempfile::tempdir()?;
        let all = trained(&ResultCache::new(root.path()), &[0, 3])?;
        assert_eq!(weights(&all.kept[0])?, weights(&experiment()?.theta0)?);
        assert_eq!((all.kept.len(), all.fit.history.epochs.len()), (2, 6));

        // Epochs that another figure has kept are used again and change no bit.
        let (cache, plain) = (ResultCache::new(root.path()), tempfile::tempdir()?);
        let end = trained(&cache, &[])?;
        assert_eq!(cache.uses(), CacheUse { reused: 1, computed: 0 });
        let fresh = trained(&ResultCache::new(plain.path()), &[])?;
        assert_eq!(weights(&end.fit.params)?, weights(&fresh.fit.params)?);
        assert_eq!(end.fit.history, fresh.fit.history);
        Ok(())
    }

    #[test]
    fn an_interrupted_training_goes_on_and_a_damaged_one_starts_anew() -> Result<()> {
        let root = tempfile::tempdir()?;
        let whole = trained(&ResultCache::new(root.path()), &[2])?;
        let folders = || walk(root.path(), "checkpoint.json");
        // As if it had been killed after the second of six epochs.
        let (end, second): (Vec<_>, Vec<_>) =
            folders()?.into_iter().partition(|path| path.ends_with("epoch-6/checkpoint.json"));
        let folder = second[0].parent().and_then(Path::parent).expect("two folders up");
        std::fs::rename(folder.join("epoch-2"), folder.join(UNDER_WAY))?;
        std::fs::remove_dir_all(end[0].parent().expect("a folder"))?;
        let resumed = trained(&ResultCache::new(root.path()), &[])?;
        assert_eq!(weights(&resumed.fit.params)?, weights(&whole.fit.params)?);
        assert_eq!(resumed.fit.history, whole.fit.history);
        assert!(!folder.join(UNDER_WAY).exists());

        for file in walk(root.path(), "")? {
            std::fs::write(file, "damaged")?;
        }
        let cache = ResultCache::new(root.path());
        assert_eq!(trained(&cache, &[])?.fit.history, whole.fit.history);
        assert_eq!(cache.uses(), CacheUse { reused: 0, computed: 1 });
        Ok(())
    }

    /// A disk that fails once, when the training is over, takes nothing of it away.
    #[cfg(debug_assertions)]
    #[test]
    fn a_finished_training_survives_a_disk_that_fails() -> Result<()> {
        use entk::device::files::faults::{Fault, FaultPlan, inject};
        let root = tempfile::tempdir()?;
        trained(&ResultCache::new(root.path()), &[2])?;
        let contents = || -> Result<Vec<_>> {
            let paths = walk(root.path(), "")?;
            paths.into_iter().map(|path| Ok((path.clone(), std::fs::read(path)?))).collect()
        };
        let before = contents()?;
        for fault in [Fault::Broken, Fault::Denied, Fault::Full] {
            for at in 0.. {
                let injection = inject(root.path(), FaultPlan { at, fault });
                let again = trained(&ResultCache::new(root.path()), &[2]);
                if injection.count() <= at {
                    assert!(at >= 12, "{at} operations");
                    break;
                }
                // What is only tried, such as to clear up, may fail without a word.
                if let Err(error) = again {
                    let error = format!("{error:#}");
                    assert!(error.contains(&root.path().display().to_string()), "{error}");
                }
            }
        }
        assert!(contents()? == before);
        Ok(())
    }

    /// Files below a folder whose path ends with `name`.
    fn walk(folder: &Path, name: &str) -> Result<Vec<std::path::PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(walk(&path, name)?);
            } else if path.to_string_lossy().ends_with(name) {
                found.push(path);
            }
        }
        Ok(found)
    }
}
