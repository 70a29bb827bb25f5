//! Figure 8: loss and test accuracy over the epochs on the signs of one eigenfunction of the kernel at
//! initialisation, of the network, of its linearization at initialisation, and of its linearization at the trained
//! weights. Both linearizations start from 0, without the network's outputs, and keep the initial batch-norm statistics.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk::train::{History, Metrics};
use entk_examples::plot::{Axis, Figure, FigureGrid, Marker, Series};
use entk_examples::{
    Bands, CommonFlags, Defaults, ModelName, Run, Size, Source, TrainingFlags, parse_flags,
};
use serde::Serialize;

/// The three models, in the order of the figure.
const MODELS: [&str; 3] =
    ["network", "linearization at initialisation", "linearization at trained weights"];

/// A network and its linearizations before and after training, on an eigenfunction (Figure 8).
#[derive(Parser, Serialize)]
#[command(name = "fig08", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue; 400 of 60,000 in the paper
    #[arg(long, value_name = "J", default_value_t = 20)]
    index: usize,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
}

/// One epoch of one model.
#[derive(Serialize, Clone)]
struct Row {
    model: &'static str,
    seed: u64,
    epoch: usize,
    train_loss: Option<f64>,
    train_accuracy: Option<f64>,
    test_loss: Option<f64>,
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
    flags.common.check_index(flags.index)?;
    ensure!(flags.seeds >= 1, "--seeds {}: at least one seed is needed", flags.seeds);
    let mut run = flags.common.start("fig08")?;
    let source = Source::load(&flags.common)?;
    let mut rows = Vec::new();
    for common in flags.common.for_seeds(flags.seeds) {
        let histories = one_seed(&mut run, &flags, &common, &source)?;
        for (model, history) in MODELS.into_iter().zip(&histories) {
            rows.extend(epochs(model, common.seed, history));
        }
        run.save_table("epochs", &rows)?;
    }
    run.save_figure("fig08", &figure(&flags, &rows)?)?;
    let results = serde_json::json!({ "origin": source.origin() });
    run.finish(flags.common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    flags: &Flags,
    common: &CommonFlags,
    source: &Source,
) -> Result<[History; 3]> {
    let experiment = source.experiment(common)?;
    let pairs = experiment.kernel(run)?.eigenpairs(run, flags.index)?;
    let tasks = experiment.tasks(&pairs, &[flags.index])?;
    let (labels, config) = (tasks[1].target.labels(), flags.training.sgd(common));
    let network = experiment.networks(run, &tasks[1..], &config)?.remove(0);
    let before = experiment.linearize_at(run, &experiment.theta0, labels, &config)?;
    let theta = network.params.with_statistics_of(&experiment.theta0)?;
    let after = experiment.linearize_at(run, &theta, labels, &config)?;
    Ok([network.history, before, after])
}

fn epochs(model: &'static str, seed: u64, history: &History) -> Vec<Row> {
    let row = |record: &entk::train::EpochRecord| {
        let of = |metrics: Option<Metrics>| metrics.map(|m| (m.loss, m.accuracy)).unzip();
        let (train_loss, train_accuracy) = of(record.train);
        let (test_loss, test_accuracy) = of(record.test);
        let epoch = record.epoch;
        Row { model, seed, epoch, train_loss, train_accuracy, test_loss, test_accuracy }
    };
    history.epochs.iter().map(row).collect()
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.common;
    let panel = |axis: Axis, value: fn(&Row) -> Option<f64>| -> Result<Figure> {
        let mut figure = Figure::new(Axis::linear("epoch"), axis);
        for (color, model) in MODELS.into_iter().enumerate() {
            let of_model = rows.iter().filter(|row| row.model == model);
            let points: Vec<_> =
                of_model.filter_map(|row| Some((row.epoch as f64, value(row)?))).collect();
            let series = Series::from_bands(model, &Bands::of_points(&points)?);
            figure = figure.series(series.color(color).marker(Marker::None));
        }
        Ok(figure)
    };
    let loss = panel(Axis::log("training loss"), |row| row.train_loss)?;
    let accuracy = panel(Axis::linear("test accuracy").percent(), |row| row.test_accuracy)?;
    Ok(FigureGrid::row(vec![loss, accuracy])
        .title(format!("{}, eigenfunction {}", common.title(), flags.index))
        .note(common.note(flags.seeds)))
}
