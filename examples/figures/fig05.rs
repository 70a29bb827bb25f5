//! Figure 5: test accuracy on the class task and distance of the parameters from their start, of a
//! network and of its linearization, against the number of training images.
//!
//! Of each seed the smaller samples are parts of the larger ones; every model trains for the same
//! number of epochs.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk::train::{EpochRecord, Metrics};
use entk_examples::{
    Bands, CommonFlags, DataPool, Defaults, Experiment, FigureFlags, IndexList, ModelName, Run,
    Size, last_epoch, parse_flags,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;

/// Accuracy and distance of a network and its linearization against the training-set size (Figure
/// 5).
#[derive(Parser, Serialize)]
#[command(name = "fig05", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

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

impl Row {
    fn new(
        model: &'static str,
        train_images: usize,
        seed: u64,
        (end, train, test): (&EpochRecord, Metrics, Metrics),
    ) -> Self {
        Self {
            model,
            train: train_images,
            seed,
            test_accuracy: test.accuracy,
            train_accuracy: train.accuracy,
            train_loss: train.loss,
            distance: end.distance.l2,
        }
    }
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(4_096, 1_024).for_resnet18(1_024),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(20),
        seeds: 5,
        ..Defaults::default()
    });
    let common = &flags.figure.common;
    let mut run = common.start("fig05")?;
    let source = DataPool::load(common)?;
    let sizes = sizes(&flags)?;
    let rows = flags.figure.rows(&mut run, "sizes", |run, figure| {
        let mut rows = Vec::new();
        for &train in &sizes {
            let experiment = source.experiment(&CommonFlags { train, ..figure.common.clone() })?;
            rows.extend(one_size(run, figure, &experiment)?);
        }
        Ok(rows)
    })?;
    run.save_figure("fig05", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

fn sizes(flags: &Flags) -> Result<Vec<usize>> {
    let (batch, train) = (flags.figure.training.batch, flags.figure.common.train);
    match &flags.sizes {
        Some(list) => {
            list.check_at_most(train, "training images")?;
            Ok(list.as_slice().to_vec())
        }
        None => {
            ensure!((1..=train).contains(&batch), "--batch {batch} for --train {train}");
            Ok((0..).map(|power| batch << power).take_while(|size| *size <= train).collect())
        }
    }
}

fn one_size(run: &mut Run, figure: &FigureFlags, experiment: &Experiment) -> Result<[Row; 2]> {
    let (tasks, config) = ([experiment.class_task()?], figure.sgd());
    let kernel = experiment.kernel(run)?;
    let linear = experiment.linearize(run, &kernel, &tasks, &config)?;
    let fits = experiment.networks(run, &tasks, &config)?;
    let row = |model, end| Row::new(model, experiment.train, config.seed, end);
    Ok([
        row("network", last_epoch(&fits[0].history)?),
        row("linearization", last_epoch(&linear[0])?),
    ])
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.figure.common;
    let panel = |axis: Axis, value: fn(&Row) -> f64| -> Result<Figure> {
        let mut figure = Figure::new(Axis::log("training images"), axis);
        for (color, model) in ["network", "linearization"].into_iter().enumerate() {
            let of_model = rows.iter().filter(|row| row.model == model);
            let points: Vec<_> = of_model.map(|row| (row.train as f64, value(row))).collect();
            let series = Series::from_bands(model, &Bands::of_points(&points)?);
            figure = figure.series(series.color(color));
        }
        Ok(figure)
    };
    let accuracy = panel(Axis::linear("test accuracy").percent(), |row| row.test_accuracy)?;
    let distance = panel(Axis::linear("l2 distance"), |row| row.distance)?;
    let task = common.data.class_task();
    let title = format!("{}, {task}", common.title());
    let seeds = flags.figure.seeds_note();
    let note = format!("{} test images, {} epochs, {seeds}.", common.test, common.epochs);
    Ok(FigureGrid::row(vec![accuracy, distance]).title(title).note(note))
}
