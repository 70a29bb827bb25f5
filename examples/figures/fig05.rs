//! Figure 5: test accuracy on the class task and distance of the parameters from their start, of a
//! network and of its linearization, against the number of training images.
//!
//! Of each seed the smaller samples are parts of the larger ones; every model trains for the same
//! number of epochs.
//!
//! Writes `sizes.csv`, the picture `fig05` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk_cli::{
    Defaults, Experiment, FigureFlags, FigureProgram, IndexList, ModelName, OneSeed, Size, exit,
    last_epoch,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;

/// Accuracy and distance of a network and its linearization against the training-set size (Figure
/// 5).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// Numbers of training images [default: --batch, doubled as long as it fits into --train]
    #[arg(long, value_name = "LIST")]
    sizes: Option<IndexList>,
}

/// One model, size and seed.
#[derive(Serialize, Clone)]
struct Row {
    model: &'static str,
    train: usize,
    seed: u64,
    test_accuracy: f64,
    train_accuracy: f64,
    train_loss: f64,
    distance: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::LeNet5,
        train: Size::new(4_096, 1_024).for_resnet18(1_024),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(20),
        seeds: 5,
        ..Defaults::default()
    };
    FigureProgram::start("fig05", &defaults, |flags| sizes(flags).map(drop))?
        .with_classes()
        .draw("sizes", one_seed, figure)
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let sizes = sizes(&seed.flags)?.into_iter();
    let rows = sizes.map(|train| one_size(seed, &seed.experiment_of(train)?));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

fn sizes(flags: &FigureFlags<Own>) -> Result<Vec<usize>> {
    let (batch, train) = (flags.training.batch, flags.common.train);
    match &flags.own.sizes {
        Some(list) => {
            list.check_at_most(train, "training images")?;
            flags.training.ensure_batch(list.as_slice().first().copied().unwrap_or(train))?;
            Ok(list.as_slice().to_vec())
        }
        None => {
            flags.ensure_batch()?;
            Ok((0..).map(|power| batch << power).take_while(|size| *size <= train).collect())
        }
    }
}

fn one_size(seed: &OneSeed<'_, Own>, experiment: &Experiment) -> Result<[Row; 2]> {
    let (tasks, config, run) = ([experiment.class_task()?], seed.flags.sgd(), seed.run);
    let linear = match experiment.of_classes {
        None => experiment.linearize(run, &experiment.kernel(run)?, &tasks, &config)?,
        Some(_) => experiment.linearize_in_weights(run, &tasks, &config)?,
    };
    let fits = experiment.networks(run, &tasks, &config)?;
    let row = |model, history| -> Result<Row> {
        let (end, train, test) = last_epoch(history)?;
        Ok(Row {
            model,
            train: experiment.train,
            seed: config.seed,
            test_accuracy: test.accuracy,
            train_accuracy: train.accuracy,
            train_loss: train.loss,
            distance: end.distance.l2,
        })
    };
    Ok([row("network", &fits[0].history)?, row("linearization", &linear[0])?])
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.common;
    let panel = |axis: Axis, value: fn(&Row) -> f64| -> Result<Figure> {
        let mut figure = Figure::new(Axis::log("training images"), axis);
        for (color, model) in ["network", "linearization"].into_iter().enumerate() {
            let of_model = rows.iter().filter(|row| row.model == model);
            let points = of_model.map(|row| (row.train, value(row)));
            figure = figure.series(Series::of_runs(model, points)?.color(color));
        }
        Ok(figure)
    };
    let accuracy = panel(Axis::linear("test accuracy").percent(), |row| row.test_accuracy)?;
    let distance = panel(Axis::linear("l2 distance"), |row| row.distance)?;
    let task = common.class_task();
    let title = format!("{}, {task}", common.title());
    let seeds = flags.seeds_note();
    let note = format!("{} test images, {} epochs, {seeds}.", common.test, common.epochs);
    Ok(FigureGrid::row(vec![accuracy, distance]).title(title).note(note))
}
