//! Figure 4: test accuracy of a network and of its linearization on data that one of the network's neural anisotropy
//! directions (NADs) separates, against the index of the direction, beside the alignment that Theorem 1 predicts.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk_examples::plot::{Axis, Figure, FigureGrid, Legend, Marker, Series};
use entk_examples::{
    Bands, CommonFlags, Defaults, Directions, IndexList, ModelName, Run, Size, TrainingFlags,
    last_epoch, parse_flags,
};
use serde::Serialize;

/// Directions by default; the last one is the last there is.
const INDICES: &str = "1,16,64,128,192,256,384,512,768,1024";

/// Accuracy of a network and its linearization along its anisotropy directions (Figure 4). The data are synthetic:
/// --data is not used.
#[derive(Parser, Serialize)]
#[command(name = "fig04", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,

    /// Directions, counted from 1, by falling singular value
    #[arg(long, value_name = "LIST", default_value = INDICES)]
    indices: IndexList,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
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
    ensure!(flags.seeds >= 1, "--seeds {}: at least one seed is needed", flags.seeds);
    let mut run = flags.common.start("fig04")?;
    let (mut rows, mut alignments) = (Vec::new(), Vec::new());
    for common in flags.common.for_seeds(flags.seeds) {
        let directions = Directions::find(&mut run, &common)?;
        flags.indices.check_at_most(directions.pairs.len(), "directions")?;
        let values = directions.pairs.values().iter().enumerate();
        alignments.extend(values.map(|(at, value)| (1.0 + at as f64, *value)));
        for &index in flags.indices.as_slice() {
            rows.push(one_direction(&mut run, &flags, &common, &directions, index)?);
            run.save_table("directions", &rows)?;
        }
    }
    run.save_figure("fig04", &figure(&flags, &rows, &alignments)?)?;
    run.finish(flags.common.seed, &flags, &serde_json::json!({ "origin": "synthetic" }))?;
    Ok(())
}

fn one_direction(
    run: &mut Run,
    flags: &Flags,
    common: &CommonFlags,
    directions: &Directions,
    index: usize,
) -> Result<Row> {
    let experiment = directions.experiment(common, index)?;
    let (task, config) = (experiment.class_task()?, flags.training.sgd(common));
    let kernel = experiment.kernel(run)?;
    let linear = experiment.linearize(run, &kernel, &[task.target.labels()], &config)?;
    let fits = experiment.networks(run, std::slice::from_ref(&task), &config)?;
    let (_, network_train, network_test) = last_epoch(&fits[0].history)?;
    let (_, linear_train, linear_test) = last_epoch(&linear[0])?;
    Ok(Row {
        index,
        seed: common.seed,
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
    let common = &flags.common;
    Ok(FigureGrid::row(vec![accuracy, alignment])
        .title(format!("{} with GELU, linearly separable data", common.model.title()))
        .note(common.note(flags.seeds)))
}
