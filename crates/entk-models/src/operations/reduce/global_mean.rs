//! Mean over all pixels; before the last layer of a ResNet.

use candle_core::Tensor;
use entk_device::Windows;

use crate::{
    error::{ModelError, Result},
    loops::{channel::pixel_sum, pool::average_vjp},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
};

/// Mean over all pixels, (N, C, H, W) -> (N, C). Cost: one pass over memory.
#[derive(Debug, Clone, Copy)]
pub struct GlobalMean;

fn mean(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    Ok((pixel_sum(x)? * (1.0 / (height * width) as f64))?)
}

impl Operation for GlobalMean {
    /// Height and width.
    type Cache = [usize; 2];

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [[channels, height, width]] if height * width > 0 => Ok(vec![*channels]),
            _ => Err(ModelError::shape("global mean", "(N, C, H, W)", &inputs.concat())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, [usize; 2])> {
        let (_, _, height, width) = inputs[0].dims4()?;
        Ok((mean(inputs[0])?, [height, width]))
    }

    fn jvp(&self, _: &[usize; 2], tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        mean(only_tangent(tangents)?)
    }

    fn vjp(&self, size: &[usize; 2], dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let (batch, channels) = dy.dims2()?;
        let windows = Windows { planes: [batch, channels], output: [1, 1], window: *size };
        Ok(vec![Some(average_vjp(dy, windows)?)])
    }

    fn mixed_vjp(
        &self,
        size: &[usize; 2],
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, size, dy, ddy, wanted)
    }
}
