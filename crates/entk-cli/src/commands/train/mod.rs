//! One task, one training run: the network, or its linearization in weight or in coefficient space,
//! on a data set or on files, with curves of accuracy or error, loss and distance over the epochs.
//!
//! Runs in weight space keep a checkpoint in the folder of results: the same command, given again
//! after an interruption, goes on where it was and ends with the same numbers.

mod data;
mod dual;
pub(crate) mod flags;

use std::path::Path;

use anyhow::Result;
use data::TrainingData;
use dual::{DualRecord, DualResult};
use entk::{
    device::files,
    linearize::Linearized,
    models::Model,
    train::{EpochRecord, Loss, Metrics, SgdConfig, TrainError, Trainer},
};
use entk_cli::{
    Defaults, ModelName, Run, Size, Stage,
    plot::{Axis, Figure, Series},
    say, settings_without,
};
use flags::Flags;
use serde::Serialize;

/// The folder, within that of the results, from which an interrupted run goes on.
const CHECKPOINT: &str = "checkpoint";

/// One epoch, as a line of the table; what the targets have not is empty.
#[derive(Serialize)]
struct Row {
    epoch: usize,
    learning_rate: f64,
    train_loss: Option<f64>,
    train_accuracy: Option<f64>,
    train_top5: Option<f64>,
    train_calibration_error: Option<f64>,
    train_rmse: Option<f64>,
    train_r_squared: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
    test_top5: Option<f64>,
    test_calibration_error: Option<f64>,
    test_rmse: Option<f64>,
    test_r_squared: Option<f64>,
    minibatch_loss: f64,
    distance: f64,
    cosine_distance: Option<f64>,
}

impl From<&EpochRecord> for Row {
    fn from(record: &EpochRecord) -> Self {
        let train = |value: fn(Metrics) -> Option<f64>| record.train.and_then(value);
        let test = |value: fn(Metrics) -> Option<f64>| record.test.and_then(value);
        Self {
            epoch: record.epoch,
            learning_rate: record.learning_rate,
            train_loss: train(|m| Some(m.loss)),
            train_accuracy: train(|m| m.accuracy),
            train_top5: train(|m| m.top5_accuracy),
            train_calibration_error: train(|m| m.calibration_error),
            train_rmse: train(|m| m.rmse),
            train_r_squared: train(|m| m.r_squared),
            test_loss: test(|m| Some(m.loss)),
            test_accuracy: test(|m| m.accuracy),
            test_top5: test(|m| m.top5_accuracy),
            test_calibration_error: test(|m| m.calibration_error),
            test_rmse: test(|m| m.rmse),
            test_r_squared: test(|m| m.r_squared),
            minibatch_loss: record.minibatch_loss,
            distance: record.distance.l2,
            cosine_distance: record.distance.cosine,
        }
    }
}

/// The values of flags that are not given.
pub(crate) const DEFAULTS: Defaults = Defaults {
    model: ModelName::LeNet5,
    train: Size::new(3_000, 500),
    test: Size::new(1_000, 250),
    epochs: Size::new(40, 10),
    ..Defaults::USUAL
};

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let run = flags.common.start("train")?;
    let data = TrainingData::read(&run, flags)?;
    let config = flags.config(&data.targets)?;
    let (records, kernel) = if flags.dual {
        let DualResult { epochs, record } = dual::train(&run, flags, &data, &config)?;
        (epochs, Some(record))
    } else {
        (in_weight_space(&run, flags, &data, &config)?, None)
    };
    let rows: Vec<Row> = records.iter().map(Row::from).collect();
    run.save_table("epochs", &rows)?;
    save_figures(&run, flags, &config, &rows)?;
    finish(run, flags, &data, &config, kernel, &rows)
}

fn finish(
    run: Run,
    flags: &Flags,
    data: &TrainingData,
    config: &SgdConfig,
    kernel: Option<DualRecord>,
    rows: &[Row],
) -> Result<()> {
    let results = serde_json::json!({
        "origin": data.origin,
        "parameters": data.theta0.count(),
        "outputs": data.targets.outputs(),
        "train": data.train,
        "test": data.targets.count() - data.train,
        "targets": data.rule,
        "loss": loss_name(config.loss),
        "kernel": kernel,
        "end": rows.last(),
    });
    let checkpoint = run.folder().file(CHECKPOINT);
    let unread: &[&[&str]] = if flags.own.inputs.is_some() { &[&flags::OF_DATA] } else { &[] };
    run.finish(flags.common.seed, &settings_without(flags, unread)?, &results)?;
    // The results hold all of it; a checkpoint left behind would refuse a run with other settings.
    if checkpoint.exists()
        && let Err(error) = files::remove_folder(&checkpoint)
    {
        say(format_args!(
            "the results are whole; {} could not be removed ({error}): remove it before a run with \
             other settings",
            checkpoint.display()
        ));
    }
    Ok(())
}

