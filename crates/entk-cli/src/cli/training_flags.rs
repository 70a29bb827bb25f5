//! Flags of programs that train and of figures: the command line and a program's defaults come in,
//! training recipes and the small print of a figure go out. Used by `train` and by
//! `FigureProgram`.

use anyhow::Result;
use clap::{Args, Command, CommandFactory, Parser, ValueEnum};
use entk::train::{AdamConfig, Optimizer, SgdConfig};
use serde::Serialize;

use crate::cli::{
    exit::EXIT_CODES,
    flags::{CommonFlags, Defaults, parse_command},
    numbers::{parse_positive, parse_seeds, parse_size},
    refused::ensure_input,
};

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
    /// Learning rate of --optimizer sgd at the first step, falling linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.05, value_parser = parse_positive)]
    pub learning_rate: f64,

    /// Examples in a minibatch
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = parse_size)]
    pub batch: usize,

    /// Rule of a step
    #[arg(long, value_enum, value_name = "NAME", default_value = "sgd")]
    pub optimizer: OptimizerName,

    /// Learning rate of --optimizer adam at the first step, falling linearly to 0; the paper does
    /// not say its own
    #[arg(long, value_name = "RATE", default_value_t = 0.001, value_parser = parse_positive)]
    pub adam_rate: f64,
}

impl TrainingFlags {
    /// Refuses a minibatch of more examples than there are.
    ///
    /// # Errors
    /// Both numbers.
    pub fn ensure_batch(&self, examples: usize) -> Result<()> {
        let batch = self.batch;
        ensure_input(batch <= examples, || {
            format!(
                "--batch {batch}: there are {examples} training examples, and incomplete \
                 minibatches are dropped; give --batch {examples} or less"
            )
        })
    }

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

/// The flags of a figure or table of trained models, measured for several seeds: the common ones,
/// and `F`, the program's own, whose documentation is what `--help` says about the program.
#[derive(Parser, Clone, Debug, PartialEq, Serialize)]
#[command(version, after_help = EXIT_CODES)]
pub struct FigureFlags<F: Args> {
    /// Network, data, sizes and folders.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonFlags,

    /// How models train.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: TrainingFlags,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", value_parser = parse_seeds)]
    pub seeds: u64,

    /// The program's own flags.
    #[command(flatten)]
    #[serde(flatten)]
    pub own: F,
}

impl<F: Args> FigureFlags<F> {
    /// Parses the command line of the program `name`, with its own defaults, as
    /// [`parse_flags`](crate::parse_flags) does.
    pub fn parse(name: &'static str, defaults: &Defaults) -> Self {
        let own = F::augment_args(Command::new(name));
        let command =
            Self::command().name(name).about(own.get_about().cloned().unwrap_or_default());
        parse_command(command, defaults)
    }

    /// Refuses a minibatch that the training images do not fill.
    ///
    /// # Errors
    /// As [`TrainingFlags::ensure_batch`].
    pub fn ensure_batch(&self) -> Result<()> {
        self.training.ensure_batch(self.common.train)
    }

    /// Refuses seeds beyond the last one.
    ///
    /// # Errors
    /// The first seed, their number and the last there is.
    pub(crate) fn ensure_seeds(&self) -> Result<()> {
        let (first, seeds) = (self.common.seed, self.seeds);
        ensure_input(first.checked_add(seeds - 1).is_some(), || {
            format!("--seed {first} --seeds {seeds}: the last seed is {}; lower one", u64::MAX)
        })
    }

    /// The flags of each seed alone.
    pub fn of_each_seed(&self) -> impl Iterator<Item = Self>
    where
        F: Clone,
    {
        let first = self.common.seed;
        (0..self.seeds).map(move |at| {
            let seed = first.saturating_add(at);

            let common = CommonFlags { seed, ..self.common.clone() };
            Self { common, seeds: 1, ..self.clone() }
        })
    }

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
}
