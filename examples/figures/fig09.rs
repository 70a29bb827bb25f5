//! Figure 9: test accuracy of linearizations taken after some epochs of training a network, on the
//! task that the network was trained on: an eigenfunction of the kernel at initialisation, and the
//! class task. The linearizations start from 0 and keep the initial batch-norm statistics.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk_examples::{
    Bands, BinaryTask, DataPool, Defaults, Experiment, FigureFlags, ModelName, Run, Size,
    last_epoch, parse_flags,
    plot::{Axis, Baseline, Figure, Series},
};
use serde::Serialize;

/// Accuracy of linearizations along the training of a network (Figure 9).
#[derive(Parser, Serialize)]
#[command(name = "fig09", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue; 400 of 60,000 in the paper
    #[arg(long, value_name = "J", default_value_t = 20)]
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

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(15),
        seeds: 3,
        ..Defaults::default()
    });
    let (index, common) = (flags.index, &flags.figure.common);
    common.check_index(index)?;
    let mut run = common.start("fig09")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "linearizations", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        let pairs = experiment.kernel(run)?.eigenpairs(run, index)?;
        let mut rows = Vec::new();
        for task in experiment.tasks(&pairs, &[index])? {
            rows.extend(one_task(run, figure, &experiment, &task)?);
        }
        Ok(rows)
    })?;
    run.save_figure("fig09", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

fn one_task(
    run: &mut Run,
    figure: &FigureFlags,
    experiment: &Experiment,
    task: &BinaryTask,
) -> Result<Vec<Row>> {
    let config = figure.sgd();
    let snapshots = experiment.snapshots(run, task, &config)?;
    let (_, _, network) = last_epoch(&snapshots.history)?;
    let mut rows = Vec::new();
    for (epoch, params) in &snapshots.params {
        let params = params.with_statistics_of(&experiment.theta0)?;
        let linear = experiment.linearize_at(run, &params, task.target.labels(), &config)?;
        let (_, train, test) = last_epoch(&linear)?;
        rows.push(Row {
            index: task.index,
            seed: config.seed,
            epoch: *epoch,
            test_accuracy: test.accuracy,
            train_accuracy: train.accuracy,
            train_loss: train.loss,
            network: network.accuracy,
        });
    }
    Ok(rows)
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<Figure> {
    let (common, task) = (&flags.figure.common, flags.figure.common.data.class_task());
    let mut figure = Figure::new(
        Axis::linear("epochs before linearization"),
        Axis::linear("test accuracy").percent(),
    )
    .title(common.title())
    .note(flags.figure.note());
    let eigenfunction = format!("eigenfunction {}", flags.index);
    for (color, (index, name)) in
        [(flags.index, eigenfunction.as_str()), (0, task)].into_iter().enumerate()
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
