//! Empirical NTK Gram matrix of your network on your inputs; see `--help`.

mod assembly;
pub(crate) mod flags;
mod label_summary;
mod results;
mod sample;

use std::{io::Write, time::Duration};

use anyhow::{Context, Result};
use assembly::{Assembled, GramJob};
use entk::{
    gram::{ErrorEstimate, Store, plan::Plan, product_rate, store::Part},
    linearize::Jacobian,
    models::Model,
    spectral::{Eigenpairs, Gram, KernelRows, SymmetricOperator, eigh},
};
use entk_cli::{
    ActivationName, Elapsed, LabelTargets, NetworkSource, OutputChoice, Run, RunFolder,
    ensure_input, peak_rss_mb, read_inputs, stop_on_signals,
};
use flags::{Command, Flags};
use label_summary::LabelSummary;
use results::GramSummary;
use sample::Sample;

/// Time after a signal for the tile in hand; whatever is not written by then is computed again.
const GRACE: Duration = Duration::from_secs(4);
/// The K of the paper's energy concentrations.
const TOP: usize = 50;

pub(crate) fn run(flags: &Flags) -> Result<()> {
    match flags.command {
        Some(Command::Finish { export }) => finish(flags, export),
        Some(Command::Missing { parts }) => missing(flags, parts),
        None => compute(flags),
    }
}

/// Commits the parts of a store.
fn finish(flags: &Flags, export: bool) -> Result<()> {
    let (folder, store) = stored(flags)?;
    let commit = store.finish()?;
    if export {
        store.export(folder.file("gram.npy"))?;
    }
    let shown = store.folder().display();
    Ok(writeln!(std::io::stdout(), "{shown}: {} tiles, BLAKE3 {}", commit.tiles, commit.root)?)
}

/// The store in the folder of results, which has to be there.
fn stored(flags: &Flags) -> Result<(RunFolder, Store)> {
    let folder = RunFolder::at("gram", flags.out.as_deref());
    let path = folder.file(assembly::STORE);
    ensure_input(path.is_dir(), || {
        format!("{}: no such store; give the --out of `gram --store`", path.display())
    })?;
    Ok((folder, Store::open_partial(path)?))
}

/// Prints the parts of a store that are to be computed.
fn missing(flags: &Flags, parts: usize) -> Result<()> {
    let (_, store) = stored(flags)?;
    let (missing, grid) = (store.missing()?, store.grid());
    let mut found = Vec::new();
    for (at, share) in Part::shares(parts, grid)?.iter().enumerate() {
        if share.iter().any(|tile| missing.binary_search(tile).is_ok()) {
            found.push((at + 1).to_string());
        }
    }
    Ok(writeln!(std::io::stdout(), "{}", found.join(","))?)
}

/// What a signal makes the program say.
fn stopping(keeps: bool) -> &'static str {
    if keeps {
        "stopping; finished tiles are kept, and the same command goes on"
    } else {
        "stopping; nothing is kept without --store"
    }
}

fn compute(flags: &Flags) -> Result<()> {
    let stop = stop_on_signals(stopping(flags.store), Some(GRACE))?;
    let device = flags.device.open()?;
    let run = Run::start_in("gram", flags.out.as_deref(), assembly::folder_use(flags)?)?;
    let networks = NetworkSource::open(&run, &flags.network, flags.dtype.into(), &device)?;
    if flags.activation == ActivationName::Gelu {
        run.note("--activation gelu: the tanh form, as flax has it; gelu-erf is PyTorch's default");
    }
    let network = sample::network(&networks, flags)?;
    let kernel = flags.outputs.of(network.outputs())?;
    let sample = Sample::read(&run, flags, &networks, &device)?;
    let targets = sample.targets(flags, &kernel)?;
    let params = networks.start(&network, flags.seed)?;
    let (inputs, stop) = (&sample.inputs, &*stop);
    let mut job = GramJob {
        flags,
        networks: &networks,
        network: &network,
        params: &params,
        inputs,
        stop,
        products: None,
        kernel: &kernel,
    };
    leading(&job)?;
    let plan = job.plan()?;
    if flags.dry_run {
        return assembly::show(&plan, flags);
    }
    assembly::check(&plan, flags)?;
    job.check_estimate()?;
    run.begin_results()?;
    results::clear(run.folder())?;
    let products = assembly::products(&run, flags, inputs, stop)?;
    job.products = products.as_ref();
    // Planned again: products that are given need not be computed.
    let plan = if products.is_some() { job.plan()? } else { plan };

    match outcome(&run, &job, &plan)? {
        Some(outcome) => conclude(run, &job, targets.as_ref(), outcome),
        None => Ok(()),
    }
}

