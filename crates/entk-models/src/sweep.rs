//! A forward pass over a batch and all that follows from it: outputs, `J v`, `J^T u`, per-example
//! factors, and the tangents of these. Made by [`Model::sweep`](crate::Model::sweep); in come
//! tangents and cotangents, out go tensors, parameters or factors one by one.

use candle_core::Tensor;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    factor::Factor,
    layer::{FactorSink, Layer},
    mixed::{MixedPoint, MixedSink},
    params::Params,
};

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

    pub(crate) fn into_outputs(self) -> Tensor {
        self.outputs
    }

    /// This sweep with other outputs in place of its own: a linearization is its network's sweep at
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
            return Err(ModelError::NoOutput { asked: channel, outputs });
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
        // A value that does not depend on the input may have a derivative by weight and input.
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
    sweep: Sweep<'a>,
    statistics: Vec<(String, Tensor)>,
}

impl<'a> TrainingSweep<'a> {
    pub(crate) fn new(sweep: Sweep<'a>, statistics: Vec<(String, Tensor)>) -> Self {
        Self { sweep, statistics }
    }

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

/// The derivative of a [`Sweep`](crate::Sweep) along a tangent of parameters or inputs.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Activation, MlpConfig, Model, Params};
///
/// let activation = Activation::Gelu;
/// let config = MlpConfig { input: [1, 2, 2], activation, ..MlpConfig::default() };
/// let network = config.network()?;
/// let theta = network.init(7, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((1, 1, 2, 2), DType::F64, &Device::Cpu)?;
/// let sweep = network.sweep(&theta, &x)?;
/// let u = x.affine(0.5, 0.1)?;
/// let v = Params::standard_normal(&network.specs(), 1, DType::F64, &Device::Cpu)?;
///
/// // d^2 f / (dtheta dx) from both sides: <M u, v> = <u, M^T v>.
/// let left = sweep.mixed(None, Some(&u))?.gradient()?.dot(&v)?;
/// let right = (sweep.mixed(Some(&v), None)?.input_gradient()? * u)?.sum_all()?;
/// let right = right.to_scalar::<f64>()?;
/// assert!((left - right).abs() <= 1e-12 * left.abs());
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct MixedSweep<'a> {
    layers: &'a dyn Layer,
    params: &'a Params,
    tangent: Params,
    cache: Cache,
    moved: Cache,
    ones: Tensor,
}

impl<'a> MixedSweep<'a> {
    pub(crate) fn new(
        layers: &'a dyn Layer,
        params: &'a Params,
        tangent: Params,
        cache: Cache,
        moved: Cache,
        ones: Tensor,
    ) -> Self {
        Self { layers, params, tangent, cache, moved, ones }
    }

    /// Passes to `sink`, layer by layer, the tangent of the per-example gradient of the sum of the
    /// outputs.
    ///
    /// # Errors
    /// A layer without a rule ([`Layer::mixed_vjp`]), or those of `sink`.
    pub fn for_each_factor(&self, sink: &mut MixedSink<'_>) -> Result<()> {
        self.backward(false, sink).map(|_| ())
    }

    /// The tangent of the gradient of the sum of all outputs, summed over the batch: M u for a
    /// tangent u of the inputs.
    ///
    /// # Errors
    /// As [`for_each_factor`](Self::for_each_factor).
    pub fn gradient(&self) -> Result<Params> {
        let mut parts = Vec::new();
        self.for_each_factor(&mut |factor| {
            parts.extend(factor.sum()?);
            Ok(())
        })?;
        self.params.gradient_from(parts)
    }

    /// The tangent of the gradient with respect to the inputs, of their shape (N, C, H, W): M^T v
    /// of every example for a tangent v of the parameters.
    ///
    /// # Errors
    /// As [`for_each_factor`](Self::for_each_factor).
    pub fn input_gradient(&self) -> Result<Tensor> {
        let cotangents = self.backward(true, &mut |_| Ok(()))?;
        cotangents
            .map(|(_, moved)| moved)
            .ok_or_else(|| ModelError::Cache { what: "input gradient" })
    }

    fn backward(
        &self,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let at = MixedPoint {
            params: self.params,
            tangent: &self.tangent,
            cache: &self.cache,
            moved: &self.moved,
        };
        self.layers.mixed_vjp(&at, &self.ones, &self.ones.zeros_like()?, needs_dx, sink)
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
