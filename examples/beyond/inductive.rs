//! Eigenfunctions known from the training images alone, beside those of the paper, which are
//! eigenvectors over training and test images together.
//!
//! The inductive eigenfunction j is the eigenvector of the kernel of the training images, extended
//! to others by phi_j(x) = sum over i of Theta(x, x_i) phi_j(i) / lambda_j (Nystrom). Three panels:
//! labels that both kinds share; test accuracy of a network and its linearization on either; the
//! alignment of phi_j on the training images, lambda_j / N, beside an unbiased estimate from the
//! test images, which phi_j has not seen, with standard errors.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk::spectral::AlignmentEstimate;
use entk_examples::{
    Bands, DataPool, Defaults, Experiment, FigureFlags, INDICES, IndexList, InductivePairs,
    ModelName, Run, Size, agreement, indices, last_epoch, parse_flags,
    plot::{Axis, Baseline, Figure, FigureGrid, LineStyle, Series},
};
use serde::Serialize;

/// Inductive eigenfunctions beside transductive ones.
#[derive(Parser, Serialize)]
#[command(name = "inductive", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default:
    /// 1,2,5,10,20,50,100,200,500,1000, as far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,
}

/// One eigenfunction, as both kinds have it.
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
    /// Of phi_j scaled to mean square 1, on the training images: lambda_j / N.
    alignment_train: f64,
    /// The same on the test images, without bias, and its standard error.
    alignment_test: f64,
    alignment_test_error: f64,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(40, 30).for_resnet18(15),
        ..Defaults::default()
    });
    let common = &flags.figure.common;
    let mut run = common.start("inductive")?;
    let source = DataPool::load(common)?;
    let indices = indices(flags.indices.as_ref(), &INDICES, common.train)?;
    let rows = flags.figure.rows(&mut run, "eigenfunctions", |run, figure| {
        one_seed(run, figure, &indices, &source.experiment(&figure.common)?)
    })?;
    run.save_figure("inductive", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    figure: &FigureFlags,
    indices: &[usize],
    experiment: &Experiment,
) -> Result<Vec<Row>> {
    let last = indices.last().copied().unwrap_or(1);
    let kernel = experiment.kernel(run)?;
    let pairs = kernel.eigenpairs(run, last)?;
    let transductive = experiment.tasks(&pairs, indices)?.split_off(1);
    let functions = InductivePairs::find(run, &kernel, experiment.train, last)?;
    let inductive = functions.tasks(indices)?;
    let config = figure.sgd();
    // Of either kind of task: networks, then linearizations.
    let mut accuracies = Vec::new();
    for tasks in [&transductive, &inductive] {
        for fit in experiment.networks(run, tasks, &config)? {
            accuracies.push(last_epoch(&fit.history)?.2.accuracy);
        }
        for history in experiment.linearize(run, &kernel, tasks, &config)? {
            accuracies.push(last_epoch(&history)?.2.accuracy);
        }
    }
    let (count, estimates) = (indices.len(), functions.test_alignments(indices)?);
    let row = |(at, &index): (usize, &usize)| {
        let [agreement_train, agreement_test] =
            agreement(&transductive[at], &inductive[at], experiment.train);
        let AlignmentEstimate { value, error } = estimates[at];
        Ok(Row {
            index,
            seed: config.seed,
            agreement_train,
            agreement_test,
            network: accuracies[at],
            linearization: accuracies[count + at],
            network_inductive: accuracies[2 * count + at],
            linearization_inductive: accuracies[3 * count + at],
            alignment_train: functions.alignment(index)?,
            alignment_test: value,
            alignment_test_error: error,
        })
    };
    indices.iter().enumerate().map(row).collect()
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<FigureGrid> {
    let curve = |name: &str, value: fn(&Row) -> f64| -> Result<Series> {
        let points: Vec<_> = rows.iter().map(|row| (row.index as f64, value(row))).collect();
        Ok(Series::from_bands(name, &Bands::of_points(&points)?))
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
        .title(flags.figure.common.title())
        .note(format!("{} Error bars: one standard error.", flags.figure.note())))
}
