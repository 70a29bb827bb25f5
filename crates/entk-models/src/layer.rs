//! What a layer is: parameters and a batch go in, values and what derivatives need come out. Called
//! by networks and by the layers that hold others.

use std::fmt::Debug;

use candle_core::Tensor;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    factor::Factor,
    loops::entrywise::add,
    mixed::{MixedFactor, MixedPoint, MixedSink, with_inputs},
    params::{
        Params,
        spec::{ParamKind, ParamSpec},
    },
};

/// Where batch norms take their mean and variance from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormMode {
    /// The stored running statistics: examples do not interact.
    Frozen,
    /// The statistics of the batch at hand, as in training.
    Batch,
}

/// Takes the factors of a backward sweep one by one, last layer first.
pub type FactorSink<'a> = dyn FnMut(Factor) -> Result<()> + 'a;

/// One differentiable step of a network.
///
/// Every layer says its [`output_shape`](Layer::output_shape), [`forward`](Layer::forward),
/// [`jvp`](Layer::jvp) and [`vjp`](Layer::vjp); one with parameters also its
/// [`specs`](Layer::specs), and one that is to have anisotropy directions its
/// [`mixed_vjp`](Layer::mixed_vjp). The others have defaults: [`operations`](Layer::operations)
/// counts for plans, [`stops`](Layer::stops) and [`active`](Layer::active) let what is exactly zero
/// be left out, [`new_statistics`](Layer::new_statistics) is for norms, and
/// [`value`](Layer::value) and [`tangents`](Layer::tangents) are for layers that hold others.
///
/// A layer holds its configuration and the full names of its parameters, never their values.
pub trait Layer: Debug + Send + Sync {
    /// The tensors it uses, in order.
    fn specs(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Shape of one example's output for one example's input.
    ///
    /// # Errors
    /// An input that the layer cannot take.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>>;

    /// Operations of the matrix products in the value for one example, two a multiply-add.
    ///
    /// # Errors
    /// An input that the layer cannot take.
    fn operations(&self, _input: &[usize]) -> Result<f64> {
        Ok(0.0)
    }

    /// Values for a batch, and what the derivatives need.
    ///
    /// # Errors
    /// Missing parameters, or those of the device.
    fn forward(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<(Tensor, Cache)>;

    /// The values alone. A layer that holds others frees what only their derivatives need.
    ///
    /// # Errors
    /// As [`forward`](Layer::forward).
    fn value(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<Tensor> {
        Ok(self.forward(params, x, mode)?.0)
    }

    /// Forward-mode derivative: the tangent of the output for a tangent of the parameters and a
    /// tangent `dx` of the input. `None` stands for an exactly zero tangent.
    ///
    /// # Errors
    /// Missing parameters, or those of the device.
    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>>;

    /// Reverse-mode derivative: passes the layer's gradient factors to `sink` and returns the
    /// cotangent of the input, or `None` where `needs_dx` is false or that cotangent is exactly
    /// zero ([`Cache::stops`]).
    ///
    /// # Errors
    /// Missing parameters, those of the device, or those of `sink`.
    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>>;

    /// As [`jvp`](Layer::jvp), also keeping what [`mixed_vjp`](Layer::mixed_vjp) needs: the tangent
    /// of the input, if it is not zero, and in `children` what the layers inside keep.
    ///
    /// # Errors
    /// As [`jvp`](Layer::jvp).
    fn tangents(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<(Option<Tensor>, Cache)> {
        Ok((self.jvp(params, tangent, cache, dx)?, Cache::of(dx.cloned())))
    }

    /// How the reverse-mode derivative moves along a tangent: for the cotangent `dy` and its own
    /// tangent `ddy`, passes the layer's gradient factors with their tangents to `sink` and
    /// returns the input's cotangent and its tangent, or `None` where `needs_dx` is false.
    ///
    /// A layer that is linear in its input and in its parameters calls
    /// [`bilinear_mixed_vjp`](crate::bilinear_mixed_vjp).
    ///
    /// # Errors
    /// By default, that the layer has no rule; otherwise as [`vjp`](Layer::vjp).
    fn mixed_vjp(
        &self,
        _at: &MixedPoint<'_>,
        _dy: &Tensor,
        _ddy: &Tensor,
        _needs_dx: bool,
        _sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        Err(ModelError::NoMixedDerivative { layer: format!("{self:?}"), note: "" })
    }

    /// The running statistics after a forward pass in [`NormMode::Batch`], by name.
    ///
    /// # Errors
    /// Missing statistics, or those of the device.
    fn new_statistics(&self, _params: &Params, _cache: &Cache) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Whether the output does not depend on the input at these parameters, exactly: all weights
    /// of a dense layer or convolution zero, or all scales of a batch norm. Everything before such
    /// a layer has gradient zero unless another path leads around it.
    ///
    /// # Errors
    /// Missing parameters.
    fn stops(&self, _params: &Params) -> Result<bool> {
        Ok(false)
    }

    /// Names of the trainable tensors whose gradient is not known to be exactly zero, given that
    /// a cotangent arrives at the output.
    ///
    /// # Errors
    /// Missing parameters.
    fn active(&self, _params: &Params) -> Result<Vec<String>> {
        let trainable = |spec: ParamSpec| (spec.kind == ParamKind::Trainable).then_some(spec.name);
        Ok(self.specs().into_iter().filter_map(trainable).collect())
    }
}

/// Sum of two optional tangents or cotangents.
pub(crate) fn add_tangents(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some(add(&a, &b)?),
        (a, b) => a.or(b),
    })
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
        let inputs = at.input_tangent().and_then(|dx| with_inputs(factor, dx));
        sink(MixedFactor { inputs, cotangents })?;
    }
    let (Some(dx), Some(ddx)) = (dx, ddx) else { return Ok(None) };
    if layer.specs().is_empty() {
        return Ok(Some((dx, ddx)));
    }
    let through = layer.vjp(at.tangent, at.cache, dy, needs_dx, &mut |_| Ok(()))?;
    Ok(Some((dx, through.map_or(Ok(ddx.clone()), |through| add(&ddx, &through))?)))
}
