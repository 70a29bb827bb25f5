//! Eigenpairs of a kernel that is never formed: a network and inputs come in, which are read some
//! at a time; pairs go out. Called by the program's main.

use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use entk::{
    device::{hash, memory::ensure},
    gram::{GramConfig, JacobianOperator},
    models::Model,
    spectral::{CertifiedPairs, LinearOperator},
};
use entk_examples::{InputHeader, KernelChoice, NetworkSource, ensure_input, input_source, say};

use crate::solve::Solve;

/// The pairs of the kernel of --model on --inputs.
pub fn of_network(solve: &Solve<'_>, path: &Path) -> Result<(CertifiedPairs, KernelChoice)> {
    let (run, flags) = (solve.run, solve.flags);
    let networks = NetworkSource::open(run, &flags.network, flags.dtype.into(), &Device::Cpu)?;
    let header = InputHeader::read(&networks, path, None)?;
    let network = networks.network(&header.input, flags.activation.into())?;
    networks.ensure_memory(&network, 0, None)?;
    let kernel = flags.outputs.of_eigenvectors(network.outputs())?;
    let params = networks.start(&network, flags.seed)?;
    let source = input_source(run, &networks, path, flags.augment, flags.seed)?;
    let config = GramConfig { outputs: kernel.outputs.kernel(), ..GramConfig::default() };
    let jacobian =
        JacobianOperator::new(&network, &params, &*source, &config)?.stoppable(solve.stop);
    let (rows, columns) = (jacobian.rows(), jacobian.cols());
    let smaller = rows.min(columns);
    ensure_input(flags.k <= smaller, || {
        format!("--k {}: the kernel has rank {smaller} at most; lower --k", flags.k)
    })?;
    let settings = flags.config()?;
    let block = settings.block.unwrap_or(jacobian.block());
    let vectors = (rows as u64).saturating_mul(flags.k as u64).saturating_mul(24);
    let solver = settings.bytes(smaller, flags.k).saturating_add(vectors);
    let needed = solver.saturating_add(jacobian.bytes(block));
    let what = format!("{} eigenpairs of {rows} rows and {columns} parameters", flags.k);
    ensure(&what, needed, None, "ask for fewer with --k")?;
    say(format_args!(
        "{rows} rows, {columns} parameters with a gradient: {} passes over the inputs a block of \
         {block} columns",
        if rows > columns { "one" } else { "two" }
    ));
    let tensors = params.iter().chain(params.statistics());
    let identity = (hash::named(tensors)?, path, rows, columns);
    Ok((solve.row_gram_pairs(&jacobian, &identity)?, kernel))
}
