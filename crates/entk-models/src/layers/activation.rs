use candle_core::Tensor;

use crate::{
    error::Result,
    layer::{Cache, FactorSink, Layer, NormMode},
    ops::activation::{Activation, derivative_product, value},
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
        dx.map(|dx| derivative_product(*self, &cache.tensors[0], dx)).transpose()
    }

    fn vjp(
        &self,
        _: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        _: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        needs_dx.then(|| derivative_product(*self, &cache.tensors[0], dy)).transpose()
    }
}
