//! Eigenpairs of a kernel that is never formed: a network and inputs come in, which are read some
//! at a time; pairs go out. Called by the program's main.

use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use entk::{
    data::{AugmentedImages, Images, npy::NpyRows},
    device::{hash, memory::ensure},
    gram::{GramConfig, InputSource, JacobianOperator},
    models::Model,
    spectral::{CertifiedPairs, LinearOperator},
};
use entk_examples::{InputHeader, KernelChoice, NetworkSource, ensure_input, read_inputs, say};

use crate::solve::Solve;

/// Pixels by which copies of images are shifted at most, as is usual for CIFAR-10.
const SHIFT: usize = 4;
/// Bytes of gradients that are at hand at a time.
const GRADIENTS: u64 = 512 << 20;

/// The pairs of the kernel of --model on --inputs.
pub fn of_network(solve: &Solve<'_>, path: &Path) -> Result<(CertifiedPairs, KernelChoice)> {
    let (run, flags) = (solve.run, solve.flags);
    let networks = NetworkSource::open(run, &flags.network, flags.dtype.into(), &Device::Cpu)?;
    let header = InputHeader::read(&networks, path, None)?;
    let network = networks.network(&header.input, flags.activation.into())?;
    networks.ensure_memory(&network, 0, None)?;
    let kernel = flags.outputs.of_eigenvectors(network.outputs())?;
    let params = networks.start(&network, flags.seed)?;
    let source = source(solve, &networks, path)?;
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
    let needed = settings.bytes(smaller, flags.k) as u128
        + 32 * (columns * block) as u128
        + 24 * (rows as u128) * (flags.k as u128)
        + u128::from(GRADIENTS);
    let what = format!("{} eigenpairs of {rows} rows and {columns} parameters", flags.k);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
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

/// The examples: the rows of the file, or copies of its images.
fn source(
    solve: &Solve<'_>,
    networks: &NetworkSource,
    path: &Path,
) -> Result<Box<dyn InputSource>> {
    let Some(examples) = solve.flags.augment else { return Ok(Box::new(NpyRows::open(path)?)) };
    let (images, _) = read_inputs(solve.run, networks, path, None, None)?;
    let images = Images::new(images.to_dtype(candle_core::DType::F32)?)?;
    Ok(Box::new(AugmentedImages::new(images, examples, SHIFT, solve.flags.seed)?))
}
