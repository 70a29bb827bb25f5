//! How many labels sign(phi_j) change when the kernel is computed in f32 in place of f64, at initialisation; for the
//! kernel as it is, and with the mean gradient of the sample taken out.

#![forbid(unsafe_code)]

use std::io::Write;

use anyhow::{Result, ensure};
use candle_core::DType;
use clap::Parser;
use entk::models::Activation;
use entk::spectral::{BinaryTarget, Eigenpairs, EigshConfig, Gram, eigsh};
use entk_examples::{
    CommonFlags, Defaults, Experiment, IndexList, ModelName, Run, Size, Source,
    parse_flags,
};
use serde::Serialize;

/// Eigenfunctions by default.
const INDICES: [usize; 5] = [1, 10, 100, 500, 1000];

/// A squared gradient norm that differs by more than this between the precisions has not only been rounded: a ReLU
/// is on in one and off in the other. Rounding alone stays near 1e-6.
const KINK: f64 = 1e-5;

/// Labels of eigenfunctions that differ between f32 and f64. Nothing is trained: --epochs has no effect.
#[derive(Parser, Serialize)]
#[command(name = "label_flips", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default: 1,10,100,500,1000, as far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,

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
    /// The same for the kernel of the gradients without their mean.
    flipped_centred: usize,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(1_500, 500),
        test: Size::new(500, 250),
        epochs: Size::new(1, 1),
        ..Defaults::default()
    });
    let mut run = Run::start("label_flips", flags.common.out.as_deref())?;
    let source = Source::load(&flags.common)?;
    let mut experiment = source.experiment(&flags.common)?;
    if flags.gelu {
        let (_, channels, height, width) = experiment.images.dims4()?;
        let (input, common) = ([channels, height, width], &flags.common);
        experiment.network = common.model.network(input, common.width, Activation::Gelu)?;
    }
    let indices = indices(&flags, experiment.labels.len())?;

    let double = assemble(&mut run, &experiment, DType::F64)?;
    let (trace, norms) = (double.trace()?, double.diagonal());
    let reference = both(&mut run, double, &indices)?;
    let single = assemble(&mut run, &experiment, DType::F32)?;
    let moved = |(a, b): &(f64, &f64)| (a - **b).abs() > KINK * **b;
    let kinks = single.diagonal().into_iter().zip(&norms).filter(moved).count();
    let found = both(&mut run, single, &indices)?;

    let mut rows = Vec::new();
    for index in indices {
        let [flipped, flipped_centred] =
            [0, 1].map(|kernel| flips(&reference[kernel], &found[kernel], index - 1));
        let share = reference[0].values()[index - 1] / trace;
        rows.push(Row { index, share, flipped: flipped?, flipped_centred: flipped_centred? });
    }
    run.save_table("label_flips", &rows)?;
    print(norms.len(), &rows)?;
    let results = serde_json::json!({ "origin": source.origin(), "inputs_past_a_kink": kinks });
    run.finish(flags.common.seed, &flags, &results)?;
    Ok(())
}

/// The indices asked for, or those of the default that the sample has; a centred kernel has one less.
fn indices(flags: &Flags, n: usize) -> Result<Vec<usize>> {
    ensure!(n >= 2, "two images at least");
    match &flags.indices {
        None => Ok(INDICES.into_iter().filter(|index| *index < n).collect()),
        Some(list) => {
            list.check_at_most(n - 1, "eigenfunctions")?;
            Ok(list.as_slice().to_vec())
        }
    }
}

/// The kernel in this precision: weights and images are those of f32 in both.
fn assemble(run: &mut Run, experiment: &Experiment, dtype: DType) -> Result<Gram> {
    let (theta, images) = (experiment.theta0.to_dtype(dtype)?, experiment.images.to_dtype(dtype)?);
    experiment.gram_at(run, &theta, &images)
}

/// Leading eigenpairs of a kernel, and of the same without the mean gradient.
fn both(run: &mut Run, gram: Gram, indices: &[usize]) -> Result<[Eigenpairs; 2]> {
    let k = indices.iter().copied().max().unwrap_or(1);
    let top = |gram: &Gram| anyhow::Ok(eigsh(gram, k, &EigshConfig::default())?.pairs);
    let name = format!("eigenpairs, {:?}", gram.precision());
    run.stage(&name, 1, |_| Ok([top(&gram)?, top(&gram.centred()?)?]))
}

/// Labels of eigenfunction j that differ, whichever sign either has.
fn flips(a: &Eigenpairs, b: &Eigenpairs, j: usize) -> Result<usize> {
    let (a, b) = (BinaryTarget::from_pair(a, j)?, BinaryTarget::from_pair(b, j)?);
    let differ = a.labels().iter().zip(b.labels()).filter(|(a, b)| a != b).count();
    Ok(differ.min(a.len() - differ))
}

fn print(inputs: usize, rows: &[Row]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "labels flipped, of {inputs}\n{:>6} {:>10} {:>8} {:>8}",
        "index", "share", "as is", "centred"
    )?;
    for Row { index, share, flipped, flipped_centred } in rows {
        writeln!(out, "{index:>6} {share:>10.2e} {flipped:>8} {flipped_centred:>8}")?;
    }
    Ok(())
}
