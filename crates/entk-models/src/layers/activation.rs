use candle_core::Tensor;

use crate::{
    error::Result,
    layer::{Cache, FactorSink, Layer, NormMode},
    mixed::{MixedPoint, MixedSink},
    ops::activation::{Activation, add, curvature_product, derivative_product, value},
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

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        _: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        if !needs_dx {
            return Ok(None);
        }
        let x = &at.cache.tensors[0];
        let mut moved = derivative_product(*self, x, ddy)?;
        if let Some(dx) = at.moved.tensors.first() {
            moved = add(&moved, &curvature_product(*self, x, dy, dx)?)?;
        }
        Ok(Some((derivative_product(*self, x, dy)?, moved)))
    }
}
