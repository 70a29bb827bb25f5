//! Functions with steps: rounding and places of maxima, whose derivative is zero.

use candle_core::Tensor;
use entk_models::{MixedCotangents, ModelError, NormMode, Operation};

use crate::operations::constant_operation;

/// A function of one number that is constant between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Floor,
    Ceil,
    /// To the nearest, halves to the even one.
    Round,
    /// Towards zero.
    Truncate,
    /// -1, 0 or 1.
    Sign,
}

/// A step function entry by entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stepwise(pub(crate) Step);

/// To the nearest whole number, halves to the even one.
fn round(x: &Tensor) -> candle_core::Result<Tensor> {
    let half = (x.floor()? + 0.5)?;
    let even = ((x * 0.5)?.round()? * 2.0)?;
    x.eq(&half)?.where_cond(&even, &x.round()?)
}

impl Operation for Stepwise {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor), ModelError> {
        let x = inputs[0];
        let y = match self.0 {
            Step::Floor => x.floor(),
            Step::Ceil => x.ceil(),
            Step::Round => round(x),
            Step::Truncate => x.sign()? * x.abs()?.floor()?,
            Step::Sign => x.sign(),
        }?;
        Ok((y.clone(), y))
    }

    constant_operation!();
}

/// The place of the largest entry along an axis, the first of equals; the axis stays, with length
/// 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceOfMax {
    pub(crate) axis: usize,
}

impl Operation for PlaceOfMax {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        let mut shape = inputs[0].to_vec();
        shape[self.axis] = 1;
        Ok(shape)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor), ModelError> {
        let place = inputs[0].contiguous()?.argmax_keepdim(self.axis + 1)?;
        let place = place.to_dtype(inputs[0].dtype())?;
        Ok((place.clone(), place))
    }

    constant_operation!();
}
