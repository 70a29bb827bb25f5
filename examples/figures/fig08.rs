//! Figure 8: loss and test accuracy over the epochs on the signs of one eigenfunction of the kernel
//! at initialisation, of the network, of its linearization at initialisation, and of its
//! linearization at the trained weights. Both linearizations start from 0, without the network's
//! outputs, and keep the initial batch-norm statistics.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk::train::{History, Metrics};
use entk_examples::{
    Bands, DataPool, Defaults, Experiment, FigureFlags, ModelName, Run, Size, parse_flags,
    plot::{Axis, Figure, FigureGrid, Marker, Series},
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
    figure: FigureFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue; 400 of 60,000 in the paper
    #[arg(long, value_name = "J", default_value_t = 20)]
    index: usize,
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
        seeds: 3,
        ..Defaults::default()
    });
    let common = &flags.figure.common;
    common.check_index(flags.index)?;
    let mut run = common.start("fig08")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "epochs", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        let histories = one_seed(run, figure, flags.index, &experiment)?;
        let models = MODELS.into_iter().zip(&histories);
        Ok(models.flat_map(|(model, h)| epochs(model, figure.common.seed, h)).collect())
    })?;
    run.save_figure("fig08", &figure(&flags, &rows)?)?;
    let results = serde_json::json!({ "origin": source.origin() });
    run.finish(common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    figure: &FigureFlags,
    index: usize,
    experiment: &Experiment,
) -> Result<[History; 3]> {
    let pairs = experiment.kernel(run)?.eigenpairs(run, index)?;
    let tasks = experiment.tasks(&pairs, &[index])?;
    let (labels, config) = (tasks[1].target.labels(), figure.sgd());
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
    let common = &flags.figure.common;
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
        .note(flags.figure.note()))
}
