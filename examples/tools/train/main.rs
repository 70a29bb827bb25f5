//! One task, one training run: the network, or its linearization in weight or in coefficient space,
//! with curves of accuracy, loss and distance over the epochs.
//!
//! Runs in weight space keep a checkpoint in the folder of results: the same command, given again
//! after an interruption, goes on where it was and ends with the same numbers.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use entk::{
    linearize::Linearized,
    models::Model,
    spectral::BinaryTarget,
    train::{EpochRecord, Optimizer, SgdConfig, Trainer},
};
use entk_examples::{
    CommonFlags, DataPool, Defaults, Directions, Experiment, InitialKernel, ModelName, Run, Size,
    Stage, TrainingFlags, parse_flags,
    plot::{Axis, Figure, Series},
};
use serde::Serialize;

/// The folder, within that of the results, from which an interrupted run goes on.
const CHECKPOINT: &str = "checkpoint";

/// What the labels are.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum TaskName {
    /// The first five classes against the others
    Cifar2,
    /// The signs of an eigenfunction of the network's kernel at initialisation
    Eigenfunction,
    /// The side of synthetic data that a neural anisotropy direction of the network, with GELU,
    /// separates
    Nad,
}

/// Trains a network or its linearization on one task.
#[derive(Parser, Serialize)]
#[command(name = "train", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// What to learn
    #[arg(long, value_enum, default_value = "cifar2")]
    task: TaskName,

    /// The eigenfunction or direction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 1)]
    index: usize,

    /// Train the linearization at initialisation instead of the network
    #[arg(long)]
    linearize: bool,

    /// Train the linearization over its Gram, in coefficient space: the same numbers, sooner
    #[arg(long)]
    dual: bool,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,

    /// Loss over all training images at which to stop
    #[arg(long, value_name = "LOSS")]
    stop_at_loss: Option<f64>,
}

/// One epoch, as a line of the table.
#[derive(Serialize)]
struct Row {
    epoch: usize,
    learning_rate: f64,
    train_loss: Option<f64>,
    train_accuracy: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
    minibatch_loss: f64,
    distance: f64,
    cosine_distance: Option<f64>,
}

impl From<&EpochRecord> for Row {
    fn from(record: &EpochRecord) -> Self {
        Self {
            epoch: record.epoch,
            learning_rate: record.learning_rate,
            train_loss: record.train.map(|m| m.loss),
            train_accuracy: record.train.and_then(|m| m.accuracy),
            test_loss: record.test.map(|m| m.loss),
            test_accuracy: record.test.and_then(|m| m.accuracy),
            minibatch_loss: record.minibatch_loss,
            distance: record.distance.l2,
            cosine_distance: record.distance.cosine,
        }
    }
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 500),
        test: Size::new(1_000, 250),
        epochs: Size::new(40, 10),
        ..Defaults::default()
    });
    let run = flags.common.start("train")?;
    let (experiment, origin) = experiment(&run, &flags)?;
    let needs_gram = flags.dual || flags.task == TaskName::Eigenfunction;
    let kernel = needs_gram.then(|| experiment.kernel(&run)).transpose()?;
    let labels = labels(&run, &flags, &experiment, kernel.as_ref())?;
    let records = match kernel.filter(|_| flags.dual) {
        Some(kernel) => over_the_gram(&run, &flags, &experiment, &kernel, &labels)?,
        None => in_weight_space(&run, &flags, &experiment, &labels)?,
    };

    let rows: Vec<Row> = records.iter().map(Row::from).collect();
    run.save_table("epochs", &rows)?;
    save_figures(&run, &flags, &rows)?;
    let results = serde_json::json!({
        "origin": origin,
        "parameters": experiment.theta0.count(),
        "end": rows.last(),
    });
    let checkpoint = run.folder().file(CHECKPOINT);
    run.finish(flags.common.seed, &flags, &results)?;
    // The results hold all of it; a checkpoint left behind would refuse a run with other settings.
    if checkpoint.exists() {
        std::fs::remove_dir_all(&checkpoint)
            .with_context(|| format!("cannot remove {}", checkpoint.display()))?;
    }
    Ok(())
}

/// The images and the network, and where the images come from.
fn experiment(run: &Run, flags: &Flags) -> Result<(Experiment, String)> {
    if flags.task != TaskName::Nad {
        let source = DataPool::load(run, &flags.common)?;
        return Ok((source.experiment(&flags.common)?, source.origin().to_owned()));
    }
    let directions = Directions::find(run, &flags.common)?;
    let (index, d) = (flags.index, directions.pairs.len());
    ensure!(
        (1..=d).contains(&index),
        "--index {index}: directions are counted from 1 to the number of pixels, {d}"
    );
    let origin = format!("synthetic, separated by direction {index}");
    Ok((directions.experiment(&flags.common, index)?, origin))
}

