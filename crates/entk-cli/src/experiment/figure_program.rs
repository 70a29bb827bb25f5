//! The frame of a program that draws a figure: the name, the defaults and the flags of a program
//! come in; its folder, rows of all seeds, picture and `record.json` go out. Called by the mains of
//! `figures/` and `beyond/`, which hand over how the rows of one seed are computed and drawn.

use std::cell::OnceCell;

use anyhow::{Context, Result};
use clap::Args;
use entk::{
    models::Params,
    train::{History, SgdConfig},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::{
        flags::{CommonFlags, Defaults},
        training_flags::FigureFlags,
    },
    experiment::{
        DataPool, Experiment,
        cached_training::{Trained, Training},
        tasks::Task,
    },
    plot::drawing::Drawing,
    run::Run,
};

/// A figure program under way; `F` are the flags that it has beside the common ones.
#[derive(Debug)]
pub struct FigureProgram<F: Args> {
    /// The flags, for all seeds.
    pub flags: FigureFlags<F>,
    name: &'static str,
    run: Run,
    data: OnceCell<DataPool>,
    takes_classes: bool,
}

impl<F: Args + Clone + Serialize> FigureProgram<F> {
    /// Parses the command line, which `check` may refuse, and makes the folder.
    ///
    /// # Errors
    /// When `check` refuses the flags, or the folder cannot be written.
    pub fn start(
        name: &'static str,
        defaults: &Defaults,
        check: impl FnOnce(&FigureFlags<F>) -> Result<()>,
    ) -> Result<Self> {
        let flags = FigureFlags::parse(name, defaults);
        flags.ensure_seeds()?;
        check(&flags)?;
        let run = flags.common.start(name)?;
        Ok(Self { flags, name, run, data: OnceCell::new(), takes_classes: false })
    }

    /// Takes `--classes`: all classes are then the class task, in place of two groups of them, with
    /// a network of its own. Other programs refuse it.
    #[must_use]
    pub fn with_classes(self) -> Self {
        Self { takes_classes: true, ..self }
    }

    /// The whole program: rows of all seeds, their picture, and a record without further results.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), [`save_figure`](Self::save_figure) and [`finish`](Self::finish).
    pub fn draw<R: Serialize, D: Drawing>(
        self,
        table: &str,
        one_seed: impl FnMut(&OneSeed<'_, F>) -> Result<Vec<R>>,
        figure: impl FnOnce(&FigureFlags<F>, &[R]) -> Result<D>,
    ) -> Result<()> {
        let rows = self.rows(table, one_seed)?;
        self.save_figure(&figure(&self.flags, &rows)?)?;
        self.finish(json!({}))
    }

    /// Rows of all seeds, from `one_seed` for each of them; `<table>.csv` grows seed by seed.
    ///
    /// # Errors
    /// When `one_seed` fails, or the table cannot be written.
    pub fn rows<R: Serialize>(
        &self,
        table: &str,
        mut one_seed: impl FnMut(&OneSeed<'_, F>) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        for flags in self.flags.of_each_seed() {
            let Self { run, data, takes_classes, .. } = self;
            let seed = OneSeed { flags, run, data, takes_classes: *takes_classes };
            rows.extend(one_seed(&seed)?);
            self.run.save_table(table, &rows)?;
        }
        Ok(rows)
    }

    /// Writes the picture under the name of the program: SVG, PNG, and its numbers as CSV.
    ///
    /// # Errors
    /// As [`Run::save_figure`].
    pub fn save_figure(&self, figure: &impl Drawing) -> Result<()> {
        self.run.save_figure(self.name, figure)
    }

    /// Writes `record.json` with `results`, a JSON object, to which it adds where the images come
    /// from; they are synthetic if no data set was loaded.
    ///
    /// # Errors
    /// As [`Run::finish`], and when `results` are no JSON object.
    pub fn finish(self, mut results: Value) -> Result<()> {
        let origin = self.data.get().map_or("synthetic", DataPool::origin);
        let object = results.as_object_mut().context("results are no JSON object")?;
        object.insert("origin".to_owned(), origin.into());
        self.run.finish(self.flags.common.seed, &self.flags, &results)?;
        Ok(())
    }
}

/// What the rows of one seed are computed from.
#[derive(Debug)]
pub struct OneSeed<'a, F: Args> {
    /// The flags, for this seed alone.
    pub flags: FigureFlags<F>,
    /// The run of the program.
    pub run: &'a Run,
    data: &'a OnceCell<DataPool>,
    takes_classes: bool,
}

