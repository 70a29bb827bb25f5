//! Figure 2: test accuracy of a network and of its linearization on the tasks that the eigenfunctions of the
//! network's own kernel define, against the index of the eigenfunction.
//!
//! The Gram is over training and test images together; the labels of task j are the signs of its eigenvector j.
//! Both models learn them from the training images and are measured on the test images; the linearizations by SGD
//! in coefficient space, which is exact and trains all tasks at once.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use clap::Parser;
use entk::linearize::Jacobian;
use entk::spectral::{BinaryTarget, EigshConfig, Gram, eigsh, energy_concentration};
use entk::train::{DualSgd, History, SgdConfig, fit};
use entk_examples::plot::{Axis, Baseline, Figure, Line, Marker, Series};
use entk_examples::{
    CommonFlags, DataName, Defaults, Experiment, IndexList, ModelName, Run, Size, parse_flags,
};
use serde::Serialize;

/// Eigenfunctions by default.
const INDICES: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// Eigenfunctions whose share of the class task is recorded, as in Table 1.
const TOP: usize = 50;

/// Accuracy of a network and its linearization on the eigenfunctions of its kernel (Figure 2).
#[derive(Parser, Serialize)]
#[command(name = "fig02", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default: 1,2,5,10,20,50,100,200,500,1000, as
    /// far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,

    /// Learning rate at the first step, falling linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    learning_rate: f64,

    /// Examples in a minibatch
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch: usize,
}

/// Test accuracies on one task.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    eigenvalue: Option<f64>,
    positive_fraction: f64,
    network: f64,
    linearization: f64,
    network_train: f64,
    linearization_train: f64,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        data: DataName::FashionMnist,
        train: Size::new(3_000, 500).for_resnet18(1_500),
        test: Size::new(1_000, 250),
        epochs: Size::new(40, 10).for_resnet18(15),
    });
    let mut run = Run::start("fig02", flags.common.out.as_deref())?;
    let experiment = Experiment::load(&flags.common)?;
    let indices = indices(&flags, &experiment)?;
    let gram = experiment.gram(&mut run, &experiment.theta0, &experiment.images)?;
    let pairs = run.stage("eigenpairs", 1, |_| {
        let last = indices.iter().copied().max().unwrap_or(1).max(TOP.min(gram.n()));
        Ok(eigsh(&gram, last, &EigshConfig::default())?.pairs)
    })?;

    // The class task first, then one task an eigenfunction.
    let mut tasks = vec![BinaryTarget::from_labels(experiment.labels.clone())?];
    for index in &indices {
        tasks.push(BinaryTarget::from_pair(&pairs, index - 1)?);
    }
    let linear = linearizations(&mut run, &flags, &experiment, &gram, &tasks)?;
    let network = networks(&mut run, &flags, &experiment, &tasks)?;
    let rows: Vec<Row> = (0..tasks.len())
        .map(|at| {
            let index = if at == 0 { 0 } else { indices[at - 1] };
            Row {
                index,
                eigenvalue: (at > 0).then(|| pairs.values()[index - 1]),
                positive_fraction: tasks[at].positive_fraction(),
                network: network[at].1,
                linearization: linear[at].1,
                network_train: network[at].0,
                linearization_train: linear[at].0,
            }
        })
        .collect();

    run.save_table("tasks", &rows)?;
    run.save_figure("fig02", &figure(&flags, &rows))?;
    let energy = energy_concentration(&pairs, &tasks[0].signs(), TOP.min(pairs.len()))?;
    let results = serde_json::json!({
        "origin": experiment.origin,
        "images": pairs.dim(),
        "parameters": experiment.theta0.count(),
        "class_energy_50": energy.ratio,
        "class_accuracy": { "network": rows[0].network, "linearization": rows[0].linearization },
    });
    run.finish(flags.common.seed, &flags, &results)?;
    Ok(())
}