/// A finished kernel and what it took.
struct Outcome {
    /// The kernel in memory, unless nothing needs it there.
    gram: Option<Gram>,
    /// Its store, if it has one.
    store: Option<Store>,
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
    job.ensure_right(&assembled, &error)?;
    let (gram, store, trace, kept_tiles) = match assembled {
        Assembled::Part(part) => {
            say_part(&part.store, part.computed, part.kept)?;
            return Ok(None);
        }
        Assembled::Memory(gram) => {
            let trace = gram.trace()?;
            write_gram(run, job, &gram)?;
            (Some(gram), None, trace, None)
        }
        Assembled::Store { store, kept } => {
            let trace = store.diagonal()?.iter().sum();
            (read_gram(run, job, &store)?, Some(store), trace, Some(kept))
        }
    };
    let gflops = (plan.sweep_operations() + plan.operations()) / time.wall_s / 1e9;
    let outcome =
        Outcome { gram, store, trace, kept_tiles, error, time, gflops, peak_rss_mb, planned_mb };
    Ok(Some(outcome))
}

/// Everything that follows from the kernel, and the record.
fn conclude(
    run: Run,
    job: &GramJob<'_>,
    targets: Option<&LabelTargets>,
    outcome: Outcome,
) -> Result<()> {
    let GramJob { flags, network, params, inputs, .. } = *job;
    let Outcome { ref gram, kept_tiles, error, time, .. } = outcome;
    results::write_outputs(&run.folder().file("outputs.npy"), network, params, inputs)?;
    write_cross(&run, job)?;
    let pairs = gram.as_ref().map(|gram| decompose(&run, flags, gram)).transpose()?.flatten();
    let labels = targets.map(|targets| summarize_labels(job, &outcome, pairs.as_ref(), targets));
    let values = pairs.as_ref().map(Eigenpairs::values);
    let summary = GramSummary {
        inputs: inputs.dim(0)?,
        kernel: job.kernel.clone(),
        rows: job.rows()?,
        parameters: params.count(),
        stride_padding: flags.network.stride_padding(),
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

/// What the kernel, in memory or in its store, says about the targets.
fn summarize_labels(
    job: &GramJob<'_>,
    outcome: &Outcome,
    pairs: Option<&Eigenpairs>,
    targets: &LabelTargets,
) -> Result<LabelSummary> {
    let jacobian = Jacobian::new(job.network, job.params, job.inputs)?;
    let top = leading(job)?;
    let of_kernel = |kernel: &dyn SymmetricOperator| {
        let pairs = pairs.map(|pairs| (pairs, top));
        LabelSummary::new(job.kernel, kernel, &jacobian, pairs, targets)
    };
    match (&outcome.gram, &outcome.store) {
        (Some(gram), _) => of_kernel(gram),
        (None, Some(store)) => of_kernel(&store.operator()?),
        (None, None) => anyhow::bail!("the kernel is neither in memory nor in a store"),
    }
}

fn say_part(store: &Store, computed: usize, kept: usize) -> Result<()> {
    let shown = store.folder().display();
    let line = format!(
        "{shown}: {computed} tiles computed, {kept} kept; then `entk gram finish`, or the same \
         command with --part 1/1 for outputs, eigenpairs and record"
    );
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn write_gram(run: &Run, job: &GramJob<'_>, gram: &Gram) -> Result<()> {
    if job.kernel.outputs == OutputChoice::Pairs {
        return results::write_blocks(run.folder(), gram, job.kernel.classes);
    }
    let shape = [gram.n(), gram.n()];
    results::write_matrix(&run.folder().file("gram.npy"), shape, gram.entries())
}

/// Reads the store back, unless nothing is asked that needs the whole kernel.
fn read_gram(run: &Run, job: &GramJob<'_>, store: &Store) -> Result<Option<Gram>> {
    if job.flags.export {
        store.export(run.folder().file("gram.npy"))?;
    }
    if job.kernel.outputs == OutputChoice::Pairs {
        let rows: &dyn KernelRows = &store.rows()?;
        results::write_blocks(run.folder(), rows, job.kernel.classes)?;
    }
    if job.flags.no_eigen { Ok(None) } else { Ok(Some(store.gram()?)) }
}

/// Number of leading eigenvectors for the energies; more than there are is refused before any work.
fn leading(job: &GramJob<'_>) -> Result<usize> {
    let rows = job.rows()?;
    let top = job.flags.top.unwrap_or(TOP.min(rows));
    ensure_input(top <= rows, || {
        format!(
            "--top {top}: expected at most the rows of the kernel, {rows}; lower --top or raise --n"
        )
    })?;
    Ok(top)
}

fn write_cross(run: &Run, job: &GramJob<'_>) -> Result<()> {
    let GramJob { flags, networks, network, inputs, .. } = job;
    let Some(path) = &flags.cross else { return Ok(()) };
    let (others, _) = read_inputs(run, networks, path, flags.layout, None)?;
    let others = others.to_device(inputs.device())?;
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
        "outputs": summary.kernel.outputs,
        "classes": summary.kernel.classes,
        "dtype": flags.dtype,
        "kernel_s": kernel.wall_s,
        "cpu_s": kernel.cpu_s,
        "peak_rss_mb": summary.peak_rss_mb,
        "trace": summary.trace,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
