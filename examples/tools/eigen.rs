//! Leading eigenpairs of a Gram matrix, with a certificate; see `--help`.

#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use entk::{
    data::npy::{self, Data},
    device::files,
    gram::Store,
    spectral::{
        CertifiedPairs, EigshConfig, Gram, KernelRows, OutputBlocks, SymmetricOperator, eigsh,
    },
};
use entk_examples::{
    KernelChoice, OutputChoice, OutputFlags, Run, ensure_input,
    plot::{Axis, Figure, Series},
    say,
};
use serde::Serialize;

/// Leading eigenpairs of a Gram matrix, with their residuals.
///
/// Writes eigvals.npy (descending), eigvecs.npy (one eigenvector a row), certificate.json, the
/// spectrum as spectrum.svg, .png and .csv, and record.json, which comes last: a folder without it
/// was not finished.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "eigen", version, verbatim_doc_comment)]
struct Flags {
    /// The Gram: a square .npy of f32 or f64, or the folder of a finished store of `gram --store`,
    /// read tile by tile and never whole
    #[arg(long, value_name = "FILE.npy|DIR")]
    gram: PathBuf,

    /// Kernel that is taken out of the Gram, a full one of --classes outputs: its trace, its sum
    /// or one class:K [default: the Gram as it is]
    #[arg(long, value_name = "trace|sum|full|class:K", requires = "classes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<OutputChoice>,

    /// Outputs C of the network whose full kernel the Gram is, rows n C + c
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u64).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<u64>,

    /// Number of eigenpairs
    #[arg(long, value_name = "K", default_value_t = 100)]
    k: usize,

    /// Largest residual, as a fraction of the largest eigenvalue
    #[arg(long, value_name = "X", default_value_t = 1e-10)]
    tolerance: f64,

    /// Columns multiplied at a time [default: 32 in memory, 128 from a store]
    #[arg(long, value_name = "N")]
    block: Option<usize>,

    /// Give up after so many minutes
    #[arg(long, value_name = "MINUTES")]
    max_minutes: Option<f64>,

    /// Seed of the random start
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Folder of the results [default: results/eigen]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How good the pairs are, and what they cost.
#[derive(Serialize)]
struct Certificate {
    /// Rows of the kernel whose pairs they are.
    rows: usize,
    inputs: usize,
    pairs: usize,
    solver: String,
    products: usize,
    restarts: usize,
    /// Largest |phi_i . phi_j - \[i = j\]|.
    orthogonality: f64,
    /// Largest residual over the largest eigenvalue.
    worst_residual: f64,
    /// ||K phi_j - lambda_j phi_j||, of every pair.
    residuals: Vec<f64>,
    /// Runs of eigenvalues closer than 1e-8 of the largest, first to one past the last, from 0.
    clusters: Vec<[usize; 2]>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let kernel = kernel(&flags)?;
    let run = Run::start("eigen", flags.out.as_deref())?;
    let top = if flags.gram.is_dir() {
        of_store(&run, &flags, kernel.as_ref())?
    } else {
        let gram = run.stage("read", 1, |_| read(&flags.gram))?;
        match reduced(&flags, kernel.as_ref(), &gram)? {
            Some(reduced) => solve(&run, &flags, &reduced)?,
            None => solve(&run, &flags, &gram)?,
        }
    };
    let (pairs, folder) = (&top.pairs, run.folder());
    run.begin_results()?;
    npy::write(folder.file("eigvals.npy"), &[pairs.len()], pairs.values())?;
    npy::write(folder.file("eigvecs.npy"), &[pairs.len(), pairs.dim()], pairs.vectors())?;
    let certificate = certificate(&top, kernel.as_ref());
    let json = serde_json::to_vec_pretty(&certificate)?;
    files::write(&folder.file("certificate.json"), &json)?;
    if pairs.values().iter().any(|value| *value > 0.0) {
        run.save_figure("spectrum", &spectrum(&top))?;
    } else {
        say("no eigenvalue is positive: spectrum.svg, on a logarithmic axis, is left out");
    }
    run.finish(
        flags.seed,
        &flags,
        &serde_json::json!({
            "kernel": kernel,
            "largest_eigenvalue": pairs.values().first(),
            "smallest_eigenvalue": pairs.values().last(),
            "worst_residual": certificate.worst_residual,
            "products": certificate.products,
        }),
    )?;
    Ok(())
}

/// What the rows of the Gram are, where --classes says it.
fn kernel(flags: &Flags) -> Result<Option<KernelChoice>> {
    let Some(classes) = flags.classes else { return Ok(None) };
    let outputs = flags.outputs.unwrap_or(OutputChoice::Full);
    let classes = usize::try_from(classes)?;
    Ok(Some(OutputFlags { outputs: Some(outputs) }.of_eigenvectors(classes)?))
}

