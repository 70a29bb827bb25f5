//! Figure 8: loss and test accuracy over the epochs on the signs of one eigenfunction of the kernel
//! at initialisation, of the network, of its linearization at initialisation, and of its
//! linearization at the trained weights; with --classes on all classes. Both linearizations start
//! from 0, without the network's outputs, and keep the initial batch-norm statistics.
//!
//! Writes `epochs.csv`, the picture `fig08` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::train::{EpochRecord, History, Metrics};
use entk_cli::{
    Defaults, FigureFlags, FigureProgram, OneSeed, exit, parse_size,
    plot::{Axis, Figure, FigureGrid, Marker, Series},
};
use serde::Serialize;

/// The three models, in the order of the figure.
const MODELS: [&str; 3] =
    ["network", "linearization at initialisation", "linearization at trained weights"];

/// A network and its linearizations before and after training, on an eigenfunction (Figure 8).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// The eigenfunction, counted from 1, by falling eigenvalue; 400 of 60,000 in the paper. With
    /// --classes the classes are learnt in its place
    #[arg(long, value_name = "J", default_value_t = 20, value_parser = parse_size, conflicts_with = "classes")]
    index: usize,
}

/// One epoch of one model.
#[derive(Serialize, Clone)]
struct Row {
    model: &'static str,
    seed: u64,
    epoch: usize,
    train_loss: Option<f64>,
    train_accuracy: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let check = |flags: &FigureFlags<Own>| {
        if flags.common.network.classes.is_none() {
            flags.common.check_index(flags.own.index)?;
        }
        flags.ensure_batch()
    };
    FigureProgram::start("fig08", &Defaults::FOLLOWED, check)?
        .with_classes()
        .draw("epochs", one_seed, figure)
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let (run, config, whole) = (seed.run, seed.flags.sgd(), seed.experiment()?);
    let task = match whole.of_classes {
        Some(_) => whole.class_task()?,
        None => whole.eigen_tasks(run, &[seed.flags.own.index])?.remove(1),
    };
    let (experiment, labels) = (whole.of_task(&task), &*task.labels);
    let network = whole.networks(run, std::slice::from_ref(&task), &config)?.remove(0);
    let before = experiment.linearize_at(run, &experiment.theta0, labels, &config)?;
    let params = network.params.with_statistics_of(&experiment.theta0)?;
    let after = experiment.linearize_at(run, &params, labels, &config)?;
    let models = MODELS.into_iter().zip([network.history, before, after]);
    Ok(models.flat_map(|(model, history)| epochs(model, config.seed, &history)).collect())
}

fn epochs(model: &'static str, seed: u64, history: &History) -> Vec<Row> {
    let row = |record: &EpochRecord| {
        let of = |m: Option<Metrics>| (m.map(|m| m.loss), m.and_then(|m| m.accuracy));
        let (train_loss, train_accuracy) = of(record.train);
        let (test_loss, test_accuracy) = of(record.test);
        let epoch = record.epoch;
        Row { model, seed, epoch, train_loss, train_accuracy, test_loss, test_accuracy }
    };
    history.epochs.iter().map(row).collect()
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.common;
    let panel = |axis: Axis, value: fn(&Row) -> Option<f64>| -> Result<Figure> {
        let mut figure = Figure::new(Axis::linear("epoch"), axis);
        for (color, model) in MODELS.into_iter().enumerate() {
            let of_model = rows.iter().filter(|row| row.model == model);
            let points = of_model.filter_map(|row| Some((row.epoch, value(row)?)));
            let series = Series::of_runs(model, points)?;
            figure = figure.series(series.color(color).marker(Marker::None));
        }
        Ok(figure)
    };
    let task = match common.network.classes {
        Some(_) => common.class_task(),
        None => format!("eigenfunction {}", flags.own.index),
    };
    let loss = panel(Axis::log("training loss"), |row| row.train_loss)?;
    let accuracy = panel(Axis::linear("test accuracy").percent(), |row| row.test_accuracy)?;
    Ok(FigureGrid::row(vec![loss, accuracy])
        .title(format!("{}, {task}", common.title()))
        .note(flags.note()))
}
