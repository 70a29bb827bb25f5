//! Axes in another order; heads of attention change places with tokens by it.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    operations::linear_map::{LinearMap, linear_operation},
};

/// The axes of one example in another order: axis i of the result is axis `order[i]` of the input,
/// counted from 0 behind N. A view: what needs contiguous entries copies them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permute {
    order: Vec<usize>,
}

impl Permute {
    /// To this order: (1, 0) transposes a matrix.
    pub fn new(order: &[usize]) -> Self {
        Self { order: order.to_vec() }
    }

    fn with_examples(order: impl Iterator<Item = usize>) -> Vec<usize> {
        std::iter::once(0).chain(order.map(|axis| axis + 1)).collect()
    }
}

impl LinearMap for Permute {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..input.len()) {
            let expected = format!("the axes {:?}, counted from 0 behind N", self.order);
            return Err(ModelError::shape("permute", expected, input));
        }
        Ok(self.order.iter().map(|axis| input[*axis]).collect())
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.permute(Self::with_examples(self.order.iter().copied()))?)
    }

    fn transposed(&self, _: &[usize], dy: &Tensor) -> Result<Tensor> {
        let place = |axis| self.order.iter().position(|from| *from == axis).unwrap_or(axis);
        Ok(dy.permute(Self::with_examples((0..self.order.len()).map(place)))?)
    }
}

linear_operation!(Permute);
