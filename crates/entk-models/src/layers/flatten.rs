//! From images to vectors, in row-major order; before the first dense layer.

use candle_core::Tensor;

use crate::{
    cache::Cache,
    error::Result,
    layer::{FactorSink, Layer, NormMode, bilinear_mixed_vjp},
    mixed::{MixedPoint, MixedSink},
    params::Params,
};

/// (N, C, H, W) -> (N, C H W), channel-major. Contiguous images are not copied.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl Layer for Flatten {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(vec![input.iter().product()])
    }

    fn forward(&self, _: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        Ok((x.flatten_from(1)?, Cache::of([x.clone()])))
    }

    fn jvp(
        &self,
        _: &Params,
        _: &Params,
        _: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        Ok(dx.map(|dx| dx.flatten_from(1)).transpose()?)
    }

    fn vjp(
        &self,
        _: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        _: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        needs_dx.then(|| Ok(dy.reshape(cache.input()?.shape())?)).transpose()
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
