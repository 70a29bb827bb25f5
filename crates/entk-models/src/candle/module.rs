//! A model at fixed parameters as a module of candle, for programs that are written for those.

use candle_core::{Error, Module, Tensor};

use crate::{error::Result, model::Model, params::Params};

/// `x -> f(theta, x)` at fixed parameters, as a [`candle_core::Module`]: a feature extractor below
/// layers of candle, or whatever takes a module.
///
/// candle's autograd does not see into it: a gradient ends at its output. Derivatives are those of
/// [`Model::sweep`].
///
/// ```
/// # use candle_core::{DType, Device, Module, Tensor};
/// # use entk_models::{AsModule, LeNet5Config, Model};
/// let network = LeNet5Config { outputs: 10, ..LeNet5Config::default() }.network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?;
/// let model = candle_nn::seq()
///     .add(AsModule::new(network, theta)?)
///     .add(candle_nn::Activation::Sigmoid);
/// let y = model.forward(&Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [2, 10]);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AsModule<M> {
    model: M,
    params: Params,
}

impl<M: Model> AsModule<M> {
    /// The model at these parameters.
    ///
    /// # Errors
    /// [`ModelError::Names`](crate::ModelError::Names) for parameters that do not fit the model.
    pub fn new(model: M, params: Params) -> Result<Self> {
        model.network().check_params(&params)?;
        Ok(Self { model, params })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl<M: Model> Module for AsModule<M> {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.model.forward(&self.params, x).map_err(Error::wrap)
    }
}
