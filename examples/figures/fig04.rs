//! Figure 4: test accuracy of a network and of its linearization on data that one of the network's
//! neural anisotropy directions (NADs) separates, against the index of the direction, beside the
//! alignment that Theorem 1 predicts.
//!
//! Writes `directions.csv`, the picture `fig04` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk_cli::{
    CommonFlags, Defaults, Directions, FigureFlags, FigureProgram, IndexList, ModelName, OneSeed,
    SIDE, Size, exit, last_epoch,
    plot::{Axis, Figure, FigureGrid, Legend, Marker, Series},
};
use serde::Serialize;
use serde_json::json;

/// Directions by default; the last one is the last there is.
const INDICES: &str = "1,16,64,128,192,256,384,512,768,1024";

/// Accuracy of a network and its linearization along its anisotropy directions (Figure 4). The data
/// are synthetic: --data is not used.
#[derive(Args, Clone, Serialize)]
struct Own {
    /// Directions, counted from 1, by falling singular value
    #[arg(long, value_name = "LIST", default_value = INDICES)]
    indices: IndexList,
}

/// One direction and seed.
#[derive(Serialize, Clone)]
struct Row {
    index: usize,
    seed: u64,
    /// The squared singular value.
    predicted_alignment: f64,
    network: f64,
    linearization: f64,
    network_train: f64,
    linearization_train: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::LeNet5,
        train: Size::new(5_000, 2_000).for_resnet18(1_000),
        test: Size::new(1_000, 1_000),
        epochs: Size::new(30, 20).for_resnet18(15),
        ..Defaults::default()
    };
    let program = FigureProgram::<Own>::start("fig04", &defaults, |flags| {
        flags.own.indices.check_at_most(SIDE * SIDE, "directions")?;
        flags.ensure_batch()
    })?;
    let mut alignments = Vec::new();
    let rows = program.rows("directions", |seed| {
        let indices = &seed.flags.own.indices;
        let CommonFlags { network, device, seed: init, .. } = &seed.flags.common;
        let directions = Directions::find(seed.run, network, &device.open()?, *init)?;
        indices.check_at_most(directions.pairs.len(), "directions")?;
        alignments.extend((1..).zip(directions.pairs.values().to_vec()));
        indices.as_slice().iter().map(|&index| one_direction(seed, &directions, index)).collect()
    })?;
    program.save_figure(&figure(&program.flags, &rows, alignments)?)?;
    program.finish(json!({}))
}

fn one_direction(seed: &OneSeed<'_, Own>, directions: &Directions, index: usize) -> Result<Row> {
    let OneSeed { flags, run, .. } = seed;
    let experiment = directions.experiment(&flags.common, index)?;
    let (tasks, config) = ([experiment.class_task()?], flags.sgd());
    let kernel = experiment.kernel(run)?;
    let linear = experiment.linearize(run, &kernel, &tasks, &config)?;
    let fits = experiment.networks(run, &tasks, &config)?;
    let (_, network_train, network_test) = last_epoch(&fits[0].history)?;
    let (_, linear_train, linear_test) = last_epoch(&linear[0])?;
    Ok(Row {
        index,
        seed: config.seed,
        predicted_alignment: directions.pairs.values()[index - 1],
        network: network_test.accuracy,
        linearization: linear_test.accuracy,
        network_train: network_train.accuracy,
        linearization_train: linear_train.accuracy,
    })
}

fn figure(
    flags: &FigureFlags<Own>,
    rows: &[Row],
    alignments: Vec<(usize, f64)>,
) -> Result<FigureGrid> {
    let curve = |name: &str, value: fn(&Row) -> f64| {
        Series::of_runs(name, rows.iter().map(|row| (row.index, value(row))))
    };
    let network = curve("network", |row| row.network)?;
    let linearization = curve("linearization", |row| row.linearization)?.color(1);
    let index = || Axis::linear("NAD index");
    let accuracy = Figure::new(index(), Axis::linear("test accuracy").percent())
        .series(network.marker(Marker::Circle))
        .series(linearization.marker(Marker::Square));
    let alignment = Figure::new(index(), Axis::log("predicted alignment"))
        .series(Series::of_runs("squared singular value", alignments)?.color(2))
        .legend(Legend::Hidden);
    let model = &flags.common.network.model;
    let with = if model.built_in().is_some() { " with GELU" } else { "" };
    Ok(FigureGrid::row(vec![accuracy, alignment])
        .title(format!("{}{with}, linearly separable data", model.title()))
        .note(flags.note()))
}
