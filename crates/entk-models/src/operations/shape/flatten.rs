//! From images to vectors, in row-major order; before the first dense layer.

use candle_core::Tensor;

use crate::{
    error::Result,
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
};

/// (N, C, H, W) -> (N, C H W), channel-major. Contiguous images are not copied.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl Operation for Flatten {
    /// Shape of the input.
    type Cache = Vec<usize>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(vec![inputs.concat().iter().product()])
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Vec<usize>)> {
        Ok((inputs[0].flatten_from(1)?, inputs[0].dims().to_vec()))
    }

    fn jvp(&self, _: &Vec<usize>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        Ok(only_tangent(tangents)?.flatten_from(1)?)
    }

    fn vjp(&self, shape: &Vec<usize>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let shape = [&[dy.dims()[0]], &shape[1..]].concat();
        Ok(vec![Some(dy.reshape(shape)?)])
    }

    fn mixed_vjp(
        &self,
        shape: &Vec<usize>,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, shape, dy, ddy, wanted)
    }
}
