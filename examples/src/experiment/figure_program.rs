//! The frame of a program that draws a figure: the name, the defaults and the flags of a program
//! come in; its folder, rows of all seeds, picture and `record.json` go out. Called by the mains of
//! `figures/` and `beyond/`, which hand over how the rows of one seed are computed and drawn.

use std::cell::OnceCell;

use anyhow::Result;
use clap::Args;
use entk::{
    models::Params,
    train::{History, SgdConfig},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{
        flags::{CommonFlags, Defaults},
        training_flags::FigureFlags,
    },
    experiment::{DataPool, Experiment, tasks::BinaryTask},
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
}

impl<F: Args + Clone + Serialize> FigureProgram<F> {
    /// Parses the command line, which `check` may refuse, and makes the folder.
    ///
    /// # Errors
    /// Those of `check`, and a folder that cannot be written.
    pub fn start(
        name: &'static str,
        defaults: &Defaults,
        check: impl FnOnce(&FigureFlags<F>) -> Result<()>,
    ) -> Result<Self> {
        let flags = FigureFlags::parse(name, defaults);
        check(&flags)?;
        let run = flags.common.start(name)?;
        Ok(Self { flags, name, run, data: OnceCell::new() })
    }

    /// Rows of all seeds, from `one_seed` for each of them; `<table>.csv` grows seed by seed.
    ///
    /// # Errors
    /// Those of `one_seed`, and a table that cannot be written.
    pub fn rows<R: Serialize>(
        &self,
        table: &str,
        mut one_seed: impl FnMut(&OneSeed<'_, F>) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        for flags in self.flags.of_each_seed() {
            rows.extend(one_seed(&OneSeed { flags, run: &self.run, data: &self.data })?);
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
    /// from.
    ///
    /// # Errors
    /// As [`Run::finish`].
    pub fn finish(self, mut results: Value) -> Result<()> {
        results["origin"] = self.data.get().map_or("synthetic", DataPool::origin).into();
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
                let loaded = DataPool::load(&self.flags.common)?;
                self.data.get_or_init(|| loaded)
            }
        };
        data.experiment(&CommonFlags { train, ..self.flags.common.clone() })
    }

    /// Rows along the training of a network, once on the class task and once on the eigenfunction
    /// `index`, from 1, of the kernel at theta_0: those of `rows_at` after each epoch that is
    /// looked at.
    ///
    /// # Errors
    /// As [`Experiment::eigen_tasks`] and [`Experiment::snapshots`], and those of `rows_at`.
    pub fn along_training<R>(
        &self,
        index: usize,
        mut rows_at: impl FnMut(&Moment<'_>) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let (experiment, config) = (self.experiment()?, self.flags.sgd());
        let mut rows = Vec::new();
        for task in &experiment.eigen_tasks(self.run, &[index])? {
            let snapshots = experiment.snapshots(self.run, task, &config)?;
            for (epoch, params) in &snapshots.params {
                let (experiment, config, history) = (&experiment, &config, &snapshots.history);
                let moment = Moment { experiment, config, task, epoch: *epoch, params, history };
                rows.extend(rows_at(&moment)?);
            }
        }
        Ok(rows)
    }
}

/// A network on its way through a training.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Images and network.
    pub experiment: &'a Experiment,
    /// How it is trained.
    pub config: &'a SgdConfig,
    /// What it is trained on.
    pub task: &'a BinaryTask,
    /// Epochs done.
    pub epoch: usize,
    /// Its parameters then.
    pub params: &'a Params,
    /// What was measured after every epoch of the whole training.
    pub history: &'a History,
}
