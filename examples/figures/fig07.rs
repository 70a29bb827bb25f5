//! Figures 7 (ResNet18), 15 (MLP) and 16 (LeNet5): alignment of the eigenfunctions of the kernel at
//! initialisation with that kernel, and with the kernel after training on the signs of one of them.
//!
//! Writes `alignments.csv`, `trainings.csv`, the picture `fig07` (SVG, PNG and the numbers drawn)
//! and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::{
    gram::Outputs,
    spectral::{Eigenpairs, rayleigh_alignments},
};
use entk_cli::{
    Defaults, Experiment, FigureFlags, FigureProgram, IndexList, OneSeed, exit, indices,
    last_epoch, parse_size,
    plot::{Axis, Baseline, Figure, FigureGrid, LineStyle, Marker, Series},
    summarize,
};
use serde::Serialize;
use serde_json::json;

/// Eigenfunctions that are trained on by default.
const TRAINED: [usize; 4] = [20, 100, 500, 800];

/// Alignments before and after training on an eigenfunction (Figures 7, 15, 16).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// Eigenfunctions to train on, one network each, counted from 1 [default: 20,100,500,800, as
    /// far as there are]
    #[arg(long, value_name = "LIST")]
    trained: Option<IndexList>,

    /// Eigenfunctions whose alignment is shown, or as many as there are
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = parse_size)]
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
    /// The median growth over the eigenfunctions shown.
    median_growth: Option<f64>,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let check = |flags: &FigureFlags<Own>| {
        indices(flags.own.trained.as_ref(), &TRAINED, flags.common.train + flags.common.test)?;
        flags.ensure_batch()
    };
    let defaults = Defaults { seeds: 1, ..Defaults::FOLLOWED };
    let program = FigureProgram::start("fig07", &defaults, check)?;
    let mut ends = Vec::new();
    let rows = program.rows("alignments", |seed| one_seed(seed, &mut ends))?;
    program.save_figure(&figure(&program.flags, &rows)?)?;
    program.finish(json!({ "trainings": ends }))
}

impl Own {
    /// The eigenfunctions to train on, of `n` images.
    fn trained(&self, n: usize) -> Result<Vec<usize>> {
        indices(self.trained.as_ref(), &TRAINED, n)
    }
}

/// The rows of one seed; adds its trainings to `ends`, and writes all of them.
fn one_seed(seed: &OneSeed<'_, Own>, ends: &mut Vec<End>) -> Result<Vec<Row>> {
    let (run, own, experiment) = (seed.run, &seed.flags.own, seed.experiment()?);
    let n = experiment.labels.len();
    let (trained, shown) = (own.trained(n)?, own.shown.min(n));
    let last = trained.last().copied().unwrap_or(1);
    let pairs = experiment.kernel(run)?.eigenpairs(run, shown.max(last))?;
    let mut rows = Vec::new();
    for index in trained {
        let (of_one, end) = one_training(seed, &experiment, &pairs, index, shown)?;
        rows.extend(of_one);
        ends.push(end);
        run.save_table("trainings", ends)?;
    }
    Ok(rows)
}

fn one_training(
    seed: &OneSeed<'_, Own>,
    experiment: &Experiment,
    pairs: &Eigenpairs,
    trained: usize,
    shown: usize,
) -> Result<(Vec<Row>, End)> {
    let run = seed.run;
    let tasks = experiment.tasks(pairs, &[trained])?;
    let fits = experiment.networks(run, &tasks[1..], &seed.flags.sgd())?;
    let params = &fits[0].params;
    let key = experiment.key("alignments", params, &experiment.images)?;
    let key = key.with("shown", &shown)?.with("values", pairs.values())?;
    let end: Vec<f64> = run.cache().value(&key, || {
        let gram = experiment.gram_at(run, params, &experiment.images, Outputs::Trace)?;
        Ok(rayleigh_alignments(&gram, &pairs.vectors()[..shown * pairs.dim()])?)
    })?;
    let seed = seed.flags.common.seed;
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

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.common;
    let trained = flags.own.trained(common.train + common.test)?;
    let panel = |&index: &usize| {
        let curve = |name: &str, value: fn(&Row) -> f64| -> Result<Series> {
            let of_panel = rows.iter().filter(|row| row.trained == index);
            let points = of_panel.map(|row| (row.index, value(row)));
            Ok(Series::of_runs(name, points)?.marker(Marker::None))
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
    Ok(FigureGrid::row(panels).columns(columns).title(common.title()).note(flags.note()))
}
