use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    params::{Params, active::ActiveParameters, spec::ParamSpec},
    sweep::{Sweep, TrainingSweep},
};

/// A function f(theta, x) with C outputs whose parameters are passed, not stored.
///
/// Everything hangs on one forward [`sweep`](Model::sweep) over a batch: outputs, Jacobian-vector
/// and vector-Jacobian products, and per-example gradient factors.
///
/// ```
/// # use entk_models::{LeNet5Config, Model};
/// # use candle_core::{DType, Device, Tensor};
/// let network = LeNet5Config::default().network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?;
/// let x = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
/// let sweep = network.sweep(&theta, &x)?;
/// assert_eq!(sweep.outputs().dims(), [2, 1]);
/// let gradient = sweep.vjp(&sweep.outputs().ones_like()?)?;
/// assert_eq!(gradient.count(), 136_121);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
pub trait Model: Debug + Send + Sync {
    /// Name, shape and initial law of every tensor.
    fn specs(&self) -> Vec<ParamSpec>;

    /// Shape of one input, (C, H, W).
    fn input_shape(&self) -> &[usize];

    /// Number of outputs C.
    fn outputs(&self) -> usize;

    /// Operations of the matrix products of f(theta, x) for one input, two a multiply-add; 0 where
    /// a model does not count them.
    fn operations(&self) -> f64 {
        0.0
    }

    /// One forward pass over the batch x (N, C, H, W), with frozen statistics, that keeps what
    /// the derivatives need. Examples do not interact.
    ///
    /// # Errors
    /// A batch or parameters of the wrong shape, name or dtype.
    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>>;

    /// One forward pass as training does it: batch norms use the statistics of the batch. A model
    /// without batch norm, or whose norms are frozen, does as in [`sweep`](Model::sweep).
    ///
    /// # Errors
    /// As [`sweep`](Model::sweep).
    fn training_sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<TrainingSweep<'a>> {
        Ok(TrainingSweep::new(self.sweep(params, x)?, Vec::new()))
    }

    /// f(theta, x), (N, C).
    ///
    /// # Errors
    /// As [`sweep`](Model::sweep).
    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(self.sweep(params, x)?.into_outputs())
    }

    /// The trainable tensors whose gradient is not known to be exactly zero at `params`; the
    /// others are left out of factors and backward sweeps.
    ///
    /// # Errors
    /// Missing parameters.
    fn active_parameters(&self, _params: &Params) -> Result<ActiveParameters> {
        Ok(ActiveParameters::all(&self.specs()))
    }

    /// The same, after a backward sweep over the batch x that leaves nothing out and finds those
    /// gradients to be zero indeed. A few examples are enough; without left-out tensors it is free.
    ///
    /// # Errors
    /// [`ModelError::NotZero`](crate::ModelError::NotZero), and as [`sweep`](Model::sweep).
    fn verify_active_parameters(&self, params: &Params, _x: &Tensor) -> Result<ActiveParameters> {
        self.active_parameters(params)
    }

    /// Parameters at the initial law: weights LeCun normal, biases 0, norm scales 1 or 0. Each
    /// tensor has a random stream of its own, a function of `seed` and its name.
    ///
    /// # Errors
    /// An unsupported dtype, or an allocation refused by the device.
    fn init(&self, seed: u64, dtype: DType, device: &Device) -> Result<Params> {
        Params::init(&self.specs(), seed, dtype, device)
    }
}
