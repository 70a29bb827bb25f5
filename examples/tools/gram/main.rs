//! Empirical NTK Gram matrix of your network on your inputs; see `--help`.

#![forbid(unsafe_code)]

mod assembly;
mod exit;
mod flags;
mod results;
mod sample;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, ensure};
use assembly::{Assembled, GramJob};
use clap::Parser;
use entk::{
    gram::{ErrorEstimate, Store, plan::Plan, product_rate},
    linearize::Jacobian,
    models::Model,
    spectral::{Eigenpairs, Gram, eigh},
};
use entk_examples::{Elapsed, ModelName, Run, RunFolder, peak_rss_mb};
use flags::{Command, Flags};
use results::{GramSummary, LabelSummary};
use sample::{Sample, parameters, read_inputs};

/// The K of the paper's energy concentrations.
const TOP: usize = 50;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let result = match flags.command {
        Some(Command::Finish { export }) => finish(&flags, export),
        None => compute(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

/// Commits the parts of a store.
fn finish(flags: &Flags, export: bool) -> Result<()> {
    let folder = RunFolder::create("gram", flags.out.as_deref())?;
    let store = Store::open_partial(folder.file(assembly::STORE))?;
    let commit = store.finish()?;
    if export {
        store.export(folder.file("gram.npy"))?;
    }
    let shown = store.folder().display();
    Ok(writeln!(std::io::stdout(), "{shown}: {} tiles, BLAKE3 {}", commit.tiles, commit.root)?)
}

fn compute(flags: &Flags) -> Result<()> {
    let stop = exit::stop_on_signals()?;
    let device = flags.device.open()?;
    let run = Run::start("gram", flags.out.as_deref())?;
    let networks = sample::networks(&run, flags, &device)?;
    let sample = Sample::read(flags, &networks, &device)?;
    let network = networks.network(&sample.inputs.dims()[1..], flags.activation.into())?;
    let params = parameters(flags, &networks, &network, &device)?;
    leading(flags, &sample)?;
    let (inputs, stop) = (&sample.inputs, &*stop);
    let mut job = GramJob {
        flags,
        networks: &networks,
        network: &network,
        params: &params,
        inputs,
        stop,
        products: None,
    };
    let plan = job.plan()?;
    if flags.dry_run {
        return assembly::show(&plan, flags);
    }
    assembly::check(&plan, flags)?;
    results::clear(run.folder())?;
    let products = assembly::products(&run, flags, inputs, stop)?;
    job.products = products.as_ref();
    // Planned again: products that are given need not be computed.
    let plan = if products.is_some() { job.plan()? } else { plan };

    match outcome(&run, &job, &plan)? {
        Some(outcome) => conclude(run, &job, &sample, outcome),
        None => Ok(()),
    }
}

/// A finished kernel and what it took.
struct Outcome {
    gram: Option<Gram>,
    trace: f64,
    kept_tiles: Option<usize>,
    error: ErrorEstimate,
    time: Elapsed,
    gflops: f64,
    peak_rss_mb: Option<f64>,
    planned_mb: f64,
}

/// Assembles the kernel and writes it; nothing more is done after one part of several.
fn outcome(run: &Run, job: &GramJob<'_>, plan: &Plan) -> Result<Option<Outcome>> {
    let planned_mb = peak_rss_mb().unwrap_or(0.0).max(plan.peak() as f64 / 1e6);
    let assembled = job.assemble(run)?;
    let peak_rss_mb = peak_rss_mb();
    let time = run.stages().of("gram").context("the gram stage has no time")?;
    let error = job.estimate_error(&assembled)?;
    let (gram, trace, kept_tiles) = match assembled {
        Assembled::Part(part) => {
            say_part(&part.store, part.computed, part.kept)?;
            return Ok(None);
        }
        Assembled::Memory(gram) => {
            let trace = gram.trace()?;
            (write_gram(run, gram)?, trace, None)
        }
        Assembled::Store { store, kept } => {
            let trace = store.diagonal()?.iter().sum();
            (read_gram(run, job.flags, &store)?, trace, Some(kept))
        }
    };
    let gflops = (plan.sweep_operations() + plan.operations()) / time.wall_s / 1e9;
    Ok(Some(Outcome { gram, trace, kept_tiles, error, time, gflops, peak_rss_mb, planned_mb }))
}

/// Everything that follows from the kernel, and the record.
fn conclude(run: Run, job: &GramJob<'_>, sample: &Sample, outcome: Outcome) -> Result<()> {
    let GramJob { flags, network, params, inputs, .. } = *job;
    let Outcome { gram, kept_tiles, error, time, .. } = outcome;
    results::write_outputs(&run.folder().file("outputs.npy"), network, params, inputs)?;
    write_cross(&run, job)?;
    let pairs = gram.as_ref().map(|gram| decompose(&run, flags, gram)).transpose()?.flatten();
    let top = leading(flags, sample)?;
    let jacobian = Jacobian::new(network, params, inputs)?;
    let labels =
        (sample.targets.as_ref()).map(|y| LabelSummary::new(&jacobian, pairs.as_ref(), y, top));
    let values = pairs.as_ref().map(Eigenpairs::values);
    let summary = GramSummary {
        inputs: inputs.dim(0)?,
        parameters: params.count(),
        stride_padding: flags.network.model.built_in().and_then(ModelName::stride_padding),
        trace: outcome.trace,
        kernel_s: time.wall_s,
        cpu_s: time.cpu_s,
        gflops: (kept_tiles.unwrap_or(0) == 0).then_some(outcome.gflops),
        product_gflops: flags.rate.then(|| product_rate(flags.dtype.into()) / 1e9),
        peak_rss_mb: outcome.peak_rss_mb,
        planned_mb: outcome.planned_mb,
        kept_tiles,
        largest_error: error.largest,
        rms_error: error.rms,
        largest_eigenvalue: values.and_then(|values| values.first().copied()),
        smallest_eigenvalue: values.and_then(|values| values.last().copied()),
        labels: labels.transpose()?,
    };
    run.finish(flags.seed, flags, &summary)?;
    if flags.json { print_timing(flags, &summary, time) } else { Ok(()) }
}

fn say_part(store: &Store, computed: usize, kept: usize) -> Result<()> {
    let shown = store.folder().display();
    let line = format!("{shown}: {computed} tiles computed, {kept} kept; then `gram finish`");
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn write_gram(run: &Run, gram: Gram) -> Result<Option<Gram>> {
    let shape = [gram.n(), gram.n()];
    results::write_matrix(&run.folder().file("gram.npy"), shape, gram.entries())?;
    Ok(Some(gram))
}

/// Reads the store back, unless nothing is asked that needs the whole kernel.
fn read_gram(run: &Run, flags: &Flags, store: &Store) -> Result<Option<Gram>> {
    if flags.export {
        store.export(run.folder().file("gram.npy"))?;
    }
    if flags.no_eigen { Ok(None) } else { Ok(Some(store.gram()?)) }
}

/// Number of leading eigenvectors for the energies; more than there are is refused before any work.
fn leading(flags: &Flags, sample: &Sample) -> Result<usize> {
    let n = sample.inputs.dim(0)?;
    let top = flags.top.unwrap_or(TOP.min(n));
    ensure!(
        top <= n,
        "--top {top}: expected at most the number of inputs, {n}; lower --top or raise --n"
    );
    Ok(top)
}

fn write_cross(run: &Run, job: &GramJob<'_>) -> Result<()> {
    let GramJob { flags, networks, network, inputs, .. } = job;
    let Some(path) = &flags.cross else { return Ok(()) };
    let others = read_inputs(path, flags, networks, None)?.0.to_device(inputs.device())?;
    let cross = run.stage("cross", 1, |_| {
        let cross = job.assembly().and_then(|assembly| Ok(assembly.cross(&others)?));
        cross.with_context(|| {
            format!("--cross {} for inputs {:?}", path.display(), network.input_shape())
        })
    })?;
    let shape = [cross.rows(), cross.cols()];
    results::write_matrix(&run.folder().file("cross.npy"), shape, cross.entries())
}

fn decompose(run: &Run, flags: &Flags, gram: &Gram) -> Result<Option<Eigenpairs>> {
    if flags.no_eigen {
        return Ok(None);
    }
    let pairs = run.stage("eigenpairs", 1, |_| Ok(eigh(gram)?))?;
    results::write_pairs(run.folder(), &pairs)?;
    Ok(Some(pairs))
}

/// One line of JSON for side-by-side timing.
fn print_timing(flags: &Flags, summary: &GramSummary, kernel: Elapsed) -> Result<()> {
    let line = serde_json::json!({
        "peer": "entk",
        "model": flags.network.model,
        "n": summary.inputs,
        "dtype": flags.dtype,
        "kernel_s": kernel.wall_s,
        "cpu_s": kernel.cpu_s,
        "peak_rss_mb": summary.peak_rss_mb,
        "trace": summary.trace,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
