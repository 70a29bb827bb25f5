use candle_core::Tensor;

use crate::{
    error::Result,
    model::Model,
    params::{Params, active::ActiveParameters, spec::ParamSpec},
    sweep::Sweep,
};

/// A model whose batch norms keep their stored statistics in training too: the control for a
/// network that trains with batch statistics beside its linearization, which never does.
///
/// Equal to `model` but for [`training_sweep`](Model::training_sweep), which is
/// [`sweep`](Model::sweep) here and moves no statistics.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use entk_models::{FrozenNorms, Model, ResNetConfig};
/// let config = ResNetConfig { input: [1, 8, 8], blocks: vec![1, 1], width: 2, ..Default::default() };
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
    model: &'m dyn Model,
}

impl<'m> FrozenNorms<'m> {
    /// The control for `model`.
    pub fn new(model: &'m dyn Model) -> Self {
        Self { model }
    }
}

impl Model for FrozenNorms<'_> {
    fn specs(&self) -> Vec<ParamSpec> {
        self.model.specs()
    }

    fn input_shape(&self) -> &[usize] {
        self.model.input_shape()
    }

    fn outputs(&self) -> usize {
        self.model.outputs()
    }

    fn operations(&self) -> f64 {
        self.model.operations()
    }

    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>> {
        self.model.sweep(params, x)
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        self.model.forward(params, x)
    }

    fn active_parameters(&self, params: &Params) -> Result<ActiveParameters> {
        self.model.active_parameters(params)
    }

    fn verify_active_parameters(&self, params: &Params, x: &Tensor) -> Result<ActiveParameters> {
        self.model.verify_active_parameters(params, x)
    }
}
