//! Mean over all pixels; before the last layer of a ResNet.

use candle_core::Tensor;
use entk_device::Windows;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    layer::{FactorSink, Layer, NormMode, bilinear_mixed_vjp},
    loops::{channel::pixel_sum, pool::average_vjp},
    mixed::{MixedPoint, MixedSink},
    params::Params,
};

/// Mean over all pixels, (N, C, H, W) -> (N, C). Cost: one pass over memory.
#[derive(Debug, Clone, Copy)]
pub struct GlobalMean;

fn mean(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    Ok((pixel_sum(x)? * (1.0 / (height * width) as f64))?)
}

impl Layer for GlobalMean {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match *input {
            [channels, height, width] if height * width > 0 => Ok(vec![channels]),
            _ => Err(ModelError::shape("global mean", "(N, C, H, W)", input)),
        }
    }

    fn forward(&self, _: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        Ok((mean(x)?, Cache::of([x.clone()])))
    }

    fn jvp(
        &self,
        _: &Params,
        _: &Params,
        _: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        dx.map(mean).transpose()
    }

    fn vjp(
        &self,
        _: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        _: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        let (batch, channels, height, width) = cache.input()?.dims4()?;
        let windows =
            Windows { planes: [batch, channels], output: [1, 1], window: [height, width] };
        needs_dx.then(|| average_vjp(dy, windows)).transpose()
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
