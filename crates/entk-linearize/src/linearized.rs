//! The linearization of a network as a model: in come parameters and inputs, out goes f(theta_0, x)
//! + J (theta - theta_0). It is trained, evaluated and turned into a Gram like any network.

use candle_core::Tensor;
use entk_models::{Model, ModelError, Network, Params, Sweep, sealed::SealedModel};

/// The first-order Taylor expansion of a network around theta_0, itself a [`Model`].
///
/// `f_lin(theta, x) = f(theta_0, x) + J(theta_0, x) (theta - theta_0)`, optionally without the
/// offset `f(theta_0, x)` (Figs. 8 and 9 of the paper). Batch norms are frozen at the statistics
/// that theta_0 carries: give it [`Params::with_statistics_of`] to choose which.
///
/// Its derivatives are those of the network at theta_0, whatever theta is, so its Gram never moves
/// and any trainer of models trains it. A sweep costs a forward pass and a JVP.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_linearize::Linearized;
/// use entk_models::{MlpConfig, Model, Params};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta0 = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((2, 1, 4, 4), DType::F64, &Device::Cpu)?;
/// let linear = Linearized::new(&network, theta0.clone());
///
/// let v = Params::standard_normal(&network.specs(), 1, DType::F64, &Device::Cpu)?;
/// let moved = linear.forward(&theta0.add_scaled(2.0, &v)?, &x)?;
/// let sweep = network.sweep(&theta0, &x)?;
/// let expected = (sweep.outputs() + (sweep.jvp(&v)? * 2.0)?)?;
/// let error = (moved - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
/// assert!(error < 1e-12);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linearized<'m> {
    network: &'m Network,
    theta0: Params,
    offset: bool,
}

impl<'m> Linearized<'m> {
    /// Linearizes `network` around `theta0`, with the offset f(theta_0, x).
    pub fn new(network: &'m Network, theta0: Params) -> Self {
        Self { network, theta0, offset: true }
    }

    /// Leaves out the offset: `J(theta_0, x) (theta - theta_0)`.
    #[must_use]
    pub fn without_offset(self) -> Self {
        Self { offset: false, ..self }
    }

    /// The point of expansion.
    pub fn theta0(&self) -> &Params {
        &self.theta0
    }
}

impl SealedModel for Linearized<'_> {}

impl Model for Linearized<'_> {
    fn network(&self) -> &Network {
        self.network
    }

    fn sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>, ModelError> {
        let sweep = self.network.sweep(&self.theta0, x)?;
        let moved = sweep.jvp(&params.sub(&self.theta0)?)?;
        let outputs = if self.offset { (sweep.outputs() + moved)? } else { moved };
        sweep.with_outputs(outputs)
    }

    fn expansion_point<'a>(&'a self, _: &'a Params) -> &'a Params {
        &self.theta0
    }
}
