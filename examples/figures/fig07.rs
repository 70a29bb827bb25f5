//! Figures 7 (ResNet18), 15 (MLP) and 16 (LeNet5): alignment of the eigenfunctions of the kernel at
//! initialisation with that kernel, and with the kernel after training on the signs of one of them.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk::spectral::{Eigenpairs, rayleigh_alignments};
use entk_examples::{
    Bands, DataPool, Defaults, Experiment, FigureFlags, IndexList, ModelName, Run, Size, indices,
    last_epoch, parse_flags,
    plot::{Axis, Baseline, Figure, FigureGrid, LineStyle, Marker, Series},
    summarize,
};
use serde::Serialize;

/// Eigenfunctions that are trained on by default.
const TRAINED: [usize; 4] = [20, 100, 500, 800];

/// Alignments before and after training on an eigenfunction (Figures 7, 15, 16).
#[derive(Parser, Serialize)]
#[command(name = "fig07", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// Eigenfunctions to train on, one network each, counted from 1 [default: 20,100,500,800, as
    /// far as there are]
    #[arg(long, value_name = "LIST")]
    trained: Option<IndexList>,

    /// Eigenfunctions whose alignment is shown, or as many as there are
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    shown: usize,
}

/// Alignment of one eigenfunction, after training on one of them. Both are Rayleigh quotients y^T K
/// y / ||y||^2, as in the paper's figures; divided by the number of images they are alpha of its
/// text.
#[derive(Serialize, Clone, Copy)]
struct Row {
    trained: usize,
    seed: u64,
    index: usize,
    initial: f64,
    end: f64,
}

/// One training.
#[derive(Serialize, Clone, Copy)]
struct End {
    trained: usize,
    seed: u64,
    train_accuracy: f64,
    test_accuracy: f64,
    /// How many times the alignment of the trained eigenfunction has grown, if it is shown.
    growth: Option<f64>,
    /// The median of the same over the eigenfunctions shown.
    median_growth: Option<f64>,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(15),
        ..Defaults::default()
    });
    let common = &flags.figure.common;
    ensure!(flags.shown >= 1, "--shown {}: at least one", flags.shown);
    let mut run = common.start("fig07")?;
    let source = DataPool::load(common)?;
    let n = common.train + common.test;
    let trained = indices(flags.trained.as_ref(), &TRAINED, n)?;
    let (shown, last) = (flags.shown.min(n), trained.last().copied().unwrap_or(1));

    let mut ends = Vec::new();
    let rows = flags.figure.rows(&mut run, "alignments", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        let pairs = experiment.kernel(run)?.eigenpairs(run, shown.max(last))?;
        let mut rows = Vec::new();
        for &index in &trained {
            let (of_one, end) = one_training(run, figure, &experiment, &pairs, index, shown)?;
            rows.extend(of_one);
            ends.push(end);
            run.save_table("trainings", &ends)?;
        }
        Ok(rows)
    })?;
    run.save_figure("fig07", &figure(&flags, &trained, &rows)?)?;
    let results = serde_json::json!({ "origin": source.origin(), "trainings": ends });
    run.finish(common.seed, &flags, &results)?;
    Ok(())
}

fn one_training(
    run: &mut Run,
    figure: &FigureFlags,
    experiment: &Experiment,
    pairs: &Eigenpairs,
    trained: usize,
    shown: usize,
) -> Result<(Vec<Row>, End)> {
    let tasks = experiment.tasks(pairs, &[trained])?;
    let fits = experiment.networks(run, &tasks[1..], &figure.sgd())?;
    let params = &fits[0].params;
    let key = experiment.key("alignments", params, &experiment.images)?;
    let key = key.with("shown", &shown)?.with("values", pairs.values())?;
    let (seed, cache) = (figure.common.seed, run.cache().clone());
    let end: Vec<f64> = cache.value(&key, || {
        let gram = experiment.gram_at(run, params, &experiment.images)?;
        Ok(rayleigh_alignments(&gram, &pairs.vectors()[..shown * pairs.dim()])?)
    })?;
    let row = |(at, end): (usize, &f64)| Row {
        trained,
        seed,
        index: at + 1,
        initial: pairs.values()[at],
        end: *end,
    };
    let rows: Vec<Row> = end.iter().enumerate().map(row).collect();
    let growth: Vec<f64> = rows.iter().map(|row| row.end / row.initial).collect();
    let (_, train, test) = last_epoch(&fits[0].history)?;
    let end = End {
        trained,
        seed,
        train_accuracy: train.accuracy,
        test_accuracy: test.accuracy,
        growth: growth.get(trained - 1).copied(),
        median_growth: summarize(&growth).map(|summary| summary.median),
    };
    Ok((rows, end))
}

fn figure(flags: &Flags, trained: &[usize], rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.figure.common;
    let panel = |&index: &usize| {
        let curve = |name: &str, value: fn(&Row) -> f64| -> Result<Series> {
            let of_panel = rows.iter().filter(|row| row.trained == index);
            let points: Vec<_> = of_panel.map(|row| (row.index as f64, value(row))).collect();
            Ok(Series::from_bands(name, &Bands::of_points(&points)?).marker(Marker::None))
        };
        let end = format!("after {} epochs", common.epochs);
        Ok(Figure::new(Axis::linear("eigenfunction index"), Axis::log("alignment"))
            .title(format!("trained on eigenfunction {index}"))
            .series(curve(&end, |row| row.end)?.color(1))
            .series(curve("at initialisation", |row| row.initial)?.color(0))
            .baseline(Baseline::vertical("trained on", index as f64).line(LineStyle::Dotted)))
    };
    let panels = trained.iter().map(panel).collect::<Result<Vec<_>>>()?;
    let columns = if trained.len() == 1 { 1 } else { 2 };
    Ok(FigureGrid::row(panels).columns(columns).title(common.title()).note(flags.figure.note()))
}