/// The indices asked for, or those of the default that the sample has.
fn indices(flags: &Flags, experiment: &Experiment) -> Result<Vec<usize>> {
    let n = experiment.labels.len();
    match &flags.indices {
        None => Ok(INDICES.into_iter().filter(|index| *index <= n).collect()),
        Some(list) => {
            list.check_at_most(n, "eigenfunctions")?;
            Ok(list.as_slice().to_vec())
        }
    }
}

fn sgd(flags: &Flags) -> SgdConfig {
    SgdConfig {
        learning_rate: flags.learning_rate,
        batch: flags.batch,
        epochs: flags.common.epochs,
        seed: flags.common.seed,
        eval_every: flags.common.epochs,
        ..SgdConfig::default()
    }
}

/// Accuracies (training, test) of the linearization on every task, all trained at once over the Gram.
fn linearizations(
    run: &mut Run,
    flags: &Flags,
    experiment: &Experiment,
    gram: &Gram,
    tasks: &[BinaryTarget],
) -> Result<Vec<(f64, f64)>> {
    run.stage("linearizations", flags.common.epochs as u64, |stage| {
        let (network, theta0) = (&experiment.network, &experiment.theta0);
        let f0 = Jacobian::new(network, theta0, &experiment.images)?.outputs()?;
        let labels: Vec<&[u8]> = tasks.iter().map(BinaryTarget::labels).collect();
        let dual = DualSgd::new(gram, experiment.train, &f0)?;
        let fits = dual.fit(&labels, &sgd(flags), |_| {
            stage.advance(1);
            ControlFlow::Continue(())
        })?;
        fits.iter().map(|fit| accuracies(&fit.history)).collect()
    })
}

/// The same of the network, trained on one task after the other, always from theta_0 and in the same order.
fn networks(
    run: &mut Run,
    flags: &Flags,
    experiment: &Experiment,
    tasks: &[BinaryTarget],
) -> Result<Vec<(f64, f64)>> {
    let epochs = flags.common.epochs;
    run.stage("networks", (tasks.len() * epochs) as u64, |stage| {
        let one = |(at, task): (usize, &BinaryTarget)| {
            let (train, test) = experiment.examples(task.labels())?;
            let (network, theta0) = (&experiment.network, &experiment.theta0);
            let fitted = fit(network, theta0, &train, Some(&test), &sgd(flags), |_| {
                stage.advance(1);
                ControlFlow::Continue(())
            });
            accuracies(&fitted.with_context(|| format!("task {at}"))?.history)
        };
        tasks.iter().enumerate().map(one).collect()
    })
}

/// Final (training, test) accuracy.
fn accuracies(history: &History) -> Result<(f64, f64)> {
    let last = history.last().context("no epoch was run")?;
    let (train, test) = last.train.zip(last.test).context("the last epoch was not measured")?;
    Ok((train.accuracy, test.accuracy))
}

fn figure(flags: &Flags, rows: &[Row]) -> Figure {
    let common = &flags.common;
    let curve = |value: fn(&Row) -> f64| -> Vec<(f64, f64)> {
        rows[1..].iter().map(|row| (row.index as f64, value(row))).collect()
    };
    let class_task = if common.data == DataName::Cifar10 { "CIFAR2" } else { "class task" };
    Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
        .title(format!("{} on {}", common.model.title(), common.data.title()))
        .series(Series::new("network", curve(|row| row.network)).color(0).marker(Marker::Circle))
        .series(
            Series::new("linearization", curve(|row| row.linearization))
                .color(1)
                .marker(Marker::Square),
        )
        .baseline(
            Baseline::horizontal(format!("{class_task}, network"), rows[0].network)
                .color(0)
                .line(Line::Dashed),
        )
        .baseline(
            Baseline::horizontal(format!("{class_task}, linearization"), rows[0].linearization)
                .color(1)
                .line(Line::Dashed),
        )
        .note(format!(
            "{} training and {} test images, {} epochs, seed {}.",
            common.train, common.test, common.epochs, common.seed
        ))
}
