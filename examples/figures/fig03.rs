//! Figures 3 (ResNet18), 13 (MLP) and 14 (LeNet5): how long a network trains on an eigenfunction of
//! its kernel, and how far its parameters move, against the index of the eigenfunction.
//!
//! Writes `tasks.csv`, the picture `fig03` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk_cli::{
    Bands, Defaults, FigureFlags, FigureProgram, IndexFlags, ModelName, OneSeed, Size, exit,
    last_epoch, parse_positive,
    plot::{Axis, Baseline, Figure, FigureGrid, Series},
};
use serde::Serialize;
use serde_json::json;

/// Training time and distance of a network on the eigenfunctions of its kernel (Figures 3, 13, 14).
#[derive(Args, Clone, Serialize)]
struct Own {
    #[command(flatten)]
    #[serde(flatten)]
    shown: IndexFlags,

    /// Loss over all training images that ends the training time
    #[arg(long, value_name = "LOSS", default_value_t = 0.01, value_parser = parse_positive)]
    threshold: f64,
}

/// One task and seed.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    /// Epochs until the loss was at most the threshold; none if it never was.
    convergence_epoch: Option<usize>,
    distance: f64,
    cosine_distance: Option<f64>,
    train_loss: f64,
    test_accuracy: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::Mlp,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 100).for_resnet18(15),
        ..Defaults::default()
    };
    let program = FigureProgram::start("fig03", &defaults, check)?.with_classes();
    let rows = program.rows("tasks", one_seed)?;
    program.save_figure(&figure(&program.flags, &rows)?)?;
    program.finish(json!({ "not_converged": not_converged(&rows), "tasks": rows.len() }))
}

fn check(flags: &FigureFlags<Own>) -> Result<()> {
    flags.own.shown.up_to(flags.common.train + flags.common.test)?;
    flags.ensure_batch()
}

/// Trainings whose loss never was at most the threshold.
fn not_converged(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.convergence_epoch.is_none()).count()
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let OneSeed { flags, run, .. } = seed;
    let experiment = seed.experiment()?;
    let indices = flags.own.shown.up_to(experiment.labels.len())?;
    let tasks = experiment.eigen_tasks(run, &indices)?;
    let fits = experiment.networks(run, &tasks, &flags.sgd())?;
    let rows = tasks.iter().zip(&fits).map(|(task, fit)| {
        let (end, train, test) = last_epoch(&fit.history)?;
        Ok(Row {
            index: task.index,
            seed: flags.common.seed,
            convergence_epoch: fit.history.convergence_epoch(flags.own.threshold),
            distance: end.distance.l2,
            cosine_distance: end.distance.cosine,
            train_loss: train.loss,
            test_accuracy: test.accuracy,
        })
    });
    rows.collect()
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let (common, limit) = (&flags.common, flags.common.epochs);
    let epochs = |row: &Row| Some(row.convergence_epoch.unwrap_or(limit) as f64);
    let label = format!("epochs to a loss of {}", flags.own.threshold);
    let panels = vec![
        panel(flags, rows, Axis::linear(label), epochs)?,
        panel(flags, rows, Axis::linear("l2 distance"), |row| Some(row.distance))?,
        panel(flags, rows, Axis::linear("cosine distance"), |row| row.cosine_distance)?,
    ];
    let never = format!(
        "{} of {} trainings did not reach the loss and are drawn at {limit}.",
        not_converged(rows),
        rows.len()
    );
    let note = format!("{} {never}", flags.note());
    Ok(FigureGrid::row(panels).title(common.title()).note(note))
}

/// One measure against the index, and its value on the class task as a dashed line.
fn panel(
    flags: &FigureFlags<Own>,
    rows: &[Row],
    axis: Axis,
    value: impl Fn(&Row) -> Option<f64>,
) -> Result<Figure> {
    let points = rows.iter().filter_map(|row| Some((row.index, value(row)?)));
    let (eigen, class) = Bands::of_tasks(points)?;
    Ok(Figure::new(Axis::log("eigenfunction index"), axis)
        .series(Series::from_bands("eigenfunctions", &eigen))
        .baseline(Baseline::horizontal(flags.common.class_task(), class)))
}
