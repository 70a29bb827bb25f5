//! An activation as a layer of its own, without parameters: one pass over memory each way.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    cache::Cache,
    error::Result,
    layer::{FactorSink, Layer, NormMode},
    loops::entrywise::{derivative_product, mixed_product, value},
    mixed::{MixedPoint, MixedSink},
    params::Params,
};

impl Layer for Activation {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }

    fn forward(&self, _: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        Ok((value(*self, x)?, Cache::of([x.clone()])))
    }

    fn jvp(
        &self,
        _: &Params,
        _: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        dx.map(|dx| derivative_product(*self, cache.input()?, dx)).transpose()
    }

    fn vjp(
        &self,
        _: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        _: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        needs_dx.then(|| derivative_product(*self, cache.input()?, dy)).transpose()
    }

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        _: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let (x, dx) = (at.cache.input()?, at.input_tangent());
        needs_dx.then(|| mixed_product(*self, x, dx, dy, ddy)).transpose()
    }
}
