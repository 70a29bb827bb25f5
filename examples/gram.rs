//! Empirical NTK Gram matrix of your network on your inputs; see `--help`.

#![forbid(unsafe_code)]

#[path = "gram_flags.rs"]
mod flags;
#[path = "gram_results.rs"]
mod results;
#[path = "gram_sample.rs"]
mod sample;

use std::io::Write;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use entk::gram::{GramConfig, cross_gram, gram_observed};
use entk::models::{Model, Network, Params};
use entk::spectral::{Eigenpairs, Gram, eigh};
use entk_examples::{Elapsed, Run, peak_rss_mb};

use flags::Flags;
use results::{LabelSummary, Summary};
use sample::{Sample, network, parameters, read_images};

/// The K of the paper's energy concentrations.
const TOP: usize = 50;

fn main() -> Result<()> {
    let flags = Flags::parse();
    let mut run = Run::start("gram", flags.out.as_deref())?;
    let sample = Sample::read(&flags)?;
    let network = network(&flags, &sample.inputs)?;
    let theta = parameters(&flags, &network)?;
    let top = leading(&flags, &sample)?;
    results::clear(run.folder())?;

    let gram = assemble(&mut run, &network, &theta, &sample)?;
    let peak_rss_mb = peak_rss_mb();
    let kernel = run.stages().of("gram").context("the gram stage has no time")?;
    let shape = [gram.n(), gram.n()];
    results::write_matrix(&run.folder().file("gram.npy"), shape, gram.entries())?;
    let outputs = run.folder().file("outputs.npy");
    results::write_outputs(&outputs, &network, &theta, &sample.inputs)?;
    write_cross(&mut run, &flags, &network, &theta, &sample)?;
    let pairs = decompose(&mut run, &flags, &gram)?;

    let labels =
        (sample.targets.as_ref()).map(|y| LabelSummary::new(&gram, pairs.as_ref(), y, top));
    let values = pairs.as_ref().map(Eigenpairs::values);
    let summary = Summary {
        inputs: gram.n(),
        parameters: theta.count(),
        trace: gram.trace()?,
        kernel_s: kernel.wall_s,
        cpu_s: kernel.cpu_s,
        peak_rss_mb,
        largest_eigenvalue: values.and_then(|values| values.first().copied()),
        smallest_eigenvalue: values.and_then(|values| values.last().copied()),
        labels: labels.transpose()?,
    };
    run.finish(flags.seed, &flags, &summary)?;
    if flags.json { print_timing(&flags, &summary, kernel) } else { Ok(()) }
}

/// Leading eigenvectors of the energies; refuses more than there are, before any work.
fn leading(flags: &Flags, sample: &Sample) -> Result<usize> {
    let n = sample.inputs.dim(0)?;
    let top = flags.top.unwrap_or(TOP.min(n));
    ensure!(
        top <= n,
        "--top {top}: expected at most the number of inputs, {n}; lower --top or raise --n"
    );
    Ok(top)
}

fn assemble(run: &mut Run, network: &Network, theta: &Params, sample: &Sample) -> Result<Gram> {
    run.stage("gram", 1, |stage| {
        let observe = |done: usize, total: usize| {
            stage.set_total(total as u64);
            stage.set_done(done as u64);
        };
        let config = GramConfig::default();
        Ok(gram_observed(network, theta, &sample.inputs, &config, &observe)?)
    })
}

fn write_cross(
    run: &mut Run,
    flags: &Flags,
    network: &Network,
    theta: &Params,
    sample: &Sample,
) -> Result<()> {
    let Some(path) = &flags.cross else { return Ok(()) };
    let others = read_images(path, flags.layout.into(), flags.dtype.into())?;
    let cross = run.stage("cross", 1, |_| {
        let config = GramConfig::default();
        let cross = cross_gram(network, theta, &sample.inputs, &others, &config);
        cross.with_context(|| {
            format!("--cross {} for inputs {:?}", path.display(), network.input_shape())
        })
    })?;
    let shape = [cross.rows(), cross.cols()];
    results::write_matrix(&run.folder().file("cross.npy"), shape, cross.entries())
}

fn decompose(run: &mut Run, flags: &Flags, gram: &Gram) -> Result<Option<Eigenpairs>> {
    if flags.no_eigen {
        return Ok(None);
    }
    let pairs = run.stage("eigenpairs", 1, |_| Ok(eigh(gram)?))?;
    results::write_pairs(run.folder(), &pairs)?;
    Ok(Some(pairs))
}

/// One line of JSON for side-by-side timing.
fn print_timing(flags: &Flags, summary: &Summary, kernel: Elapsed) -> Result<()> {
    let line = serde_json::json!({
        "peer": "entk",
        "model": flags.model,
        "n": summary.inputs,
        "dtype": flags.dtype,
        "kernel_s": kernel.wall_s,
        "cpu_s": kernel.cpu_s,
        "peak_rss_mb": summary.peak_rss_mb,
        "trace": summary.trace,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
