//! Neighbouring axes as one, or all of them: before the first dense layer, and from images to
//! tokens.

use std::ops::Range;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    operations::{
        axes::{reshaped, reshaped_examples},
        linear_map::{LinearMap, linear_operation},
    },
};

/// (N, C, H, W) -> (N, C H W), in row-major order. Contiguous inputs are not copied.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl LinearMap for Flatten {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(vec![input.iter().product()])
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        reshaped_examples(x, &[x.dims()[1..].iter().product()])
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        reshaped(dy, input)
    }
}

linear_operation!(Flatten);

/// Neighbouring axes of one example as one, `torch.flatten` with axes counted from 0 behind N: a
/// view where `x` is contiguous, else a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlattenAxes {
    axes: Range<usize>,
}

impl FlattenAxes {
    /// Makes one of these axes.
    pub fn new(axes: Range<usize>) -> Self {
        Self { axes }
    }
}

impl LinearMap for FlattenAxes {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let Range { start, end } = self.axes;
        if start >= end || end > input.len() {
            let expected = format!("the axes {start}..{end}, counted from 0 behind N");
            return Err(ModelError::shape("flatten", expected, input));
        }
        let size = input[self.axes.clone()].iter().product();
        Ok([&input[..start], &[size], &input[end..]].concat())
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        reshaped_examples(x, &self.shape(&x.dims()[1..])?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        reshaped(dy, input)
    }
}

linear_operation!(FlattenAxes);
