//! Figures 2, 11 and 12: test accuracy of a network and of its linearization on the tasks that the eigenfunctions
//! of the network's own kernel define, against the index of the eigenfunction.
//!
//! The Gram is over training and test images together; the labels of task j are the signs of its eigenvector j.
//! Both models learn them from the training images and are measured on the test images; by SGD the linearizations
//! train in coefficient space, which is exact and trains all tasks at once.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use entk::linearize::Linearized;
use entk::spectral::energy_concentration;
use entk::train::{AdamConfig, History, SgdConfig, Update};
use entk_examples::plot::{Axis, Baseline, Figure, Marker, Series};
use entk_examples::{
    Bands, CommonFlags, Defaults, Experiment, IndexList, Kernel, ModelName, Run, Size, Source,
    Task, Training, TrainingFlags, indices, last_epoch, parse_flags,
};
use serde::Serialize;

/// Eigenfunctions by default.
const INDICES: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// Eigenfunctions whose share of the class task is recorded, as in Table 1.
const TOP: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Optimizer {
    /// SGD with momentum (Figure 2)
    Sgd,
    /// Adam (Figure 11)
    Adam,
}

/// Accuracy of a network and its linearization on the eigenfunctions of its kernel (Figures 2, 11, 12).
#[derive(Parser, Serialize)]
#[command(name = "fig02", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default: 1,2,5,10,20,50,100,200,500,1000, as
    /// far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,

    /// Rule of a step, for both models
    #[arg(long, value_enum, value_name = "NAME", default_value = "sgd")]
    optimizer: Optimizer,

    /// Learning rate of Adam at the first step; the paper does not say its own
    #[arg(long, value_name = "RATE", default_value_t = 0.001)]
    adam_rate: f64,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
}

/// Accuracies on one task.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    eigenvalue: Option<f64>,
    positive_fraction: f64,
    network: f64,
    linearization: f64,
    network_train: f64,
    linearization_train: f64,
    class_energy_50: f64,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(40, 30).for_resnet18(15),
        ..Defaults::default()
    });
    ensure!(flags.seeds >= 1, "--seeds {}: at least one seed is needed", flags.seeds);
    let mut run = flags.common.start("fig02")?;
    let source = Source::load(&flags.common)?;
    let mut rows = Vec::new();
    for common in flags.common.for_seeds(flags.seeds) {
        rows.extend(one_seed(&mut run, &flags, &common, &source)?);
        run.save_table("tasks", &rows)?;
    }
    run.save_figure("fig02", &figure(&flags, &rows)?)?;
    let class = rows.iter().filter(|row| row.index == 0);
    let results = serde_json::json!({
        "origin": source.origin(),
        "images": flags.common.train + flags.common.test,
        "class_task": class.collect::<Vec<_>>(),
    });
    run.finish(flags.common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    flags: &Flags,
    common: &CommonFlags,
    source: &Source,
) -> Result<Vec<Row>> {
    let experiment = source.experiment(common)?;
    let n = experiment.labels.len();
    let indices = indices(flags.indices.as_ref(), &INDICES, n)?;
    let kernel = experiment.kernel(run)?;
    let last = indices.last().copied().unwrap_or(1);
    let pairs = kernel.eigenpairs(run, last.max(TOP.min(n)))?;
    let tasks = experiment.tasks(&pairs, &indices)?;
    let energy = energy_concentration(&pairs, &tasks[0].target.signs(), TOP.min(n))?;

    let config = settings(flags, common);
    let linear = linearizations(run, &experiment, &kernel, &tasks, &config)?;
    let networks = experiment.networks(run, &tasks, &config)?;
    let row = |((task, network), linear): ((&Task, _), &History)| {
        let (_, network_train, network_test) = last_epoch(network)?;
        let (_, linear_train, linear_test) = last_epoch(linear)?;
        Ok(Row {
            index: task.index,
            seed: common.seed,
            eigenvalue: task.eigenvalue,
            positive_fraction: task.target.positive_fraction(),
            network: network_test.accuracy,
            linearization: linear_test.accuracy,
            network_train: network_train.accuracy,
            linearization_train: linear_train.accuracy,
            class_energy_50: energy.ratio,
        })
    };
    let networks = networks.iter().map(|fit| &fit.history);
    tasks.iter().zip(networks).zip(&linear).map(row).collect()
}

fn settings(flags: &Flags, common: &CommonFlags) -> SgdConfig {
    let sgd = flags.training.sgd(common);
    match flags.optimizer {
        Optimizer::Sgd => sgd,
        Optimizer::Adam => SgdConfig {
            learning_rate: flags.adam_rate,
            update: Update::Adam(AdamConfig::default()),
            ..sgd
        },
    }
}

/// In coefficient space where the rule allows it, else in weight space.
fn linearizations(
    run: &mut Run,
    experiment: &Experiment,
    kernel: &Kernel,
    tasks: &[Task],
    config: &SgdConfig,
) -> Result<Vec<History>> {
    if config.update == Update::HeavyBall {
        let labels: Vec<&[u8]> = tasks.iter().map(|task| task.target.labels()).collect();
        return experiment.linearize(run, kernel, &labels, config);
    }
    let cache = run.cache().clone();
    let model = Linearized::new(&experiment.network, experiment.theta0.clone());
    run.stage("linearizations", (tasks.len() * config.epochs) as u64, |stage| {
        let one = |task: &Task| {
            let labels = task.target.labels();
            let training = Training { model: &model, labels, config, keep: &[] };
            Ok(experiment.train(&cache, stage, &training)?.fit.history)
        };
        tasks.iter().map(one).collect()
    })
}

/// A number of a row.
type Value = fn(&Row) -> f64;

fn figure(flags: &Flags, rows: &[Row]) -> Result<Figure> {
    let common = &flags.common;
    let rule = if flags.optimizer == Optimizer::Adam { ", Adam" } else { "" };
    let class_task = common.data.class_task();
    let mut figure =
        Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
            .title(format!("{}{rule}", common.title()))
            .note(common.note(flags.seeds));
    let models: [(&str, Marker, Value); 2] = [
        ("network", Marker::Circle, |row| row.network),
        ("linearization", Marker::Square, |row| row.linearization),
    ];
    for (color, (name, marker, value)) in models.into_iter().enumerate() {
        let points = rows.iter().map(|row| (row.index as f64, value(row)));
        let (class, eigen): (Vec<_>, Vec<_>) = points.partition(|(index, _)| *index == 0.0);
        let series = Series::from_bands(name, &Bands::of_points(&eigen)?);
        figure = figure.series(series.color(color).marker(marker)).baseline(
            Baseline::horizontal(
                format!("{class_task}, {name}"),
                Bands::of_points(&class)?.summaries()[0].median,
            )
            .color(color),
        );
    }
    Ok(figure)
}
