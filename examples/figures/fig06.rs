//! Figure 6: how much of the task that a network is trained on lies in the top eigenfunctions of
//! its kernel, epoch by epoch: the class task, and the signs of one eigenfunction of the kernel at
//! initialisation.
//!
//! Writes `epochs.csv`, the picture `fig06` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::gram::Outputs;
use entk_cli::{
    Defaults, FigureFlags, FigureProgram, KernelChoice, Moment, OneSeed, OutputFlags, ensure_input,
    exit, parse_size,
    plot::{Axis, Figure, Series},
};
use serde::Serialize;
use serde_json::json;

/// Energy concentration of the task over the epochs of training on it (Figure 6).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// The eigenfunction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 500, value_parser = parse_size)]
    index: usize,

    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = parse_size)]
    top: usize,

    /// Which kernel of all classes
    #[command(flatten)]
    #[serde(flatten)]
    kernel: OutputFlags,
}

/// One epoch of one training.
#[derive(Serialize, Clone)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    epoch: usize,
    /// The unsquared ratio ||Phi y|| / ||y||, as in the paper, over the training images; of all
    /// classes for one-hot targets less 1/C and the kernel of --outputs.
    energy: f64,
    energy_squared: f64,
    train_accuracy: Option<f64>,
    test_accuracy: Option<f64>,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let mut chosen = None;
    let program = FigureProgram::start("fig06", &Defaults::FOLLOWED, |flags| {
        check(flags)?;
        chosen = Some(kernel(flags)?);
        Ok(())
    })?
    .with_classes();
    let rows = program.rows("epochs", one_seed)?;
    program.save_figure(&figure(&program.flags, &rows)?)?;
    program.finish(json!({ "kernel": chosen }))
}

/// The kernel in which the energy of the class task is measured.
fn kernel(flags: &FigureFlags<Own>) -> Result<KernelChoice> {
    flags.own.kernel.of_one(flags.common.network.classes.unwrap_or(1))
}

fn check(flags: &FigureFlags<Own>) -> Result<()> {
    let (top, train) = (flags.own.top, flags.common.train);
    flags.common.check_index(flags.own.index)?;
    ensure_input(top <= train, || {
        format!("--top {top}: there are {train} eigenfunctions of --train; lower --top")
    })?;
    flags.ensure_batch()
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let Own { index, top, kernel } = seed.flags.own;
    seed.along_training(index, |moment| {
        let Moment { experiment, task, epoch, params, history, .. } = *moment;
        let targets = task.targets()?.first(experiment.train);
        let outputs = if task.index == 0 { kernel.kernel() } else { Outputs::Trace };
        let energy = experiment.energy(seed.run, params, &targets, outputs, top)?;
        let record = epoch.checked_sub(1).and_then(|at| history.epochs.get(at));
        Ok(vec![Row {
            index: task.index,
            seed: seed.flags.common.seed,
            epoch,
            energy: energy.ratio,
            energy_squared: energy.squared,
            train_accuracy: record.and_then(|record| record.train).and_then(|m| m.accuracy),
            test_accuracy: record.and_then(|record| record.test).and_then(|m| m.accuracy),
        }])
    })
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<Figure> {
    let (common, Own { index, top, .. }) = (&flags.common, &flags.own);
    let energy = Axis::linear(format!("energy in the top {top}")).percent();
    let mut figure =
        Figure::new(Axis::linear("epoch"), energy).title(common.title()).note(flags.note());
    let eigenfunction = format!("eigenfunction {index}");
    let names = [(0, &common.class_task()), (*index, &eigenfunction)];
    for (color, (index, name)) in names.into_iter().enumerate() {
        let of_task = rows.iter().filter(|row| row.index == index);
        let points = of_task.map(|row| (row.epoch, row.energy));
        figure = figure.series(Series::of_runs(name, points)?.color(color));
    }
    Ok(figure)
}
