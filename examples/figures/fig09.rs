//! Figure 9: test accuracy of linearizations taken after some epochs of training a network, on the
//! task that the network was trained on: an eigenfunction of the kernel at initialisation, and the
//! class task. The linearizations start from 0 and keep the initial batch-norm statistics.
//!
//! Writes `linearizations.csv`, the picture `fig09` (SVG, PNG and the numbers drawn) and
//! `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk_cli::{
    Bands, Defaults, FigureFlags, FigureProgram, Moment, OneSeed, exit, last_epoch, parse_size,
    plot::{Axis, Baseline, Figure, Series},
};
use serde::Serialize;

/// Accuracy of linearizations along the training of a network (Figure 9).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// The eigenfunction, counted from 1, by falling eigenvalue; 400 of 60,000 in the paper
    #[arg(long, value_name = "J", default_value_t = 20, value_parser = parse_size)]
    index: usize,
}

/// One linearization.
#[derive(Serialize, Clone)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    /// Epochs of training the network before it was linearized.
    epoch: usize,
    test_accuracy: f64,
    train_accuracy: f64,
    train_loss: f64,
    /// Test accuracy of the network at the end of its training.
    network: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let check = |flags: &FigureFlags<Own>| {
        flags.common.check_index(flags.own.index)?;
        flags.ensure_batch()
    };
    FigureProgram::start("fig09", &Defaults::FOLLOWED, check)?.draw(
        "linearizations",
        one_seed,
        figure,
    )
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    seed.along_training(seed.flags.own.index, |moment| {
        let Moment { experiment, config, task, epoch, history, .. } = *moment;
        let params = moment.params.with_statistics_of(&experiment.theta0)?;
        let labels = &task.labels;
        let linear = experiment.linearize_at(seed.run, &params, labels, config)?;
        let (_, train, test) = last_epoch(&linear)?;
        let (_, _, network) = last_epoch(history)?;
        Ok(vec![Row {
            index: task.index,
            seed: config.seed,
            epoch,
            test_accuracy: test.accuracy,
            train_accuracy: train.accuracy,
            train_loss: train.loss,
            network: network.accuracy,
        }])
    })
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<Figure> {
    let (common, task) = (&flags.common, flags.common.data.class_task());
    let mut figure = Figure::new(
        Axis::linear("epochs before linearization"),
        Axis::linear("test accuracy").percent(),
    )
    .title(common.title())
    .note(flags.note());
    let eigenfunction = format!("eigenfunction {}", flags.own.index);
    for (color, (index, name)) in
        [(flags.own.index, eigenfunction.as_str()), (0, task)].into_iter().enumerate()
    {
        let curve = |value: fn(&Row) -> f64| {
            let of_task = rows.iter().filter(|row| row.index == index);
            let points: Vec<_> = of_task.map(|row| (row.epoch as f64, value(row))).collect();
            Bands::of_points(&points)
        };
        let network = curve(|row| row.network)?.summaries()[0].median;
        figure = figure
            .series(Series::from_bands(name, &curve(|row| row.test_accuracy)?).color(color))
            .baseline(Baseline::horizontal(format!("{name}, network"), network).color(color));
    }
    Ok(figure)
}
