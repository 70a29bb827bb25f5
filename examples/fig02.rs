//! Figure 2: test accuracy of a network and of its linearization on the tasks that the eigenfunctions of the
//! network's own kernel define, against the index of the eigenfunction.
//!
//! The Gram is over training and test images together; the labels of task j are the signs of its eigenvector j.
//! Both models learn them from the training images and are measured on the test images.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use clap::Parser;
use entk::gram::{GramConfig, gram_observed};
use entk::linearize::Linearized;
use entk::models::Model;
use entk::spectral::{BinaryTarget, Eigenpairs, eigh, energy_concentration};
use entk::train::{SgdConfig, fit};
use entk_examples::plot::{Axis, Baseline, Figure, Line, Marker, Series};
use entk_examples::{
    CommonFlags, DataName, Defaults, Experiment, IndexList, ModelName, Run, Size, Stage,
    parse_flags,
};
use serde::Serialize;

/// Accuracy of a network and its linearization on the eigenfunctions of its kernel (Figure 2).
#[derive(Parser, Serialize)]
#[command(name = "fig02", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "LIST", default_value = "1,2,5,10,20,50,100,200,500,1000")]
    indices: IndexList,

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
        train: Size::new(2_000, 500),
        test: Size::new(1_000, 250),
        epochs: Size::new(30, 10),
    });
    let mut run = Run::start("fig02", flags.common.out.as_deref())?;
    let experiment = Experiment::load(&flags.common)?;
    let indices = indices(&flags, &experiment)?;
    let pairs = eigenpairs(&mut run, &experiment)?;
    let classes = BinaryTarget::from_labels(experiment.labels.clone())?;
    let energy = energy_concentration(&pairs, &classes.signs(), 50.min(pairs.len()))?;

    let rows = run.stage("training", 1 + indices.len() as u64, |stage| {
        let mut rows = vec![train(stage, &flags, &experiment, 0, None, &classes)?];
        for &index in &indices {
            let task = BinaryTarget::from_pair(&pairs, index - 1)?;
            let value = pairs.values()[index - 1];
            rows.push(train(stage, &flags, &experiment, index, Some(value), &task)?);
        }
        Ok(rows)
    })?;

    run.save_table("tasks", &rows)?;
    run.save_figure("fig02", &figure(&flags, &rows))?;
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

/// The indices asked for; those beyond the sample are refused unless they come from the default.
fn indices(flags: &Flags, experiment: &Experiment) -> Result<Vec<usize>> {
    let n = experiment.labels.len();
    if flags.common.quick {
        return Ok(flags.indices.as_slice().iter().copied().filter(|i| *i <= n).collect());
    }
    flags.indices.check_at_most(n, "eigenfunctions")?;
    Ok(flags.indices.as_slice().to_vec())
}

fn eigenpairs(run: &mut Run, experiment: &Experiment) -> Result<Eigenpairs> {
    let gram = run.stage("gram", 1, |stage| {
        let observe = |done: usize, total: usize| {
            stage.set_total(total as u64);
            stage.set_done(done as u64);
        };
        let (network, theta, images) =
            (&experiment.network, &experiment.theta0, &experiment.images);
        Ok(gram_observed(network, theta, images, &GramConfig::default(), &observe)?)
    })?;
    run.stage("eigenpairs", 1, |_| Ok(eigh(&gram)?))
}

/// Trains both models on one task from the same start, in the same order of batches.
fn train(
    stage: &Stage,
    flags: &Flags,
    experiment: &Experiment,
    index: usize,
    eigenvalue: Option<f64>,
    task: &BinaryTarget,
) -> Result<Row> {
    let (train, test) = experiment.examples(task.labels())?;
    let config = SgdConfig {
        learning_rate: flags.learning_rate,
        batch: flags.batch,
        epochs: flags.common.epochs,
        seed: flags.common.seed,
        eval_every: flags.common.epochs,
        ..SgdConfig::default()
    };
    let accuracies = |model: &dyn Model, name: &str| -> Result<[f64; 2]> {
        let fitted = fit(model, &experiment.theta0, &train, Some(&test), &config, |record| {
            stage.message(format!("task {index}, {name}, epoch {}", record.epoch));
            ControlFlow::Continue(())
        });
        let fitted = fitted.with_context(|| format!("eigenfunction {index}, {name}"))?;
        let last = fitted.history.last().context("no epoch was run")?;
        let metrics = last.train.zip(last.test).context("the last epoch was not measured")?;
        Ok([metrics.0.accuracy, metrics.1.accuracy])
    };
    let [network_train, network] = accuracies(&experiment.network, "network")?;
    let linear = Linearized::new(&experiment.network, experiment.theta0.clone());
    let [linearization_train, linearization] = accuracies(&linear, "linearization")?;
    stage.advance(1);
    Ok(Row {
        index,
        eigenvalue,
        positive_fraction: task.positive_fraction(),
        network,
        linearization,
        network_train,
        linearization_train,
    })
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
