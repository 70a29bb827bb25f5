//! Figures 2, 11 and 12: test accuracy of a network and of its linearization on the tasks that the
//! eigenfunctions of the network's own kernel define, against the index of the eigenfunction.
//!
//! The Gram is over training and test images together; the labels of task j are the signs of its
//! eigenvector j. Both models learn them from the training images and are measured on the test
//! images; by SGD the linearizations train in coefficient space, which is exact and trains all
//! tasks at once.
//!
//! Writes `tasks.csv`, the picture `fig02` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::{
    models::{FrozenNorms, Model},
    train::{Fit, History},
};
use entk_cli::{
    Bands, Defaults, Experiment, FigureFlags, FigureProgram, IndexFlags, InitialKernel, ModelName,
    OneSeed, OptimizerName, Size, Task, ensure_input, exit, last_epoch,
    plot::{Axis, Baseline, Figure, Series},
};
use serde::Serialize;
use serde_json::json;

/// Eigenfunctions whose share of the class task is recorded, as in Table 1.
const TOP: usize = 50;

/// The models compared, in the order of their colours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    Network,
    Linearization,
    /// With --frozen-norms only.
    FrozenNorms,
}

impl Compared {
    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Linearization => "linearization",
            Self::FrozenNorms => "network, frozen statistics",
        }
    }
}

/// Accuracy of a network and its linearization on the eigenfunctions of its kernel (Figures 2, 11,
/// 12).
#[derive(Args, Clone, Serialize)]
struct Own {
    #[command(flatten)]
    #[serde(flatten)]
    shown: IndexFlags,

    /// Trains resnet18 with frozen batch-norm statistics too, as its linearization has them
    #[arg(long, conflicts_with = "linear_only")]
    frozen_norms: bool,

    /// Trains the linearizations only, which take minutes where networks take days
    #[arg(long)]
    linear_only: bool,
}

impl Own {
    /// The models that are trained.
    fn models(&self) -> Vec<Compared> {
        let mut models = vec![Compared::Network, Compared::Linearization, Compared::FrozenNorms];
        models.retain(|model| match model {
            Compared::Network => !self.linear_only,
            Compared::Linearization => true,
            Compared::FrozenNorms => self.frozen_norms,
        });
        models
    }
}

/// Accuracies of one model on one task.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task, of all classes with --classes.
    index: usize,
    seed: u64,
    model: &'static str,
    eigenvalue: Option<f64>,
    /// None of more than two classes.
    positive_fraction: Option<f64>,
    test_accuracy: f64,
    train_accuracy: f64,
    class_energy_50: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(40, 30).for_resnet18(15),
        ..Defaults::default()
    };
    let program = FigureProgram::start("fig02", &defaults, check)?.with_classes();
    let rows = program.rows("tasks", one_seed)?;
    program.save_figure(&figure(&program.flags, &rows)?)?;
    let class: Vec<_> = rows.iter().filter(|row| row.index == 0).collect();
    let images = program.flags.common.train + program.flags.common.test;
    program.finish(json!({ "images": images, "class_task": class }))
}

fn check(flags: &FigureFlags<Own>) -> Result<()> {
    let model = &flags.common.network.model;
    let has_norms = model.built_in().is_some_and(ModelName::has_batch_norms);
    ensure_input(has_norms || !flags.own.frozen_norms, || {
        format!("--frozen-norms: {model} has no batch norms, or they are frozen already")
    })?;
    flags.own.shown.up_to(flags.common.train + flags.common.test)?;
    flags.ensure_batch()
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let OneSeed { flags, run, .. } = seed;
    let experiment = seed.experiment()?;
    let n = experiment.labels.len();
    let indices = flags.own.shown.up_to(n)?;
    let kernel = experiment.kernel(run)?;
    let last = indices.last().copied().unwrap_or(1);
    let pairs = kernel.eigenpairs(run, last.max(TOP.min(n)))?;
    let tasks = experiment.tasks(&pairs, &indices)?;
    let energy = tasks[0].targets()?.energy(&pairs, TOP.min(n))?;

    let mut rows = Vec::new();
    for model in flags.own.models() {
        let histories = train(seed, model, &experiment, &kernel, &tasks)?;
        for (task, history) in tasks.iter().zip(&histories) {
            let (_, train, test) = last_epoch(history)?;
            rows.push(Row {
                index: task.index,
                seed: flags.common.seed,
                model: model.name(),
                eigenvalue: task.eigenvalue,
                positive_fraction: task.positive_fraction(),
                test_accuracy: test.accuracy,
                train_accuracy: train.accuracy,
                class_energy_50: energy.ratio,
            });
        }
    }
    Ok(rows)
}

/// The histories of a model on each task.
fn train(
    seed: &OneSeed<'_, Own>,
    model: Compared,
    experiment: &Experiment,
    kernel: &InitialKernel,
    tasks: &[Task],
) -> Result<Vec<History>> {
    let (run, config) = (seed.run, seed.flags.sgd());
    let histories = |fits: Vec<Fit>| fits.into_iter().map(|fit| fit.history).collect();
    Ok(match model {
        Compared::Network => histories(experiment.networks(run, tasks, &config)?),
        Compared::Linearization => experiment.linearize(run, kernel, tasks, &config)?,
        Compared::FrozenNorms => {
            histories(experiment.fit_all(run, model.name(), frozen, tasks, &config)?)
        }
    })
}

fn frozen(experiment: &Experiment) -> Box<dyn Model + '_> {
    Box::new(FrozenNorms::new(&experiment.network))
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<Figure> {
    let (common, class_task) = (&flags.common, flags.common.class_task());
    let rule = if flags.training.optimizer == OptimizerName::Adam { ", Adam" } else { "" };
    let mut figure =
        Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
            .title(format!("{}{rule}", common.title()))
            .note(flags.note());
    for model in flags.own.models() {
        let (name, color) = (model.name(), model as usize);
        let of_model = rows.iter().filter(|row| row.model == name);
        let points = of_model.map(|row| (row.index, row.test_accuracy));
        let (eigen, class) = Bands::of_tasks(points)?;
        let class = Baseline::horizontal(format!("{class_task}, {name}"), class);
        figure = figure
            .series(Series::from_bands(name, &eigen).color(color))
            .baseline(class.color(color));
    }
    Ok(figure)
}
