//! What `stats` works on: flags come in, the network at its parameters, the examples and the
//! targets go out, with a hash that tells them from others. Called by the main.

use anyhow::Result;
use candle_core::DType;
use entk::device::hash;
use entk_cli::{Run, StreamedKernel, ensure_input};

use crate::commands::stats::{flags::Flags, targets::TargetSet};

/// Examples at both ends whose values are part of the hash.
const HASHED: usize = 64;

/// A kernel that is not computed, and what is asked of it.
pub struct Problem {
    pub of: StreamedKernel,
    pub targets: TargetSet,
    /// The hash of settings, weights and examples.
    pub identity: blake3::Hash,
}

impl Problem {
    /// The problem of `flags`, whose passes are made in `parts`.
    pub fn read(run: &Run, flags: &Flags, parts: usize) -> Result<Self> {
        let Flags { kernel, inputs, augment, seed, .. } = flags;
        let of = StreamedKernel::read(run, kernel, inputs, *augment, *seed)?;
        ensure_input(of.kernel.rows_per_example() == 1, || {
            let outputs = of.kernel.outputs;
            format!("--outputs {outputs}: has several rows an example; take trace, sum or class:K")
        })?;
        let n = of.source.examples();
        ensure_input(parts <= n, || format!("--parts {parts}: of {n} examples"))?;
        let read = |labels| TargetSet::read(&flags.inputs, labels, of.inputs, n);
        let targets = flags.labels.as_deref().map(read).transpose()?.unwrap_or_default();
        let identity = identity(flags, &of, &targets)?;
        Ok(Self { of, targets, identity })
    }

    /// Number of examples N.
    pub fn examples(&self) -> usize {
        self.of.source.examples()
    }
}

fn identity(flags: &Flags, of: &StreamedKernel, targets: &TargetSet) -> Result<blake3::Hash> {
    let n = of.source.examples();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec(flags)?);
    hasher.update(of.weights()?.as_bytes());
    for range in [0..HASHED.min(n), n.saturating_sub(HASHED)..n] {
        let examples = of.source.read(range)?.to_dtype(DType::F64)?;
        hasher.update(hash::examples(&examples)?.as_bytes());
    }
    targets.columns.iter().for_each(|y| {
        hasher.update(&y.to_le_bytes());
    });
    Ok(hasher.finalize())
}
