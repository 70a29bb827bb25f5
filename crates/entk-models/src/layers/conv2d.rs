//! Convolution as a layer: its factor is the images and the cotangents at its output, unexpanded.

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    factor::Factor,
    layer::{FactorSink, Layer, NormMode, add_tangents, bilinear_mixed_vjp},
    loops::{
        conv::{conv2d, input_vjp},
        padding::Padding,
    },
    mixed::{MixedPoint, MixedSink},
    params::{Params, init::Initializer, spec::ParamSpec},
};

/// Two-dimensional cross-correlation with weight (out, in, k, k).
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: String,
    bias: Option<String>,
    channels: usize,
    filters: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
}

impl Conv2d {
    /// A square kernel, stride 1, `Padding::Same`, parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, channels: usize, filters: usize, kernel: usize) -> Self {
        Self {
            weight: format!("{name}.weight"),
            bias: Some(format!("{name}.bias")),
            channels,
            filters,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: Padding::Same,
        }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// Sets the stride on both axes.
    #[must_use]
    pub fn with_stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// Sets the padding.
    #[must_use]
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    fn geometry(&self, input: &[usize]) -> Result<Geometry> {
        let &[channels, height, width] = input else {
            return Err(ModelError::shape(&self.weight, "(N, C, H, W)", input));
        };
        if channels != self.channels || height * width == 0 {
            let expected = format!("(N, {}, H, W)", self.channels);
            return Err(ModelError::shape(&self.weight, expected, input));
        }
        if self.stride.contains(&0) || self.kernel.contains(&0) || self.filters == 0 {
            return Err(ModelError::zero(format!("{}: kernel, stride and filters", self.weight)));
        }
        let sizes = [channels, height, width];
        self.padding.geometry(&self.weight, sizes, self.filters, self.kernel, self.stride)
    }
}

impl Layer for Conv2d {
    fn specs(&self) -> Vec<ParamSpec> {
        let [kh, kw] = self.kernel;
        let init = Initializer::LecunNormal { fan_in: self.channels * kh * kw };
        let shape = [self.filters, self.channels, kh, kw];
        let bias = (self.bias.as_ref())
            .map(|b| ParamSpec::trainable(b, &[self.filters], Initializer::Zeros));
        std::iter::once(ParamSpec::trainable(&self.weight, &shape, init)).chain(bias).collect()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let g = self.geometry(input)?;
        Ok(vec![g.filters, g.output[0], g.output[1]])
    }

    fn operations(&self, input: &[usize]) -> Result<f64> {
        Ok(self.geometry(input)?.operations())
    }

    fn forward(&self, params: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        let geometry = self.geometry(&x.dims()[1..])?;
        let bias = self.bias.as_ref().map(|b| params.get(b)).transpose()?;
        let y = conv2d(x, params.get(&self.weight)?, bias, geometry)?;
        Ok((y, Cache::of([x.clone()]).stopping(self.stops(params)?)))
    }

    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let x = cache.input()?;
        let geometry = self.geometry(&x.dims()[1..])?;
        let bias = self.bias.as_ref().map(|b| tangent.get(b)).transpose()?;
        let moved = conv2d(x, tangent.get(&self.weight)?, bias, geometry)?;
        let through = dx
            .filter(|_| !cache.stops)
            .map(|dx| conv2d(dx, params.get(&self.weight)?, None, geometry))
            .transpose()?;
        add_tangents(Some(moved), through)
    }

    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        let x = cache.input()?;
        let geometry = self.geometry(&x.dims()[1..])?;
        sink(Factor::Conv {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            inputs: x.clone(),
            cotangents: dy.clone(),
            geometry,
        })?;
        (needs_dx && !cache.stops)
            .then(|| input_vjp(dy, params.get(&self.weight)?, geometry))
            .transpose()
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