fn settings(flags: &Flags) -> SgdConfig {
    SgdConfig { stop_at_loss: flags.stop_at_loss, ..flags.training.sgd(&flags.common) }
}

fn labels(
    run: &Run,
    flags: &Flags,
    experiment: &Experiment,
    kernel: Option<&InitialKernel>,
) -> Result<Vec<u8>> {
    if flags.task != TaskName::Eigenfunction {
        return Ok(experiment.labels.clone());
    }
    let (kernel, index) = (kernel.context("an eigenfunction needs the kernel")?, flags.index);
    let n = experiment.labels.len();
    ensure!(
        (1..=n).contains(&index),
        "--index {index}: eigenfunctions are counted from 1 to the number of images, {n}"
    );
    let pairs = kernel.eigenpairs(run, index)?;
    Ok(BinaryTarget::from_pair(&pairs, index - 1)?.labels().to_vec())
}

fn over_the_gram(
    run: &Run,
    flags: &Flags,
    experiment: &Experiment,
    kernel: &InitialKernel,
    labels: &[u8],
) -> Result<Vec<EpochRecord>> {
    let settings = settings(flags);
    ensure!(
        settings.optimizer == Optimizer::HeavyBall,
        "--dual: steps of Adam are no combinations of gradients; use --linearize"
    );
    let target = BinaryTarget::from_labels(labels.to_vec())?;
    let task = entk_examples::BinaryTask { index: 0, eigenvalue: None, target };
    let histories = experiment.linearize(run, kernel, &[task], &settings)?;
    Ok(histories.into_iter().flat_map(|history| history.epochs).collect())
}

fn in_weight_space(
    run: &Run,
    flags: &Flags,
    experiment: &Experiment,
    labels: &[u8],
) -> Result<Vec<EpochRecord>> {
    let (train, test) = experiment.examples(labels)?;
    let checkpoint = run.folder().file(CHECKPOINT);
    let linear = Linearized::new(&experiment.network, experiment.theta0.clone());
    let model: &dyn Model = if flags.linearize { &linear } else { &experiment.network };
    run.stage("training", flags.common.epochs as u64, |stage| {
        let settings = settings(flags);
        let mut trainer = Trainer::new(model, &experiment.theta0, &train, Some(&test), &settings)?;
        trainer.resume(&checkpoint)?;
        stage.set_done(trainer.epoch() as u64);
        while let Some(record) = trainer.step_epoch()? {
            report(stage, record);
            trainer.save(&checkpoint)?;
        }
        run.begin_results()?;
        trainer.params().save(checkpoint.with_file_name("weights.safetensors"))?;
        Ok(trainer.into_fit().history.epochs)
    })
}

fn report(stage: &Stage, record: &EpochRecord) {
    let accuracies = record.train.zip(record.test).and_then(|(train, test)| {
        let (of_train, of_test) = train.accuracy.zip(test.accuracy)?;
        Some(format!(", accuracy {of_train:.3} / {of_test:.3}, loss {:.4}", train.loss))
    });
    let accuracies = accuracies.unwrap_or_default();
    stage.message(format!("epoch {}{accuracies}", record.epoch));
    stage.set_done(record.epoch as u64);
}

fn save_figures(run: &Run, flags: &Flags, rows: &[Row]) -> Result<()> {
    let pair = |train: Curve, test: Curve| [("training", train), ("test", test)];
    let accuracies = pair(|row| row.train_accuracy, |row| row.test_accuracy);
    let losses = pair(|row| row.train_loss, |row| row.test_loss);
    let accuracy = figure(flags, Axis::linear("accuracy").percent(), rows, &accuracies);
    run.save_figure("accuracy", &accuracy)?;
    run.save_figure("loss", &figure(flags, Axis::linear("cross-entropy"), rows, &losses))
}

/// A value of an epoch, where it was measured.
type Curve = fn(&Row) -> Option<f64>;

fn figure(flags: &Flags, axis: Axis, rows: &[Row], curves: &[(&str, Curve)]) -> Figure {
    let what = if flags.linearize || flags.dual { "linearized " } else { "" };
    let common = &flags.common;
    let title = format!("{what}{}", common.title());
    let mut figure = Figure::new(Axis::linear("epoch"), axis).title(title);
    for (color, (name, value)) in curves.iter().enumerate() {
        let points: Vec<(f64, f64)> =
            rows.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect();
        figure = figure.series(Series::new(*name, points).color(color));
    }
    figure
}
