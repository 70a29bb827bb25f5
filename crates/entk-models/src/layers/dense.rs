//! Dense layer: its factor is the pair (a, d) of inputs and cotangents.

use candle_core::Tensor;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    factor::Factor,
    layer::{FactorSink, Layer, NormMode, add_tangents, bilinear_mixed_vjp},
    loops::matmul::{matmul, matmul_bt},
    mixed::{MixedPoint, MixedSink},
    params::{Params, init::Initializer, spec::ParamSpec},
};

/// y = x W^T + b, W (out, in).
#[derive(Debug, Clone)]
pub struct Dense {
    weight: String,
    bias: Option<String>,
    inputs: usize,
    outputs: usize,
}

impl Dense {
    /// A layer with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        Self {
            weight: format!("{name}.weight"),
            bias: Some(format!("{name}.bias")),
            inputs,
            outputs,
        }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    fn add_bias(&self, y: Tensor, params: &Params) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(y.broadcast_add(params.get(bias)?)?),
            None => Ok(y),
        }
    }
}

impl Layer for Dense {
    fn specs(&self) -> Vec<ParamSpec> {
        let init = Initializer::LecunNormal { fan_in: self.inputs };
        let weight = ParamSpec::trainable(&self.weight, &[self.outputs, self.inputs], init);
        let bias = (self.bias.as_ref())
            .map(|b| ParamSpec::trainable(b, &[self.outputs], Initializer::Zeros));
        std::iter::once(weight).chain(bias).collect()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        if input != [self.inputs] {
            return Err(ModelError::shape(&self.weight, format!("(N, {})", self.inputs), input));
        }
        Ok(vec![self.outputs])
    }

    fn operations(&self, _: &[usize]) -> Result<f64> {
        Ok(2.0 * (self.inputs * self.outputs) as f64)
    }

    fn forward(&self, params: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        let y = self.add_bias(matmul_bt(x, params.get(&self.weight)?)?, params)?;
        Ok((y, Cache::of([x.clone()]).stopping(self.stops(params)?)))
    }

    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let moved = matmul_bt(cache.input()?, tangent.get(&self.weight)?)?;
        let through = dx
            .filter(|_| !cache.stops)
            .map(|dx| matmul_bt(dx, params.get(&self.weight)?))
            .transpose()?;
        add_tangents(Some(self.add_bias(moved, tangent)?), through)
    }

    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        sink(Factor::Dense {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            inputs: cache.input()?.clone(),
            cotangents: dy.clone(),
        })?;
        (needs_dx && !cache.stops).then(|| matmul(dy, params.get(&self.weight)?)).transpose()
    }

    fn stops(&self, params: &Params) -> Result<bool> {
        params.is_zero(&self.weight)
    }

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        bilinear_mixed_vjp(self, at, dy, ddy, needs_dx, sink)
    }
}