fn loss_name(loss: Loss) -> &'static str {
    match loss {
        Loss::SoftmaxCrossEntropy { .. } => "softmax cross-entropy",
        Loss::Squared => "squared loss",
        _ => "cross-entropy",
    }
}

fn in_weight_space(
    run: &Run,
    flags: &Flags,
    data: &TrainingData,
    config: &SgdConfig,
) -> Result<Vec<EpochRecord>> {
    let (train, test) = data.examples()?;
    let checkpoint = run.folder().file(CHECKPOINT);
    let linear = Linearized::new(&data.network, data.theta0.clone());
    let model: &dyn Model = if flags.linearize { &linear } else { &data.network };
    run.stage("training", flags.common.epochs as u64, |stage| {
        let mut trainer = Trainer::new(model, &data.theta0, &train, test.as_ref(), config)?;
        if trainer.resume(&checkpoint)? {
            say(format_args!("going on from epoch {}", trainer.epoch()));
        }
        stage.set_done(trainer.epoch() as u64);
        loop {
            let record = match trainer.step_epoch() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => return Err(without_checkpoint(error, &checkpoint)),
            };
            report(stage, record);
            trainer.save(&checkpoint)?;
        }
        run.begin_results()?;
        trainer.params().save(checkpoint.with_file_name("weights.safetensors"))?;
        Ok(trainer.into_fit().history.epochs)
    })
}

/// Removes the checkpoint of a run that has diverged: it would refuse the other settings that are
/// needed.
fn without_checkpoint(error: TrainError, checkpoint: &Path) -> anyhow::Error {
    if matches!(error, TrainError::Diverged { .. }) && checkpoint.exists() {
        let removed = files::remove_folder(checkpoint);
        let text = match removed {
            Ok(()) => "the checkpoint of this run is removed, so that other settings can be tried",
            Err(_) => "the checkpoint of this run could not be removed",
        };
        return anyhow::Error::from(error).context(text);
    }
    error.into()
}

fn report(stage: &Stage, record: &EpochRecord) {
    let quality = record.train.map_or_else(String::new, |train| {
        let test = record.test.unwrap_or_default();
        let pair = |name: &str, seen: Option<f64>, new: Option<f64>| match (seen, new) {
            (Some(seen), Some(new)) => format!(", {name} {seen:.3} / {new:.3}"),
            (Some(seen), None) => format!(", {name} {seen:.3}"),
            (None, _) => String::new(),
        };
        let accuracy = pair("accuracy", train.accuracy, test.accuracy);
        let error = pair("rmse", train.rmse, test.rmse);
        format!("{accuracy}{error}, loss {:.4}", train.loss)
    });
    stage.message(format!("epoch {}{quality}", record.epoch));
    stage.set_done(record.epoch as u64);
}

fn save_figures(run: &Run, flags: &Flags, config: &SgdConfig, rows: &[Row]) -> Result<()> {
    let pair = |train: Curve, test: Curve| [("training", train), ("test", test)];
    if rows.iter().any(|row| row.train_accuracy.is_some()) {
        let curves = pair(|row| row.train_accuracy, |row| row.test_accuracy);
        let accuracy = figure(flags, Axis::linear("accuracy").percent(), rows, &curves);
        run.save_figure("accuracy", &accuracy)?;
    } else {
        let curves = pair(|row| row.train_rmse, |row| row.test_rmse);
        let error = figure(flags, Axis::linear("root mean squared error"), rows, &curves);
        run.save_figure("error", &error)?;
    }
    let losses = pair(|row| row.train_loss, |row| row.test_loss);
    let loss = figure(flags, Axis::linear(loss_name(config.loss)), rows, &losses);
    run.save_figure("loss", &loss)
}

/// A value of an epoch, where it was measured.
type Curve = fn(&Row) -> Option<f64>;

fn figure(flags: &Flags, axis: Axis, rows: &[Row], curves: &[(&str, Curve)]) -> Figure {
    let what = if flags.linearize || flags.dual { "linearized " } else { "" };
    let common = &flags.common;
    let title = match &flags.own.inputs {
        Some(path) => {
            let file = path.file_stem().unwrap_or_default().to_string_lossy();
            format!("{what}{} on {file}", common.network.model.title())
        }
        None => format!("{what}{}", common.title()),
    };
    let mut figure = Figure::new(Axis::linear("epoch"), axis).title(title);
    for (color, (name, value)) in curves.iter().enumerate() {
        let points: Vec<(f64, f64)> =
            rows.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect();
        if points.is_empty() {
            continue;
        }
        figure = figure.series(Series::new(*name, points).color(color));
    }
    figure
}
