//! An activation as an operation of its own: one pass over memory each way.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    error::Result,
    loops::entrywise::{derivative_product, mixed_product, value},
    operation::{MixedCotangents, NormMode, Operation, only_tangent},
};

impl Operation for Activation {
    /// The input.
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor)> {
        Ok((value(*self, inputs[0])?, inputs[0].clone()))
    }

    fn jvp(&self, x: &Tensor, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        derivative_product(*self, x, only_tangent(tangents)?)
    }

    fn vjp(&self, x: &Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(derivative_product(*self, x, dy)?)])
    }

    fn mixed_vjp(
        &self,
        x: &Tensor,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        _: &[bool],
    ) -> Result<MixedCotangents> {
        Ok(vec![Some(mixed_product(*self, x, tangents[0], dy, ddy)?)])
    }
}
