//! Broadcasting to a larger shape: a class token to tokens, a scale to channels.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::sums::{Axis, axis_sums},
    operations::{
        axes::{reshaped, reshaped_examples},
        linear_map::{LinearMap, linear_operation},
    },
};

/// One example's entries repeated along axes of length 1 and along new ones in front, to a shape
/// whose last axes are those of the input: a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expand {
    shape: Vec<usize>,
}

impl Expand {
    /// To this shape of one example.
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec() }
    }

    /// `input` with axes of length 1 in front.
    fn aligned(&self, input: &[usize]) -> Option<Vec<usize>> {
        let new = self.shape.len().checked_sub(input.len())?;
        Some([&vec![1; new][..], input].concat())
    }
}

impl LinearMap for Expand {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let fits = |aligned: &Vec<usize>| {
            aligned.iter().zip(&self.shape).all(|(from, to)| from == to || *from == 1)
        };
        match self.aligned(input).filter(fits) {
            Some(_) => Ok(self.shape.clone()),
            None => {
                let expected = format!("last axes of {:?}, or 1 in their place", self.shape);
                Err(ModelError::shape("expand", expected, input))
            }
        }
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let aligned = self.aligned(&x.dims()[1..]).unwrap_or_default();
        let x = reshaped_examples(x, &aligned)?;
        Ok(x.broadcast_as([&x.dims()[..1], &self.shape].concat())?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        let aligned = self.aligned(&input[1..]).unwrap_or_default();
        let (mut dims, mut dx) = (dy.dims().to_vec(), dy.clone());
        for (axis, length) in aligned.into_iter().enumerate().rev() {
            if length != self.shape[axis] {
                dx = axis_sums(&dx, Axis::of(&dims, axis + 1..axis + 2), 1.0)?;
                dims[axis + 1] = 1;
            }
        }
        reshaped(&dx, input)
    }
}

linear_operation!(Expand);
