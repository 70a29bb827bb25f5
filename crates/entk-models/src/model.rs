//! What a model is: parameters and a batch go in, a sweep comes out. Training, Grams and
//! linearizations take a `&dyn Model` and nothing else.

use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    network::Network,
    params::{Params, active::ActiveParameters, spec::ParamSpec},
    sweep::{Sweep, TrainingSweep},
};

/// Examples on which left-out gradients are computed and operations from elsewhere are checked.
const VERIFIED: usize = 4;

/// A function f(theta, x) with C outputs whose parameters are passed, not stored.
///
/// There are three: a [`Network`], a [`FrozenNorms`](crate::FrozenNorms) and the linearization of
/// `entk-linearize`. The trait is sealed: a network of your own is built from
/// [`Layer`](crate::Layer)s, yours among them. A model says which [`network`](Model::network) it is
/// about and how it [`sweep`](Model::sweep)s; the rest follows.
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
pub trait Model: Debug + Send + Sync + sealed::SealedModel {
    /// The network whose parameters and inputs are those of the model.
    fn network(&self) -> &Network;

    /// One forward pass over the batch x (N, C, H, W), with frozen statistics, that keeps what
    /// the derivatives need. Examples do not interact.
    ///
    /// # Errors
    /// A batch or parameters of the wrong shape, name or dtype.
    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>>;

    /// The parameters at which the network's derivatives are taken: `params` themselves, but for a
    /// linearization.
    fn expansion_point<'a>(&'a self, params: &'a Params) -> &'a Params {
        params
    }

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

    /// Name, shape and initial law of every tensor.
    fn specs(&self) -> Vec<ParamSpec> {
        self.network().specs().to_vec()
    }

    /// Shape of one input, (C, H, W).
    fn input_shape(&self) -> &[usize] {
        &self.network().input
    }

    /// Number of outputs C.
    fn outputs(&self) -> usize {
        self.network().outputs
    }

    /// Operations of the matrix products of f(theta, x) for one input, two a multiply-add.
    fn operations(&self) -> f64 {
        self.network().operations_of_one()
    }

    /// The trainable tensors whose gradient is not known to be exactly zero at `params`; the
    /// others are left out of factors and backward sweeps.
    ///
    /// # Errors
    /// Missing parameters.
    fn active_parameters(&self, params: &Params) -> Result<ActiveParameters> {
        self.network().active(self.expansion_point(params))
    }

    /// [`active_parameters`](Model::active_parameters), after a backward sweep over the batch x
    /// that leaves nothing out and finds the other gradients to be zero indeed, and a check of
    /// operations that are not of this crate. A few examples are enough; without such operations,
    /// and where all are active, it is free.
    ///
    /// # Errors
    /// [`ModelError::NotZero`](crate::ModelError::NotZero),
    /// [`ModelError::WrongDerivative`](crate::ModelError::WrongDerivative), and as
    /// [`sweep`](Model::sweep).
    fn verify_active_parameters(&self, params: &Params, x: &Tensor) -> Result<ActiveParameters> {
        self.network().verified_active(self.expansion_point(params), x)
    }

    /// [`verify_active_parameters`](Model::verify_active_parameters) on the first four of `inputs`:
    /// what everything that computes with the gradients of a network asks before it begins.
    ///
    /// # Errors
    /// As there.
    fn verify(&self, params: &Params, inputs: &Tensor) -> Result<()> {
        let few = inputs.narrow(0, 0, VERIFIED.min(inputs.dim(0)?))?;
        self.verify_active_parameters(params, &few).map(drop)
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

/// Keeps [`Model`] to the crates of this workspace.
#[doc(hidden)]
pub mod sealed {
    /// Marks the models of this workspace.
    pub trait SealedModel {}
}

impl sealed::SealedModel for Network {}

impl Model for Network {
    fn network(&self) -> &Network {
        self
    }

    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>> {
        self.frozen_sweep(params, x)
    }

    fn training_sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<TrainingSweep<'a>> {
        self.batch_sweep(params, x)
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        self.value(params, x)
    }
}
