//! What `stats` works on: flags come in, the network at its parameters, the examples and the
//! targets go out, with a hash that tells them from others. Called by the main.

use anyhow::Result;
use candle_core::{DType, Device};
use entk::{
    device::{InputSource, hash},
    gram::GramConfig,
    models::{Model, Network, Params},
};
use entk_examples::{InputHeader, KernelChoice, NetworkSource, Run, ensure_input, input_source};

use crate::{flags::Flags, targets::TargetSet};

/// Examples at both ends whose values are part of the hash.
const HASHED: usize = 64;

/// A kernel that is not computed.
pub struct Problem {
    pub network: Network,
    pub params: Params,
    pub source: Box<dyn InputSource>,
    pub kernel: KernelChoice,
    pub config: GramConfig,
    pub targets: TargetSet,
    /// The hash of settings, weights and examples.
    pub identity: blake3::Hash,
}

impl Problem {
    pub fn read(run: &Run, flags: &Flags) -> Result<Self> {
        let networks = NetworkSource::open(run, &flags.network, flags.dtype.into(), &Device::Cpu)?;
        let header = InputHeader::read(&networks, &flags.inputs, None)?;
        let network = networks.network(&header.input, flags.activation.into())?;
        networks.ensure_memory(&network, 0, None)?;
        let kernel = flags.outputs.of_eigenvectors(network.outputs())?;
        ensure_input(kernel.rows_per_example() == 1, || {
            let outputs = kernel.outputs;
            format!("--outputs {outputs}: has several rows an example; take trace, sum or class:K")
        })?;
        let params = networks.start(&network, flags.seed)?;
        let source = input_source(run, &networks, &flags.inputs, flags.augment, flags.seed)?;
        let n = source.examples();
        ensure_input(flags.parts <= n, || format!("--parts {}: of {n} examples", flags.parts))?;
        let read = |labels| TargetSet::read(labels, header.count, n);
        let targets = flags.labels.as_deref().map(read).transpose()?.unwrap_or_default();
        let config = GramConfig { outputs: kernel.outputs.kernel(), ..GramConfig::default() };
        let identity = identity(flags, &params, &*source, &targets)?;
        Ok(Self { network, params, source, kernel, config, targets, identity })
    }

    /// Number of examples N.
    pub fn examples(&self) -> usize {
        self.source.examples()
    }
}

fn identity(
    flags: &Flags,
    params: &Params,
    source: &dyn InputSource,
    targets: &TargetSet,
) -> Result<blake3::Hash> {
    let n = source.examples();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec(flags)?);
    hasher.update(hash::named(params.iter().chain(params.statistics()))?.as_bytes());
    for range in [0..HASHED.min(n), n.saturating_sub(HASHED)..n] {
        let examples = source.read(range)?.to_dtype(DType::F64)?;
        hasher.update(hash::examples(&examples)?.as_bytes());
    }
    targets.columns.iter().for_each(|y| {
        hasher.update(&y.to_le_bytes());
    });
    Ok(hasher.finalize())
}
