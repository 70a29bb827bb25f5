//! Figure 4: test accuracy of a network and of its linearization on data that one of the network's
//! neural anisotropy directions (NADs) separates, against the index of the direction, beside the
//! alignment that Theorem 1 predicts.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk_examples::{
    Bands, Defaults, Directions, FigureFlags, IndexList, ModelName, Run, Size, last_epoch,
    parse_flags,
    plot::{Axis, Figure, FigureGrid, Legend, Marker, Series},
};
use serde::Serialize;

/// Directions by default; the last one is the last there is.
const INDICES: &str = "1,16,64,128,192,256,384,512,768,1024";

/// Accuracy of a network and its linearization along its anisotropy directions (Figure 4). The data
/// are synthetic: --data is not used.
#[derive(Parser, Serialize)]
#[command(name = "fig04", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

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

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(5_000, 2_000).for_resnet18(1_000),
        test: Size::new(1_000, 1_000),
        epochs: Size::new(30, 20).for_resnet18(15),
        ..Defaults::default()
    });
    let mut run = flags.figure.common.start("fig04")?;
    let mut alignments = Vec::new();
    let rows = flags.figure.rows(&mut run, "directions", |run, figure| {
        let directions = Directions::find(run, &figure.common)?;
        flags.indices.check_at_most(directions.pairs.len(), "directions")?;
        let values = directions.pairs.values().iter().enumerate();
        alignments.extend(values.map(|(at, value)| (1.0 + at as f64, *value)));
        let one = |&index: &usize| one_direction(run, figure, &directions, index);
        flags.indices.as_slice().iter().map(one).collect()
    })?;
    run.save_figure("fig04", &figure(&flags, &rows, &alignments)?)?;
    run.finish(flags.figure.common.seed, &flags, &serde_json::json!({ "origin": "synthetic" }))?;
    Ok(())
}

fn one_direction(
    run: &mut Run,
    figure: &FigureFlags,
    directions: &Directions,
    index: usize,
) -> Result<Row> {
    let experiment = directions.experiment(&figure.common, index)?;
    let (tasks, config) = ([experiment.class_task()?], figure.sgd());
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

fn figure(flags: &Flags, rows: &[Row], alignments: &[(f64, f64)]) -> Result<FigureGrid> {
    let curve = |value: fn(&Row) -> f64| {
        let points: Vec<_> = rows.iter().map(|row| (row.index as f64, value(row))).collect();
        Bands::of_points(&points)
    };
    let index = || Axis::linear("NAD index");
    let accuracy = Figure::new(index(), Axis::linear("test accuracy").percent())
        .series(Series::from_bands("network", &curve(|row| row.network)?).marker(Marker::Circle))
        .series(
            Series::from_bands("linearization", &curve(|row| row.linearization)?)
                .color(1)
                .marker(Marker::Square),
        );
    let alignment = Figure::new(index(), Axis::log("predicted alignment"))
        .series(
            Series::from_bands("squared singular value", &Bands::of_points(alignments)?).color(2),
        )
        .legend(Legend::Hidden);
    let model = flags.figure.common.model.title();
    Ok(FigureGrid::row(vec![accuracy, alignment])
        .title(format!("{model} with GELU, linearly separable data"))
        .note(flags.figure.note()))
}
