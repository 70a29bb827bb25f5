//! Mixed second derivatives: how a backward sweep moves along a tangent.

use candle_core::Tensor;

use crate::{
    error::Result,
    factor::Factor,
    layer::{Cache, Layer},
    ops::entrywise::add,
    params::Params,
};

/// Where [`Layer::mixed_vjp`] is evaluated: parameters, what the forward pass kept, and the
/// tangents of both.
#[derive(Debug, Clone, Copy)]
pub struct MixedPoint<'a> {
    /// theta.
    pub params: &'a Params,
    /// Its tangent.
    pub tangent: &'a Params,
    /// What [`Layer::forward`] kept.
    pub cache: &'a Cache,
    /// What [`Layer::tangents`] kept.
    pub moved: &'a Cache,
}

impl MixedPoint<'_> {
    /// The same for the layer of this index inside.
    pub(crate) fn child(&self, index: usize) -> Self {
        Self { cache: &self.cache.children[index], moved: &self.moved.children[index], ..*self }
    }
}

/// Takes the factors of a mixed backward sweep one by one, last layer first.
pub type MixedSink<'a> = dyn FnMut(MixedFactor) -> Result<()> + 'a;

/// The derivative of one layer's gradient factors along a tangent.
///
/// A factor is a sum of products `d (x) a`; its derivative is `d (x) a' + d' (x) a`, where a' is
/// the tangent of the inputs and d' that of the cotangents.
#[derive(Debug, Clone)]
pub struct MixedFactor {
    /// Inputs moved: (a', d), without bias. `None` where a' is zero.
    pub inputs: Option<Factor>,
    /// Cotangents moved: (a, d').
    pub cotangents: Factor,
}

impl MixedFactor {
    /// Summed over the batch, by parameter name.
    ///
    /// # Errors
    /// Those of the device.
    pub fn sum(&self) -> Result<Vec<(String, Tensor)>> {
        let mut sums = self.cotangents.sum()?;
        for (name, part) in self.inputs.as_ref().map(Factor::sum).transpose()?.unwrap_or_default() {
            if let Some((_, sum)) = sums.iter_mut().find(|(other, _)| *other == name) {
                *sum = (&*sum + part)?;
            }
        }
        Ok(sums)
    }

    /// One row an example, (N, P_l): weight row-major, then bias.
    ///
    /// # Errors
    /// Those of the device; the memory is N P_l numbers.
    pub fn rows(&self) -> Result<Tensor> {
        let rows = self.cotangents.rows()?;
        let Some(inputs) = &self.inputs else { return Ok(rows) };
        let part = inputs.rows()?;
        let bias = rows.dim(1)? - part.dim(1)?;
        Ok((rows + part.pad_with_zeros(1, 0, bias)?)?)
    }
}

/// [`Layer::mixed_vjp`] of a layer that is linear in its input and linear in its parameters: three
/// calls of its own [`Layer::vjp`].
///
/// # Errors
/// As [`Layer::vjp`].
pub fn bilinear_mixed_vjp(
    layer: &dyn Layer,
    at: &MixedPoint<'_>,
    dy: &Tensor,
    ddy: &Tensor,
    needs_dx: bool,
    sink: &mut MixedSink<'_>,
) -> Result<Option<(Tensor, Tensor)>> {
    let (mut fixed, mut moved) = (Vec::new(), Vec::new());
    let mut keep = |factor| {
        fixed.push(factor);
        Ok(())
    };
    let dx = layer.vjp(at.params, at.cache, dy, needs_dx, &mut keep)?;
    let mut keep = |factor| {
        moved.push(factor);
        Ok(())
    };
    let ddx = layer.vjp(at.params, at.cache, ddy, needs_dx, &mut keep)?;
    for (factor, cotangents) in fixed.into_iter().zip(moved) {
        let inputs = at.moved.tensors.first().and_then(|dx| with_inputs(factor, dx));
        sink(MixedFactor { inputs, cotangents })?;
    }
    let (Some(dx), Some(ddx)) = (dx, ddx) else { return Ok(None) };
    if layer.specs().is_empty() {
        return Ok(Some((dx, ddx)));
    }
    let through = layer.vjp(at.tangent, at.cache, dy, needs_dx, &mut |_| Ok(()))?;
    Ok(Some((dx, through.map_or(Ok(ddx.clone()), |through| add(&ddx, &through))?)))
}

/// The weight's part of a factor with other inputs.
fn with_inputs(factor: Factor, to: &Tensor) -> Option<Factor> {
    let inputs = to.clone();
    match factor {
        Factor::Dense { weight, cotangents, .. } => {
            Some(Factor::Dense { weight, bias: None, inputs, cotangents })
        }
        Factor::Conv { weight, cotangents, geometry, .. } => {
            Some(Factor::Conv { weight, bias: None, inputs, cotangents, geometry })
        }
        Factor::Rows { .. } => None,
    }
}

/// The derivative of a [`Sweep`](crate::Sweep) along a tangent of parameters or inputs.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Activation, MlpConfig, Model, Params};
///
/// let config = MlpConfig { input: [1, 2, 2], activation: Activation::Gelu, ..MlpConfig::default() };
/// let network = config.network()?;
/// let theta = network.init(7, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((1, 1, 2, 2), DType::F64, &Device::Cpu)?;
/// let sweep = network.sweep(&theta, &x)?;
/// let u = x.affine(0.5, 0.1)?;
/// let v = Params::standard_normal(&network.specs(), 1, DType::F64, &Device::Cpu)?;
///
/// // d^2 f / (dtheta dx) from both sides: <M u, v> = <u, M^T v>.
/// let left = sweep.mixed(None, Some(&u))?.gradient()?.dot(&v)?;
/// let right = (sweep.mixed(Some(&v), None)?.input_gradient()? * u)?.sum_all()?.to_scalar::<f64>()?;
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
        cotangents.map(|(_, moved)| moved).ok_or_else(|| {
            crate::ModelError::config("network", "its input gradient was not computed")
        })
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
