//! A forward pass over a batch and all that follows from it: outputs, `J v`, `J^T u`, per-example
//! factors, and the tangents of these. Made by [`Model::sweep`](crate::Model::sweep); in come
//! tangents and cotangents, out go tensors, parameters or factors one by one.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    graph::{
        Graph,
        backward::{FactorSink, Wanted},
        flow::Flow,
        forward::Kept,
        mixed::MixedPoint,
    },
    mixed::MixedSink,
    operation::NormMode,
    params::Params,
};

/// A graph with its output.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) graph: Arc<Graph>,
    pub(crate) output: usize,
}

/// A forward pass over one batch, ready for derivatives at the same theta and x.
#[derive(Debug)]
pub struct Sweep<'a> {
    outputs: Tensor,
    route: Route,
    params: &'a Params,
    kept: Kept,
    flow: Flow,
}

impl<'a> Sweep<'a> {
    /// Passes forward; without `skip` no derivative is taken to be zero.
    pub(crate) fn new(
        route: &Route,
        params: &'a Params,
        x: Tensor,
        mode: NormMode,
        skip: bool,
    ) -> Result<Self> {
        let flow = Flow::new(&route.graph, route.output, params, skip)?;
        let (outputs, kept) = route.graph.forward(route.output, params, &[x], mode)?;
        Ok(Self { outputs, route: route.clone(), params, kept, flow })
    }

    pub(crate) fn new_statistics(&self) -> Result<Vec<(String, Tensor)>> {
        self.route.graph.new_statistics(&self.kept)
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
        let Route { graph, output } = &self.route;
        let dy = graph.output_tangent(*output, &self.kept, &self.flow, tangent)?;
        Ok(dy.map_or_else(|| self.outputs.zeros_like(), Ok)?)
    }

    /// J^T u, summed over the batch, for a cotangent u (N, C). Costs about two forward passes.
    ///
    /// # Errors
    /// A cotangent of another shape.
    pub fn vjp(&self, cotangent: &Tensor) -> Result<Params> {
        let mut parts = Vec::new();
        self.backward(cotangent, Wanted::Sum, &mut |factor| {
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
        let (route, kept) = (self.route.clone(), self.kept.clone());
        // A value that does not depend on the input may have a derivative by weight and input.
        let flow = Flow::new(&route.graph, route.output, self.params, false)?;
        let tangents = route.graph.tangents(&kept, &flow, &tangent, &[dx.cloned()])?;
        let ones = self.outputs.ones_like()?;
        Ok(MixedSweep { route, params: self.params, kept, flow, tangents, ones })
    }

    /// Passes each factor to `sink` as the backward sweep reaches its layer.
    ///
    /// # Errors
    /// A cotangent of another shape, or those of `sink`.
    pub fn for_each_factor(&self, cotangent: &Tensor, sink: &mut FactorSink<'_>) -> Result<()> {
        self.backward(cotangent, Wanted::PerExample, sink)
    }

    fn backward(&self, dy: &Tensor, wanted: Wanted, sink: &mut FactorSink<'_>) -> Result<()> {
        ensure_like("cotangent", &self.outputs, dy)?;
        let Route { graph, output } = &self.route;
        graph.backward(*output, (&self.kept, &self.flow), dy, (wanted, false), sink)?;
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
    route: Route,
    params: &'a Params,
    kept: Kept,
    flow: Flow,
    tangents: Vec<Option<Tensor>>,
    ones: Tensor,
}

impl MixedSweep<'_> {
    /// Passes to `sink`, layer by layer, the tangent of the per-example gradient of the sum of the
    /// outputs.
    ///
    /// # Errors
    /// An operation without a rule ([`Operation::mixed_vjp`](crate::Operation::mixed_vjp)), or
    /// those of `sink`.
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
        let moved = self.backward(true, &mut |_| Ok(()))?;
        let moved = moved.into_iter().next().flatten();
        moved.ok_or_else(|| ModelError::Cache { what: "input gradient" })
    }

    fn backward(&self, of_inputs: bool, sink: &mut MixedSink<'_>) -> Result<Vec<Option<Tensor>>> {
        let at =
            MixedPoint { kept: &self.kept, flow: &self.flow, tangents: &self.tangents, of_inputs };
        self.route.graph.mixed_backward(self.route.output, at, &self.ones, sink)
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
