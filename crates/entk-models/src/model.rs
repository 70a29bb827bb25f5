use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::{
    active::ActiveParameters,
    error::{ModelError, Result},
    factor::Factor,
    layer::{Cache, FactorSink, Layer},
    mixed::MixedSweep,
    params::Params,
    spec::ParamSpec,
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
        Ok(TrainingSweep { sweep: self.sweep(params, x)?, statistics: Vec::new() })
    }

    /// f(theta, x), (N, C).
    ///
    /// # Errors
    /// As [`sweep`](Model::sweep).
    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(self.sweep(params, x)?.outputs)
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
    /// [`ModelError::NotZero`], and as [`sweep`](Model::sweep).
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

/// A forward pass over one batch, ready for derivatives at the same theta and x.
#[derive(Debug)]
pub struct Sweep<'a> {
    outputs: Tensor,
    layers: &'a dyn Layer,
    params: &'a Params,
    cache: Cache,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(
        outputs: Tensor,
        layers: &'a dyn Layer,
        params: &'a Params,
        cache: Cache,
    ) -> Self {
        Self { outputs, layers, params, cache }
    }

    /// The outputs, (N, C).
    pub fn outputs(&self) -> &Tensor {
        &self.outputs
    }

    /// The same derivatives under other outputs: a linearization is its network's sweep at
    /// theta_0 with outputs f_0 + J (theta - theta_0).
    ///
    /// # Errors
    /// Outputs of another shape.
    pub fn with_outputs(self, outputs: Tensor) -> Result<Self> {
        ensure_like("outputs", &self.outputs, &outputs)?;
        Ok(Self { outputs, ..self })
    }

    /// J v, (N, C), for a tangent v in parameter space. Costs about two forward passes.
    ///
    /// # Errors
    /// A tangent of other names or shapes.
    pub fn jvp(&self, tangent: &Params) -> Result<Tensor> {
        self.params.check_same_shape(tangent)?;
        let dy = self.layers.jvp(self.params, tangent, &self.cache, None)?;
        Ok(dy.map_or_else(|| self.outputs.zeros_like(), Ok)?)
    }

    /// J^T u, summed over the batch, for a cotangent u (N, C). Costs about two forward passes.
    ///
    /// # Errors
    /// A cotangent of another shape.
    pub fn vjp(&self, cotangent: &Tensor) -> Result<Params> {
        let mut parts = Vec::new();
        self.for_each_factor(cotangent, &mut |factor| {
            parts.extend(factor.sum()?);
            Ok(())
        })?;
        self.params.gradient_from(parts)
    }

    /// The per-example gradient factors of `u . f(theta, x)`, last layer first.
    ///
    /// # Errors
    /// A cotangent of another shape.
    pub fn factors(&self, cotangent: &Tensor) -> Result<Vec<Factor>> {
        let mut factors = Vec::new();
        self.for_each_factor(cotangent, &mut |factor| {
            factors.push(factor);
            Ok(())
        })?;
        Ok(factors)
    }

    /// The factors of output `channel` alone: cotangent 1 there and 0 elsewhere.
    ///
    /// # Errors
    /// A channel that the model does not have.
    pub fn output_factors(&self, channel: usize) -> Result<Vec<Factor>> {
        let (batch, outputs) = self.outputs.dims2()?;
        if channel >= outputs {
            let reason = format!("output {channel} asked for, the model has {outputs}");
            return Err(ModelError::config("output", reason));
        }
        let mut one_hot = vec![0f32; batch * outputs];
        one_hot.iter_mut().skip(channel).step_by(outputs).for_each(|u| *u = 1.0);
        let u = Tensor::from_vec(one_hot, (batch, outputs), self.outputs.device())?;
        self.factors(&u.to_dtype(self.outputs.dtype())?)
    }

    /// How this sweep moves when the parameters move along `tangent` and the inputs along `dx`
    /// (of their shape), either of which may be zero: the mixed second derivatives.
    /// Costs about two forward passes.
    ///
    /// # Errors
    /// A tangent of other names or shapes.
    pub fn mixed(&self, tangent: Option<&Params>, dx: Option<&Tensor>) -> Result<MixedSweep<'a>> {
        let tangent = match tangent {
            Some(tangent) => {
                self.params.check_same_shape(tangent)?;
                tangent.clone()
            }
            None => self.params.zeros_like()?,
        };
        let mut cache = self.cache.clone();
        // Where the value does not depend on the input, its derivative by weight and input may.
        cache.enter_all();
        let (_, moved) = self.layers.tangents(self.params, &tangent, &cache, dx)?;
        let ones = self.outputs.ones_like()?;
        Ok(MixedSweep::new(self.layers, self.params, tangent, cache, moved, ones))
    }

    /// Passes each factor to `sink` as the backward sweep reaches its layer.
    ///
    /// # Errors
    /// A cotangent of another shape, or those of `sink`.
    pub fn for_each_factor(&self, cotangent: &Tensor, sink: &mut FactorSink<'_>) -> Result<()> {
        ensure_like("cotangent", &self.outputs, cotangent)?;
        self.layers.vjp(self.params, &self.cache, cotangent, false, sink)?;
        Ok(())
    }
}

/// A forward pass in training mode. Examples interact through the batch statistics, so it offers
/// the summed gradient only: per-example factors, Grams and JVPs do not type-check here.
#[derive(Debug)]
pub struct TrainingSweep<'a> {
    pub(crate) sweep: Sweep<'a>,
    pub(crate) statistics: Vec<(String, Tensor)>,
}

impl TrainingSweep<'_> {
    /// The outputs, (N, C).
    pub fn outputs(&self) -> &Tensor {
        &self.sweep.outputs
    }

    /// Gradient of `sum u . f` for a cotangent u (N, C), through the batch statistics.
    ///
    /// # Errors
    /// A cotangent of another shape.
    pub fn vjp(&self, cotangent: &Tensor) -> Result<Params> {
        self.sweep.vjp(cotangent)
    }

    /// The running statistics after this batch, by name; empty for a model without batch norm.
    pub fn statistics(&self) -> &[(String, Tensor)] {
        &self.statistics
    }
}

fn ensure_like(what: &str, like: &Tensor, tensor: &Tensor) -> Result<()> {
    if tensor.dims() != like.dims() {
        return Err(ModelError::shape(what, format!("{:?}", like.dims()), tensor.dims()));
    }
    if tensor.dtype() != like.dtype() {
        return Err(ModelError::DType {
            what: what.to_string(),
            expected: like.dtype(),
            got: tensor.dtype(),
        });
    }
    Ok(())
}
