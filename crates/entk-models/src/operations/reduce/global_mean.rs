//! Mean over all pixels; before the last layer of a ResNet.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    operations::{
        linear_map::{LinearMap, linear_operation},
        reduce::sum::Mean,
    },
};

/// Mean over all pixels, (N, C, H, W) -> (N, C). Cost: one pass over memory.
#[derive(Debug, Clone, Copy)]
pub struct GlobalMean;

impl LinearMap for GlobalMean {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match *input {
            [channels, height, width] if height * width > 0 => Ok(vec![channels]),
            _ => Err(ModelError::shape("global mean", "(N, C, H, W)", input)),
        }
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Mean::over(&[1, 2]).apply(x)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        Mean::over(&[1, 2]).transposed(input, dy)
    }
}

linear_operation!(GlobalMean);
