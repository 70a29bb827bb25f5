//! Flags of programs that train.

use anyhow::Result;
use clap::{Args, ValueEnum};
use entk::train::{AdamConfig, Optimizer, SgdConfig};
use serde::Serialize;

use crate::{cli::flags::CommonFlags, run::Run};

/// The rule of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// SGD with momentum, the paper's
    Sgd,
    /// Adam, as in Figure 11
    Adam,
}

/// Flags to be flattened into those of a program that trains; the defaults are the paper's.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct TrainingFlags {
    /// Learning rate at the first step, falling linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub learning_rate: f64,

    /// Examples in a minibatch
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub batch: usize,

    /// Rule of a step
    #[arg(long, value_enum, value_name = "NAME", default_value = "sgd")]
    pub optimizer: OptimizerName,

    /// Learning rate of Adam at the first step, in place of --learning-rate; the paper does not
    /// say its own
    #[arg(long, value_name = "RATE", default_value_t = 0.001)]
    pub adam_rate: f64,
}

impl TrainingFlags {
    /// These settings, measured after every epoch.
    pub fn sgd(&self, common: &CommonFlags) -> SgdConfig {
        let (learning_rate, optimizer) = match self.optimizer {
            OptimizerName::Sgd => (self.learning_rate, Optimizer::HeavyBall),
            OptimizerName::Adam => (self.adam_rate, Optimizer::Adam(AdamConfig::default())),
        };
        SgdConfig {
            learning_rate,
            optimizer,
            batch: self.batch,
            epochs: common.epochs,
            seed: common.seed,
            ..SgdConfig::default()
        }
    }
}

/// Flags to be flattened into those of a figure or table of trained models, measured for several
/// seeds.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct FigureFlags {
    /// Network, data, sizes and folders.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonFlags,

    /// How models train.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: TrainingFlags,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
}

impl FigureFlags {
    /// [`TrainingFlags::sgd`] at these sizes.
    pub fn sgd(&self) -> SgdConfig {
        self.training.sgd(&self.common)
    }

    /// The sizes of a run as the small print of its figure.
    pub fn note(&self) -> String {
        let CommonFlags { train, test, epochs, .. } = self.common;
        let seeds = self.seeds_note();
        format!("{train} training and {test} test images, {epochs} epochs, {seeds}.")
    }

    /// The end of the small print: which seed, or what is drawn of several.
    pub fn seeds_note(&self) -> String {
        match self.seeds {
            1 => format!("seed {}", self.common.seed),
            seeds => format!("{seeds} seeds: median, smallest and largest"),
        }
    }

    /// Rows of all seeds, from `one_seed` with the flags of each seed alone; `<table>.csv` grows
    /// seed by seed.
    ///
    /// # Errors
    /// Those of `one_seed`, and a table that cannot be written.
    pub fn rows<R: Serialize>(
        &self,
        run: &mut Run,
        table: &str,
        mut one_seed: impl FnMut(&mut Run, &Self) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        for seed in self.common.seed..self.common.seed.saturating_add(self.seeds) {
            let common = CommonFlags { seed, ..self.common.clone() };
            rows.extend(one_seed(run, &Self { common, seeds: 1, ..self.clone() })?);
            run.save_table(table, &rows)?;
        }
        Ok(rows)
    }
}
