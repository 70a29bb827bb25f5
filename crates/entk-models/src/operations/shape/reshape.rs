//! Other axes over the same entries in row-major order: whole reshapes, and neighbouring axes as
//! one.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    operations::{
        axes::{reshaped, reshaped_examples},
        linear_map::{LinearMap, linear_operation},
    },
};

/// One example's entries in another shape, in row-major order: a view where `x` is contiguous, else
/// a copy. Axes of length 1 are added and removed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape {
    shape: Vec<usize>,
}

impl Reshape {
    /// To this shape of one example.
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec() }
    }
}

impl LinearMap for Reshape {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let entries = |shape: &[usize]| shape.iter().fold(1, |n: usize, m| n.saturating_mul(*m));
        if entries(&self.shape) != entries(input) {
            let expected = format!("as many entries as {:?}", self.shape);
            return Err(ModelError::shape("reshape", expected, input));
        }
        Ok(self.shape.clone())
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        reshaped_examples(x, &self.shape)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        reshaped(dy, input)
    }
}

linear_operation!(Reshape);