impl<F: Args> OneSeed<'_, F> {
    /// The sample that the flags ask for, and a network at its start.
    ///
    /// # Errors
    /// As [`experiment_of`](Self::experiment_of).
    pub fn experiment(&self) -> Result<Experiment> {
        self.experiment_of(self.flags.common.train)
    }

    /// The experiment with another number of training images. The data set is loaded once for all
    /// experiments of a program.
    ///
    /// # Errors
    /// As [`DataPool::load`] and [`DataPool::experiment`].
    pub fn experiment_of(&self, train: usize) -> Result<Experiment> {
        let data = match self.data.get() {
            Some(data) => data,
            None => {
                let loaded = DataPool::load(self.run, &self.flags.common)?;
                self.data.get_or_init(|| loaded)
            }
        };
        let flags = CommonFlags { train, ..self.flags.common.clone() };
        if self.takes_classes {
            data.experiment_beside_classes(&flags)
        } else {
            data.experiment(&flags)
        }
    }

    /// Trains a network on the class task and on the eigenfunction `index`, from 1, of the kernel
    /// at theta_0, and collects the rows of `rows_at` at the start, at epochs that are dense at
    /// first, and at the end.
    ///
    /// # Errors
    /// As [`Experiment::eigen_tasks`] and [`Experiment::train`], and when `rows_at` fails.
    pub fn along_training<R>(
        &self,
        index: usize,
        mut rows_at: impl FnMut(&Moment<'_>) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let (whole, config) = (&self.experiment()?, &self.flags.sgd());
        let (run, keep) = (self.run, &looked_at(config.epochs));
        let mut rows = Vec::new();
        for task in &whole.eigen_tasks(run, &[index])? {
            let experiment = whole.of_task(task);
            let (model, labels) = (&experiment.network, &*task.labels);
            let config = &experiment.recipe(config)?;
            let training = Training { model, labels, config, keep };
            let trained = run.stage("networks", config.epochs as u64, |stage| {
                experiment.train(run.cache(), stage, &training)
            });
            let Trained { fit, kept } =
                trained.with_context(|| format!("the task of index {}", task.index))?;
            for (&epoch, params) in keep.iter().zip(&kept) {
                let history = &fit.history;
                rows.extend(rows_at(&Moment { experiment, config, task, epoch, params, history })?);
            }
        }
        Ok(rows)
    }
}

/// The epochs, up to `last`, at which a network under training is measured.
fn looked_at(last: usize) -> Vec<usize> {
    const EPOCHS: [usize; 11] = [0, 1, 2, 3, 5, 10, 20, 40, 60, 100, 150];
    EPOCHS.into_iter().filter(|epoch| *epoch < last).chain([last]).collect()
}

/// A network at one epoch of its training.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Images and network.
    pub experiment: &'a Experiment,
    /// How it is trained.
    pub config: &'a SgdConfig,
    /// What it is trained on.
    pub task: &'a Task,
    /// Epochs done.
    pub epoch: usize,
    /// Its parameters after these epochs.
    pub params: &'a Params,
    /// What was measured after every epoch of the whole training.
    pub history: &'a History,
}

#[cfg(test)]
mod tests {
    use super::looked_at;

    #[test]
    fn a_training_is_looked_at_from_its_start_to_its_end() {
        assert_eq!(looked_at(10), [0, 1, 2, 3, 5, 10]);
        assert_eq!(looked_at(4), [0, 1, 2, 3, 4]);
    }
}
