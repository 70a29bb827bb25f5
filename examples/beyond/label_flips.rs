//! Beyond the paper: how far the labels sign(phi_j) can be trusted when the kernel at
//! initialisation is computed in f32.
//!
//! Left: how many labels differ in f64, for the kernel as it is and without the mean gradient of
//! the sample, and how many a certificate allows to differ. With r = ||K phi - lambda phi|| for a
//! pair (lambda, phi) of f32 and the kernel K of f64, and lambda at a distance d from all other
//! eigenvalues of K, phi is off by at most sqrt(2) r / d (Davis and Kahan), so that only entries
//! smaller than that can have the wrong sign. Right: r and d themselves.
//!
//! Writes `label_flips.csv`, the picture `labels` and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use candle_core::DType;
use clap::Parser;
use entk::{
    models::Activation,
    spectral::{BinaryTarget, Eigenpairs, residual_norms, uncertain_labels},
};
use entk_cli::{
    CommonFlags, DataPool, Defaults, IndexFlags, InitialKernel, ModelName, Run, Size, exit,
    parse_flags,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;
use serde_json::json;

/// A squared gradient norm that differs by more than this between the precisions has not only been
/// rounded: a ReLU is on in one and off in the other. Rounding alone stays near 1e-6.
const KINK: f64 = 1e-5;

/// Labels of eigenfunctions that differ between f32 and f64. Nothing is trained: --epochs has no
/// effect.
#[derive(Parser, Serialize)]
#[command(name = "label_flips", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    #[command(flatten)]
    #[serde(flatten)]
    shown: IndexFlags,

    /// GELU in place of ReLU
    #[arg(long)]
    gelu: bool,
}

/// One eigenfunction.
#[derive(Serialize)]
struct Row {
    /// Counted from 1.
    index: usize,
    /// Its eigenvalue, as a part of the trace.
    share: f64,
    /// Inputs whose label differs.
    flipped: usize,
    /// Inputs whose label differs for the kernel of the gradients without their mean.
    flipped_centred: usize,
    /// Inputs whose label the certificate leaves open.
    uncertain: usize,
    /// ||K phi - lambda phi||, and the distance to the next eigenvalue; as parts of the trace.
    residual: f64,
    gap: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(1_500, 500),
        test: Size::new(500, 250),
        epochs: Size::new(1, 1),
        ..Defaults::default()
    });
    let common = &flags.common;
    // A centred kernel has one eigenfunction less.
    let indices = flags.shown.up_to(common.train + common.test - 1)?;
    let run = common.start("label_flips")?;
    let source = DataPool::load(&run, common)?;
    let mut experiment = source.experiment(common)?;
    if flags.gelu {
        let (_, channels, height, width) = experiment.images.dims4()?;
        let input = [channels, height, width];
        experiment.network = source.networks().binary_network(&input, Activation::Gelu)?;
    }
    // Both kernels are of the f32 weights and images.
    let double = experiment.to_dtype(DType::F64)?.kernel(&run)?;
    let single = experiment.kernel(&run)?;
    let rows = rows(&run, &double, &single, &indices)?;
    run.save_table("label_flips", &rows)?;
    run.save_figure("labels", &figure(common, &rows))?;
    let moved = |(a, b): &(f64, f64)| (a - b).abs() > KINK * b;
    let norms = single.gram.diagonal().into_iter().zip(double.gram.diagonal());
    let kinks = norms.filter(moved).count();
    let results = json!({ "origin": source.origin(), "inputs_past_a_kink": kinks });
    run.finish(common.seed, &flags, &results)?;
    Ok(())
}

fn rows(
    run: &Run,
    double: &InitialKernel,
    single: &InitialKernel,
    indices: &[usize],
) -> Result<Vec<Row>> {
    let k = indices.last().copied().unwrap_or(1);
    // One pair more gives the gap below the last.
    let (truth, found) = (double.eigenpairs(run, k + 1)?, single.eigenpairs(run, k + 1)?);
    let truth_centred = double.centred()?.eigenpairs(run, k)?;
    let found_centred = single.centred()?.eigenpairs(run, k)?;
    let residuals = residual_norms(&double.gram, &found.clone().truncate(k)?)?;
    let trace = double.gram.trace()?;
    let row = |&index: &usize| {
        let (j, residual) = (index - 1, residuals[index - 1]);
        let (value, phi) = found.pair(j)?;
        let others = truth.values().iter().enumerate().filter(|(i, _)| *i != j);
        let gap = others.map(|(_, other)| (other - value).abs()).fold(f64::INFINITY, f64::min);
        Ok(Row {
            index,
            share: truth.values()[j] / trace,
            flipped: flips(&truth, &found, j)?,
            flipped_centred: flips(&truth_centred, &found_centred, j)?,
            // No entry is larger than 1.
            uncertain: uncertain_labels(phi, (2.0_f64.sqrt() * residual / gap).min(1.0))?,
            residual: residual / trace,
            gap: gap / trace,
        })
    };
    indices.iter().map(row).collect()
}

/// Labels of eigenfunction j that differ, whichever sign either has.
fn flips(a: &Eigenpairs, b: &Eigenpairs, j: usize) -> Result<usize> {
    let (a, b) = (BinaryTarget::from_pair(a, j)?, BinaryTarget::from_pair(b, j)?);
    let differ = a.labels().iter().zip(b.labels()).filter(|(a, b)| a != b).count();
    Ok(differ.min(a.len() - differ))
}

fn figure(common: &CommonFlags, rows: &[Row]) -> FigureGrid {
    let n = (common.train + common.test) as f64;
    let index = || Axis::log("eigenfunction index");
    let curve = |name: &str, color: usize, value: &dyn Fn(&Row) -> f64| {
        let points = rows.iter().map(|row| (row.index as f64, value(row)));
        Series::new(name, points.collect()).color(color)
    };
    let labels = Figure::new(index(), Axis::linear("labels").percent())
        .series(curve("not certified", 2, &|row| row.uncertain as f64 / n))
        .series(curve("flipped", 0, &|row| row.flipped as f64 / n))
        .series(curve("flipped, centred", 1, &|row| row.flipped_centred as f64 / n));
    let spectrum = Figure::new(index(), Axis::log("part of the trace"))
        .series(curve("eigenvalue", 0, &|row| row.share))
        .series(curve("gap", 2, &|row| row.gap))
        .series(curve("residual", 1, &|row| row.residual));
    let seed = common.seed;
    FigureGrid::row(vec![labels, spectrum])
        .title(common.title())
        .note(format!("{n} images, f32 against f64 at initialisation, seed {seed}."))
}