/// Eigenpairs of a store: of its tiles, or of what is taken out of them.
fn of_store(run: &Run, flags: &Flags, kernel: Option<&KernelChoice>) -> Result<CertifiedPairs> {
    let store = Store::open(&flags.gram)?;
    let is_full = kernel.is_none_or(|kernel| kernel.outputs == OutputChoice::Full);
    if !is_full {
        let rows = run.stage("check", 1, |_| Ok(store.rows()?))?;
        let reduced = reduced(flags, kernel, &rows)?;
        return solve(run, flags, &reduced.context("a kernel that is taken out of another")?);
    }
    let operator = run.stage("check", 1, |_| Ok(store.operator()?))?;
    let (rows, classes) = (operator.n(), kernel.map_or(1, |kernel| kernel.classes));
    ensure_input(rows.is_multiple_of(classes), || {
        format!("--classes {classes}: {rows} rows are none of so many outputs; correct --classes")
    })?;
    solve(run, flags, &operator)
}

/// The kernel that --outputs takes out of a full one; none where it is the whole.
fn reduced(
    flags: &Flags,
    kernel: Option<&KernelChoice>,
    full: &dyn KernelRows,
) -> Result<Option<Gram>> {
    let Some(kernel) = kernel else { return Ok(None) };
    let blocks = OutputBlocks::new(full, kernel.classes)
        .with_context(|| format!("--classes {} of {}", kernel.classes, flags.gram.display()))?;
    Ok(match kernel.outputs {
        OutputChoice::Trace => Some(blocks.trace()?),
        OutputChoice::Sum => Some(blocks.sum()?),
        OutputChoice::Class(class) => Some(blocks.gram(class)?),
        OutputChoice::Full | OutputChoice::Pairs => None,
    })
}

fn solve<K: SymmetricOperator>(run: &Run, flags: &Flags, operator: &K) -> Result<CertifiedPairs> {
    let max_time = flags.max_minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes));
    let config = EigshConfig {
        tolerance: flags.tolerance,
        block: flags.block,
        max_time: max_time.transpose().context("--max-minutes must be a positive number")?,
        seed: flags.seed,
        ..EigshConfig::default()
    };
    run.stage("eigenpairs", 1, |_| Ok(eigsh(operator, flags.k, &config)?))
}

fn read(path: &Path) -> Result<Gram> {
    let (shape, data) = npy::read(path)?.into_parts();
    let square = matches!(shape.as_slice(), [rows, cols] if rows == cols);
    let named = || path.display().to_string();
    ensure!(square, "{}: expected a square matrix, found shape {shape:?}", path.display());
    Ok(match data {
        Data::F32(entries) => Gram::from_symmetric_f32(shape[0], entries).with_context(named)?,
        Data::F64(entries) => Gram::from_symmetric_f64(shape[0], entries).with_context(named)?,
        _ => anyhow::bail!("{}: expected f32 or f64 entries; convert with astype", path.display()),
    })
}

fn certificate(top: &CertifiedPairs, kernel: Option<&KernelChoice>) -> Certificate {
    let largest = top.pairs.values().first().map_or(0.0, |x| x.abs());
    let worst = top.residuals.iter().copied().fold(0.0, f64::max);
    Certificate {
        rows: top.pairs.dim(),
        inputs: top.pairs.dim() / kernel.map_or(1, KernelChoice::rows_per_example),
        pairs: top.pairs.len(),
        solver: format!("{:?}", top.solver),
        products: top.products,
        restarts: top.restarts,
        orthogonality: top.orthogonality,
        worst_residual: if worst == 0.0 { 0.0 } else { worst / largest },
        residuals: top.residuals.clone(),
        clusters: top.clusters.iter().map(|run| [run.start, run.end]).collect(),
    }
}

/// Eigenvalues and residuals against the index, from 1 as in the paper; zeros have no place on a
/// logarithmic axis.
fn spectrum(top: &CertifiedPairs) -> Figure {
    let indexed = |values: &[f64]| -> Vec<(f64, f64)> {
        let points = values.iter().enumerate().map(|(j, x)| (1.0 + j as f64, *x));
        points.filter(|(_, x)| *x > 0.0).collect()
    };
    Figure::new(Axis::log("eigenvalue index"), Axis::log("eigenvalue"))
        .series(Series::new("eigenvalue", indexed(top.pairs.values())).color(0))
        .series(Series::new("residual", indexed(&top.residuals)).color(1))
}
