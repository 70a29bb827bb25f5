//! Leading eigenpairs of a Gram matrix, with a certificate; see `--help`.

#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use entk::{
    data::npy::{self, Data},
    device::{files, memory::ensure},
    gram::Store,
    spectral::{
        CertifiedPairs, Eigenpairs, EigshConfig, Gram, KernelRows, OutputBlocks, SymmetricOperator,
        eigh_bytes, eigsh,
    },
};
use entk_examples::{
    EXIT_CODES, KernelChoice, OutputChoice, OutputFlags, Run, ensure_input, exit, parse_positive,
    parse_seed, parse_size,
    plot::{Axis, Figure, Series},
    refused, say, takes_negative,
};
use serde::Serialize;

/// Leading eigenpairs of a Gram matrix, with their residuals.
///
/// Writes eigvals.npy (descending), eigvecs.npy (one eigenvector a row), certificate.json, the
/// spectrum as spectrum.svg, .png and .csv, and record.json, which comes last: a folder without it
/// was not finished.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "eigen", version, verbatim_doc_comment, after_help = EXIT_CODES, mut_args(takes_negative))]
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
    #[arg(long, value_name = "C", value_parser = parse_size)]
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<usize>,

    /// Number of eigenpairs
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = parse_size)]
    k: usize,

    /// Largest residual, as a fraction of the largest eigenvalue
    #[arg(long, value_name = "X", default_value_t = 1e-10, value_parser = parse_positive)]
    tolerance: f64,

    /// Columns multiplied at a time [default: 32 in memory, 128 from a store]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    block: Option<usize>,

    /// Give up after so many minutes
    #[arg(long, value_name = "MINUTES", value_parser = parse_positive)]
    max_minutes: Option<f64>,

    /// Seed of the random start
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
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

fn main() -> ExitCode {
    exit(eigenpairs())
}

fn eigenpairs() -> Result<()> {
    let flags = Flags::parse();
    let kernel = kernel(&flags)?;
    config(&flags)?.check()?;
    let run = Run::start("eigen", flags.out.as_deref())?;
    let top = if flags.gram.is_dir() {
        of_store(&run, &flags, kernel.as_ref())?
    } else {
        ensure_file_fits(&flags, kernel.as_ref())?;
        let gram = run.stage("read", 1, |_| read(&flags.gram))?;
        note_negative(&run, &flags.gram, &gram.diagonal());
        match reduced(&flags, kernel.as_ref(), &gram)? {
            Some(reduced) => solve(&run, &flags, &reduced)?,
            None => solve(&run, &flags, &gram)?,
        }
    };
    let (pairs, folder) = (&top.pairs, run.folder());
    note_indefinite(&run, pairs);
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

/// Says which entry of the diagonal is negative, if one is: no kernel of gradients has such.
fn note_negative(run: &Run, path: &Path, diagonal: &[f64]) {
    if let Some(i) = diagonal.iter().position(|x| *x < 0.0) {
        run.note(format_args!(
            "{}: entry ({i}, {i}) is {}: the matrix is not positive semi-definite, and so no kernel \
             of gradients",
            path.display(),
            diagonal[i]
        ));
    }
}

/// Says that an eigenvalue is negative beyond round-off.
fn note_indefinite(run: &Run, pairs: &Eigenpairs) {
    let largest = pairs.values().iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let bound = 10.0 * pairs.dim() as f64 * f64::from(f32::EPSILON) * largest;
    if let Some((j, x)) = pairs.values().iter().enumerate().find(|(_, x)| **x < -bound) {
        run.note(format_args!(
            "eigenvalue {} is {x:e}, negative beyond round-off: the matrix is not positive \
             semi-definite, and so no kernel of gradients",
            j + 1
        ));
    }
}

/// What the rows of the Gram are, where --classes says it.
fn kernel(flags: &Flags) -> Result<Option<KernelChoice>> {
    let Some(classes) = flags.classes else { return Ok(None) };
    let outputs = flags.outputs.unwrap_or(OutputChoice::Full);
    Ok(Some(OutputFlags { outputs: Some(outputs) }.of_eigenvectors(classes)?))
}

/// Eigenpairs of a store: of its tiles, or of what is taken out of them.
fn of_store(run: &Run, flags: &Flags, kernel: Option<&KernelChoice>) -> Result<CertifiedPairs> {
    let store = Store::open(&flags.gram)?;
    ensure_fits(&flags.gram, flags, kernel, store.grid().n(), 0)?;
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

/// Refuses a file whose entries and pairs memory cannot hold, from its header.
fn ensure_file_fits(flags: &Flags, kernel: Option<&KernelChoice>) -> Result<()> {
    let header = npy::describe(&flags.gram)?;
    ensure_square(&flags.gram, &header.shape)?;
    ensure_input(flags.k <= header.shape[0], || {
        format!("--k {}: {} has {} rows; lower --k", flags.k, flags.gram.display(), header.shape[0])
    })?;
    ensure_fits(&flags.gram, flags, kernel, header.shape[0], header.bytes)
}

/// Refuses pairs that memory cannot hold beside so many bytes of the kernel.
fn ensure_fits(
    path: &Path,
    flags: &Flags,
    kernel: Option<&KernelChoice>,
    rows: usize,
    held: u64,
) -> Result<()> {
    let taken = kernel.filter(|kernel| kernel.outputs != OutputChoice::Full);
    let solved = taken.map_or(rows, |kernel| rows / kernel.classes);
    let square = (solved as u64).saturating_mul(solved as u64).saturating_mul(8);
    let is_dense = config(flags)?.bytes(solved, flags.k) == eigh_bytes(solved);
    // What is taken out of a kernel, or a store that is solved as a whole, is a matrix of its own.
    let own = if taken.is_some() || (is_dense && held == 0) { square } else { 0 };
    let pairs = config(flags)?.bytes(solved, flags.k).saturating_add(own);
    let what = format!("{}: {} eigenpairs of {solved} rows", path.display(), flags.k);
    let remedy =
        "ask for fewer with --k, or assemble with `gram --store`, which is never read whole";
    Ok(ensure(&what, held.saturating_add(pairs), None, remedy)?)
}

fn ensure_square(path: &Path, shape: &[usize]) -> Result<()> {
    ensure_input(matches!(shape, [rows, cols] if rows == cols), || {
        format!("{}: expected a square matrix, found shape {shape:?}", path.display())
    })
}

fn config(flags: &Flags) -> Result<EigshConfig> {
    let max_time = flags.max_minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes));
    Ok(EigshConfig {
        tolerance: flags.tolerance,
        block: flags.block,
        max_time: max_time.transpose().map_err(|_| refused("--max-minutes: too long"))?,
        seed: flags.seed,
        ..EigshConfig::default()
    })
}

fn solve<K: SymmetricOperator>(run: &Run, flags: &Flags, operator: &K) -> Result<CertifiedPairs> {
    let config = config(flags)?;
    run.stage("eigenpairs", 1, |_| Ok(eigsh(operator, flags.k, &config)?))
}

fn read(path: &Path) -> Result<Gram> {
    let (shape, data) = npy::read(path)?.into_parts();
    let named = || path.display().to_string();
    ensure_square(path, &shape)?;
    Ok(match data {
        Data::F32(entries) => Gram::from_symmetric_f32(shape[0], entries).with_context(named)?,
        Data::F64(entries) => Gram::from_symmetric_f64(shape[0], entries).with_context(named)?,
        _ => {
            return Err(refused(format!(
                "{}: expected f32 or f64 entries; convert with astype",
                path.display()
            )));
        }
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
