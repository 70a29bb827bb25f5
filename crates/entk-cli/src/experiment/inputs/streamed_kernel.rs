//! A kernel whose examples are read some at a time: flags come in; the network at its parameters,
//! the examples and the settings go out. Called by `eigen`, `plan` and `stats`.

use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use entk::{
    device::{InputSource, hash},
    gram::{GramConfig, JacobianOperator},
    models::{Model, Network, Params},
};

use crate::{
    cli::{kernel_flags::KernelFlags, output_flags::KernelChoice},
    experiment::{
        inputs::{InputHeader, input_source},
        network_source::NetworkSource,
    },
    run::Run,
};

/// A kernel that need not be formed.
pub struct StreamedKernel {
    /// The network.
    pub network: Network,
    /// Its parameters.
    pub params: Params,
    /// The examples.
    pub source: Box<dyn InputSource>,
    /// Which kernel.
    pub kernel: KernelChoice,
    /// That in the settings of the library.
    pub config: GramConfig,
    /// Inputs in the file.
    pub inputs: usize,
    /// Whether inputs are ids, which stay whole numbers.
    reads_ids: bool,
}

impl StreamedKernel {
    /// The kernel of the flags on the inputs of a file, or on `augment` shifted and mirrored copies
    /// of them; `seed` draws parameters and copies. Reads headers first, then weights; the examples
    /// are read by products.
    ///
    /// # Errors
    /// Inputs, weights and outputs that do not fit the network, and memory that cannot hold it.
    pub fn read(
        run: &Run,
        flags: &KernelFlags,
        inputs: &Path,
        augment: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        let networks = NetworkSource::open(run, &flags.network, flags.dtype.into(), &Device::Cpu)?;
        let header = InputHeader::read(&networks, inputs, flags.layout)?;
        let network = networks.network(&header.input, flags.activation.into())?;
        networks.ensure_memory(&network, 0, None)?;
        let kernel = flags.outputs.of_one(network.outputs())?;
        let params = networks.start(&network, seed)?;
        let source =
            input_source(run, &networks, inputs, flags.layout, augment.map(|n| (n, seed)))?;
        let config = GramConfig { outputs: kernel.outputs.kernel(), ..GramConfig::default() };
        let reads_ids = networks.reads_ids();
        Ok(Self { network, params, source, kernel, config, inputs: header.count, reads_ids })
    }

    /// Some of the examples as the network takes them: ids as they are, others in the type of the
    /// parameters.
    ///
    /// # Errors
    /// Those of candle.
    pub fn taken(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(if self.reads_ids { inputs.clone() } else { inputs.to_dtype(self.params.dtype())? })
    }

    /// The hash of parameters and statistics.
    ///
    /// # Errors
    /// Those of candle.
    pub fn weights(&self) -> Result<String> {
        Ok(hash::named(self.params.iter().chain(self.params.statistics()))?)
    }

    /// The Jacobian whose Gram is the kernel.
    ///
    /// # Errors
    /// As [`JacobianOperator::new`].
    pub fn jacobian(&self) -> Result<JacobianOperator<'_>> {
        Ok(JacobianOperator::new(&self.network, &self.params, &*self.source, &self.config)?)
    }
}
