//! Figure 6: how much of the task that a network is trained on lies in the top eigenfunctions of its kernel, epoch
//! by epoch: the class task, and the signs of one eigenfunction of the kernel at initialisation.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk_examples::plot::{Axis, Figure, Series};
use entk_examples::{
    Bands, CommonFlags, Defaults, Experiment, ModelName, Run, Size, Source, Task, Training,
    TrainingFlags, parse_flags, snapshot_epochs,
};
use serde::Serialize;

/// Energy concentration of the task over the epochs of training on it (Figure 6).
#[derive(Parser, Serialize)]
#[command(name = "fig06", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 500)]
    index: usize,

    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50)]
    top: usize,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
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
        ..Defaults::default()
    });
    let (index, top, common) = (flags.index, flags.top, &flags.common);
    common.check_index(index)?;
    ensure!((1..=common.train).contains(&top), "--top {top} for --train {}", common.train);
    ensure!(flags.seeds >= 1, "--seeds {}: at least one seed is needed", flags.seeds);
    let mut run = common.start("fig06")?;
    let source = Source::load(common)?;
    let mut rows = Vec::new();
    for common in common.for_seeds(flags.seeds) {
        let experiment = source.experiment(&common)?;
        let pairs = experiment.kernel(&mut run)?.eigenpairs(&mut run, index)?;
        for task in experiment.tasks(&pairs, &[index])? {
            rows.extend(one_task(&mut run, &flags, &common, &experiment, &task)?);
            run.save_table("epochs", &rows)?;
        }
    }
    run.save_figure("fig06", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

fn one_task(
    run: &mut Run,
    flags: &Flags,
    common: &CommonFlags,
    experiment: &Experiment,
    task: &Task,
) -> Result<Vec<Row>> {
    let epochs = snapshot_epochs(common.epochs);
    let (labels, config) = (task.target.labels(), flags.training.sgd(common));
    let training = Training { model: &experiment.network, labels, config: &config, keep: &epochs };
    let cache = run.cache().clone();
    let trained = run.stage("networks", config.epochs as u64, |stage| {
        experiment.train(&cache, stage, &training)
    })?;
    let signs = task.target.signs();
    let mut rows = Vec::new();
    for (&epoch, theta) in epochs.iter().zip(&trained.kept) {
        let energy = experiment.energy(run, theta, &signs[..experiment.train], flags.top)?;
        let record = epoch.checked_sub(1).and_then(|at| trained.fit.history.epochs.get(at));
        rows.push(Row {
            index: task.index,
            seed: common.seed,
            epoch,
            energy: energy.ratio,
            energy_squared: energy.squared,
            train_accuracy: record.and_then(|record| record.train).map(|m| m.accuracy),
            test_accuracy: record.and_then(|record| record.test).map(|m| m.accuracy),
        });
    }
    Ok(rows)
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<Figure> {
    let common = &flags.common;
    let energy = Axis::linear(format!("energy in the top {}", flags.top)).percent();
    let mut figure = Figure::new(Axis::linear("epoch"), energy)
        .title(common.title())
        .note(common.note(flags.seeds));
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
