//! A network whose norms stay frozen in training, for comparison with its linearization.

use candle_core::Tensor;

use crate::{
    error::Result,
    model::{Model, sealed::SealedModel},
    network::Network,
    params::Params,
    sweep::Sweep,
};

/// A model whose batch norms keep their stored statistics in training too, as those of a
/// linearization always do: for comparison with one.
///
/// Equal to the network but for [`training_sweep`](Model::training_sweep), which is
/// [`sweep`](Model::sweep) here and moves no statistics.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use entk_models::{FrozenNorms, Model, ResNetConfig};
/// let (input, blocks) = ([1, 8, 8], vec![1, 1]);
/// let config = ResNetConfig { input, blocks, width: 2, ..Default::default() };
/// let network = config.network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::arange(0.0, 128.0, &Device::Cpu)?.reshape((2, 1, 8, 8))?;
/// let frozen = FrozenNorms::new(&network);
/// assert!(frozen.training_sweep(&theta, &x)?.statistics().is_empty());
/// assert!(!network.training_sweep(&theta, &x)?.statistics().is_empty());
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FrozenNorms<'m> {
    network: &'m Network,
}

impl<'m> FrozenNorms<'m> {
    /// Wraps `network`.
    pub fn new(network: &'m Network) -> Self {
        Self { network }
    }
}

impl SealedModel for FrozenNorms<'_> {}

impl Model for FrozenNorms<'_> {
    fn network(&self) -> &Network {
        self.network
    }

    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>> {
        self.network.sweep(params, x)
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        self.network.forward(params, x)
    }
}
