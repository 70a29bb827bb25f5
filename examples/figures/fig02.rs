//! Figures 2, 11 and 12: test accuracy of a network and of its linearization on the tasks that the
//! eigenfunctions of the network's own kernel define, against the index of the eigenfunction.
//!
//! The Gram is over training and test images together; the labels of task j are the signs of its
//! eigenvector j. Both models learn them from the training images and are measured on the test
//! images; by SGD the linearizations train in coefficient space, which is exact and trains all
//! tasks at once.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk::{
    models::FrozenNorms,
    spectral::energy_concentration,
    train::{Fit, History},
};
use entk_examples::{
    Bands, DataPool, Defaults, Experiment, FigureFlags, INDICES, IndexList, ModelName,
    OptimizerName, Run, Size, indices, last_epoch, parse_flags,
    plot::{Axis, Baseline, Figure, Series},
};
use serde::Serialize;

/// Eigenfunctions whose share of the class task is recorded, as in Table 1.
const TOP: usize = 50;

/// What is compared; the last one with --frozen only.
const MODELS: [&str; 3] = ["network", "linearization", "network, frozen statistics"];

/// Accuracy of a network and its linearization on the eigenfunctions of its kernel (Figures 2, 11,
/// 12).
#[derive(Parser, Serialize)]
#[command(name = "fig02", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default:
    /// 1,2,5,10,20,50,100,200,500,1000, as far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,

    /// Trains resnet18 with frozen batch-norm statistics too, as its linearization has them
    #[arg(long)]
    frozen: bool,
}

/// Accuracies of one model on one task.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    model: &'static str,
    eigenvalue: Option<f64>,
    positive_fraction: f64,
    test_accuracy: f64,
    train_accuracy: f64,
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
    let common = &flags.figure.common;
    let has_norms = common.model == ModelName::ResNet18;
    ensure!(has_norms || !flags.frozen, "--frozen: {} has no batch norms", common.model);
    let mut run = common.start("fig02")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "tasks", |run, figure| {
        one_seed(run, &flags, figure, &source.experiment(&figure.common)?)
    })?;
    run.save_figure("fig02", &figure(&flags, &rows)?)?;
    let class = rows.iter().filter(|row| row.index == 0);
    let results = serde_json::json!({
        "origin": source.origin(),
        "images": common.train + common.test,
        "class_task": class.collect::<Vec<_>>(),
    });
    run.finish(common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    flags: &Flags,
    figure: &FigureFlags,
    experiment: &Experiment,
) -> Result<Vec<Row>> {
    let n = experiment.labels.len();
    let indices = indices(flags.indices.as_ref(), &INDICES, n)?;
    let kernel = experiment.kernel(run)?;
    let last = indices.last().copied().unwrap_or(1);
    let pairs = kernel.eigenpairs(run, last.max(TOP.min(n)))?;
    let tasks = experiment.tasks(&pairs, &indices)?;
    let energy = energy_concentration(&pairs, &tasks[0].target.signs(), TOP.min(n))?;

    let config = figure.sgd();
    let histories = |fits: Vec<Fit>| fits.into_iter().map(|fit| fit.history).collect();
    let mut trained: Vec<Vec<History>> = vec![
        histories(experiment.networks(run, &tasks, &config)?),
        experiment.linearize(run, &kernel, &tasks, &config)?,
    ];
    if flags.frozen {
        let frozen = FrozenNorms::new(&experiment.network);
        trained.push(histories(experiment.fit_all(run, MODELS[2], &frozen, &tasks, &config)?));
    }
    let mut rows = Vec::new();
    for (&model, histories) in MODELS.iter().zip(&trained) {
        for (task, history) in tasks.iter().zip(histories) {
            let (_, train, test) = last_epoch(history)?;
            rows.push(Row {
                index: task.index,
                seed: config.seed,
                model,
                eigenvalue: task.eigenvalue,
                positive_fraction: task.target.positive_fraction(),
                test_accuracy: test.accuracy,
                train_accuracy: train.accuracy,
                class_energy_50: energy.ratio,
            });
        }
    }
    Ok(rows)
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<Figure> {
    let (common, class_task) = (&flags.figure.common, flags.figure.common.data.class_task());
    let rule = if flags.figure.training.optimizer == OptimizerName::Adam { ", Adam" } else { "" };
    let mut figure =
        Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
            .title(format!("{}{rule}", common.title()))
            .note(flags.figure.note());
    for (color, name) in MODELS.into_iter().take(2 + usize::from(flags.frozen)).enumerate() {
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
