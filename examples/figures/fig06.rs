//! Figure 6: how much of the task that a network is trained on lies in the top eigenfunctions of
//! its kernel, epoch by epoch: the class task, and the signs of one eigenfunction of the kernel at
//! initialisation.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk_examples::{
    Bands, BinaryTask, DataPool, Defaults, Experiment, FigureFlags, ModelName, Run, Size,
    parse_flags,
    plot::{Axis, Figure, Series},
};
use serde::Serialize;

/// Energy concentration of the task over the epochs of training on it (Figure 6).
#[derive(Parser, Serialize)]
#[command(name = "fig06", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 500)]
    index: usize,

    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50)]
    top: usize,
}

/// One epoch of one training.
#[derive(Serialize, Clone)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    epoch: usize,
    /// The unsquared ratio ||Phi y|| / ||y||, as in the paper, over the training images.
    energy: f64,
    energy_squared: f64,
    train_accuracy: Option<f64>,
    test_accuracy: Option<f64>,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(15),
        seeds: 3,
        ..Defaults::default()
    });
    let (index, top, common) = (flags.index, flags.top, &flags.figure.common);
    common.check_index(index)?;
    ensure!((1..=common.train).contains(&top), "--top {top} for --train {}", common.train);
    let mut run = common.start("fig06")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "epochs", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        let pairs = experiment.kernel(run)?.eigenpairs(run, index)?;
        let mut rows = Vec::new();
        for task in experiment.tasks(&pairs, &[index])? {
            rows.extend(one_task(run, figure, top, &experiment, &task)?);
        }
        Ok(rows)
    })?;
    run.save_figure("fig06", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

fn one_task(
    run: &mut Run,
    figure: &FigureFlags,
    top: usize,
    experiment: &Experiment,
    task: &BinaryTask,
) -> Result<Vec<Row>> {
    let snapshots = experiment.snapshots(run, task, &figure.sgd())?;
    let signs = task.target.signs();
    let mut rows = Vec::new();
    for (epoch, params) in &snapshots.params {
        let energy = experiment.energy(run, params, &signs[..experiment.train], top)?;
        let record = epoch.checked_sub(1).and_then(|at| snapshots.history.epochs.get(at));
        rows.push(Row {
            index: task.index,
            seed: figure.common.seed,
            epoch: *epoch,
            energy: energy.ratio,
            energy_squared: energy.squared,
            train_accuracy: record.and_then(|record| record.train).map(|m| m.accuracy),
            test_accuracy: record.and_then(|record| record.test).map(|m| m.accuracy),
        });
    }
    Ok(rows)
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<Figure> {
    let common = &flags.figure.common;
    let energy = Axis::linear(format!("energy in the top {}", flags.top)).percent();
    let mut figure =
        Figure::new(Axis::linear("epoch"), energy).title(common.title()).note(flags.figure.note());
    let names = [(0, common.data.class_task().to_owned()), (flags.index, eigen_name(flags.index))];
    for (color, (index, name)) in names.into_iter().enumerate() {
        let of_task = rows.iter().filter(|row| row.index == index);
        let points: Vec<_> = of_task.map(|row| (row.epoch as f64, row.energy)).collect();
        figure = figure.series(Series::from_bands(name, &Bands::of_points(&points)?).color(color));
    }
    Ok(figure)
}

fn eigen_name(index: usize) -> String {
    format!("eigenfunction {index}")
}
