//! Eigenfunctions known from the training images alone, beside those of the paper, which are
//! eigenvectors over training and test images together.
//!
//! The inductive eigenfunction j is the eigenvector of the kernel of the training images, extended
//! to others by phi_j(x) = sum over i of Theta(x, x_i) phi_j(i) / lambda_j (Nystrom). Three panels:
//! labels that both kinds share; test accuracy of a network and its linearization on either; the
//! alignment of phi_j on the training images, lambda_j / N, beside an unbiased estimate from the
//! test images, which phi_j has not seen, with standard errors.
//!
//! Writes `eigenfunctions.csv`, the picture `inductive` (SVG, PNG and the numbers drawn) and
//! `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::train::History;
use entk_cli::{
    Defaults, Experiment, FigureFlags, FigureProgram, IndexFlags, InductivePairs, InitialKernel,
    ModelName, OneSeed, Size, Task, agreement, exit, last_epoch,
    plot::{Axis, Baseline, Figure, FigureGrid, LineStyle, Series},
};
use serde::Serialize;

/// Inductive eigenfunctions beside transductive ones.
#[derive(Args, Clone, Serialize)]
struct Own {
    #[command(flatten)]
    #[serde(flatten)]
    shown: IndexFlags,
}

/// The inductive and the transductive eigenfunction of one index.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Counted from 1.
    index: usize,
    seed: u64,
    /// Shares of the labels that are the same.
    agreement_train: f64,
    agreement_test: f64,
    network: f64,
    linearization: f64,
    network_inductive: f64,
    linearization_inductive: f64,
    /// Alignment of phi_j, scaled to mean square 1, on the training images: lambda_j / N.
    alignment_train: f64,
    /// Alignment of phi_j on the test images, without bias, and its standard error.
    alignment_test: f64,
    alignment_test_error: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(40, 30).for_resnet18(15),
        ..Defaults::default()
    };
    FigureProgram::start("inductive", &defaults, check)?.draw("eigenfunctions", one_seed, figure)
}

fn check(flags: &FigureFlags<Own>) -> Result<()> {
    flags.own.shown.up_to(flags.common.train)?;
    flags.ensure_batch()
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    let (run, experiment) = (seed.run, seed.experiment()?);
    let indices = seed.flags.own.shown.up_to(experiment.train)?;
    let last = indices.last().copied().unwrap_or(1);
    let kernel = experiment.kernel(run)?;
    let pairs = kernel.eigenpairs(run, last)?;
    let transductive = experiment.tasks(&pairs, &indices)?.split_off(1);
    let functions = InductivePairs::find(run, &kernel, experiment.train, last)?;
    let inductive = functions.tasks(&indices)?;
    let accuracies_of = |tasks: &[Task]| accuracies(seed, &experiment, &kernel, tasks);
    let ([network, linearization], [network_inductive, linearization_inductive]) =
        (accuracies_of(&transductive)?, accuracies_of(&inductive)?);
    let estimates = functions.test_alignments(&indices)?;
    let row = |(at, &index): (usize, &usize)| {
        let [agreement_train, agreement_test] =
            agreement(&transductive[at], &inductive[at], experiment.train);
        Ok(Row {
            index,
            seed: seed.flags.common.seed,
            agreement_train,
            agreement_test,
            network: network[at],
            linearization: linearization[at],
            network_inductive: network_inductive[at],
            linearization_inductive: linearization_inductive[at],
            alignment_train: functions.alignment(index)?,
            alignment_test: estimates[at].value,
            alignment_test_error: estimates[at].error,
        })
    };
    indices.iter().enumerate().map(row).collect()
}

/// Test accuracies on each task, of networks and of linearizations.
fn accuracies(
    seed: &OneSeed<'_, Own>,
    experiment: &Experiment,
    kernel: &InitialKernel,
    tasks: &[Task],
) -> Result<[Vec<f64>; 2]> {
    let (run, config) = (seed.run, seed.flags.sgd());
    let of = |history: &History| Ok(last_epoch(history)?.2.accuracy);
    let networks = experiment.networks(run, tasks, &config)?;
    let linearizations = experiment.linearize(run, kernel, tasks, &config)?;
    Ok([
        networks.iter().map(|fit| of(&fit.history)).collect::<Result<_>>()?,
        linearizations.iter().map(of).collect::<Result<_>>()?,
    ])
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let curve = |name: &str, value: fn(&Row) -> f64| {
        Series::of_runs(name, rows.iter().map(|row| (row.index, value(row))))
    };
    let index = || Axis::log("eigenfunction index");
    let agreement = Figure::new(index(), Axis::linear("labels shared").percent())
        .series(curve("training images", |row| row.agreement_train)?)
        .series(curve("test images", |row| row.agreement_test)?.color(1))
        .baseline(Baseline::horizontal("chance", 0.5));
    let dashed = |series: Series| series.line(LineStyle::Dashed);
    let accuracy = Figure::new(index(), Axis::linear("test accuracy").percent())
        .series(curve("network", |row| row.network)?)
        .series(dashed(curve("network, inductive", |row| row.network_inductive)?))
        .series(curve("linearization", |row| row.linearization)?.color(1))
        .series(
            dashed(curve("linearization, inductive", |row| row.linearization_inductive)?).color(1),
        );
    // On a logarithmic axis a bar that reaches 0 ends at a tenth of its value.
    let low =
        |row: &Row| (row.alignment_test - row.alignment_test_error).max(row.alignment_test / 10.0);
    let high = curve("", |row| row.alignment_test + row.alignment_test_error)?.points;
    let low = curve("", low)?.points;
    let bars = low.iter().zip(&high).map(|(low, high)| (low.1, high.1)).collect();
    let alignment = Figure::new(index(), Axis::log("alignment"))
        .series(curve("training images", |row| row.alignment_train)?)
        .series(curve("test images, unbiased", |row| row.alignment_test)?.color(1).bars(bars));
    Ok(FigureGrid::row(vec![agreement, accuracy, alignment])
        .title(flags.common.title())
        .note(format!("{} Error bars: one standard error.", flags.note())))
}
