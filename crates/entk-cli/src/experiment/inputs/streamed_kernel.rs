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
    cli::{
        model_flags::ModelFlags,
        names::{ActivationName, DTypeName},
        output_flags::{KernelChoice, OutputFlags},
    },
    experiment::{
        inputs::{InputHeader, input_source},
        network_source::NetworkSource,
    },
    run::Run,
};

/// The flags that say which kernel.
#[derive(Clone, Copy, Debug)]
pub struct StreamedFlags<'a> {
    /// The network.
    pub network: &'a ModelFlags,
    /// Its activation.
    pub activation: ActivationName,
    /// Type of weights and gradients.
    pub dtype: DTypeName,
    /// Which kernel of several outputs.
    pub outputs: OutputFlags,
    /// The file of the inputs.
    pub inputs: &'a Path,
    /// So many copies of them, where there are to be more.
    pub augment: Option<usize>,
    /// Draws parameters and copies.
    pub seed: u64,
}

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
}

impl StreamedKernel {
    /// Reads headers first, then weights; the examples are read by products.
    ///
    /// # Errors
    /// Inputs, weights and outputs that do not fit the network, and memory that cannot hold it.
    pub fn read(run: &Run, flags: &StreamedFlags<'_>) -> Result<Self> {
        let networks = NetworkSource::open(run, flags.network, flags.dtype.into(), &Device::Cpu)?;
        let header = InputHeader::read(&networks, flags.inputs, None)?;
        let network = networks.network(&header.input, flags.activation.into())?;
        networks.ensure_memory(&network, 0, None)?;
        let kernel = flags.outputs.of_eigenvectors(network.outputs())?;
        let params = networks.start(&network, flags.seed)?;
        let source = input_source(run, &networks, flags.inputs, flags.augment, flags.seed)?;
        let config = GramConfig { outputs: kernel.outputs.kernel(), ..GramConfig::default() };
        Ok(Self { network, params, source, kernel, config, inputs: header.count })
    }

    /// Some of the examples as the network takes them: ids as they are, others in the type of the
    /// parameters.
    ///
    /// # Errors
    /// Those of candle.
    pub fn taken(&self, inputs: &Tensor) -> Result<Tensor> {
        let is_ids = inputs.dtype().is_int();
        Ok(if is_ids { inputs.clone() } else { inputs.to_dtype(self.params.dtype())? })
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
