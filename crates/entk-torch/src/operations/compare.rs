//! Comparisons: two values go in, 1 where they compare and 0 elsewhere comes out.

use candle_core::Tensor;
use entk_models::{MixedCotangents, ModelError, NormMode, Operation};

use crate::operations::{broadcast, constant_operation, spread};

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Differ,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// 1 where a comparison of two values holds, with broadcasting, else 0. Its derivative is zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compare(pub(crate) Comparison);

impl Operation for Compare {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        broadcast("comparison", inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor), ModelError> {
        let both = spread(inputs)?;
        let (a, b) = (&both[0], &both[1]);
        let truth = match self.0 {
            Comparison::Equal => a.eq(b),
            Comparison::Differ => a.ne(b),
            Comparison::Less => a.lt(b),
            Comparison::AtMost => a.le(b),
            Comparison::Greater => a.gt(b),
            Comparison::AtLeast => a.ge(b),
        }?;
        let truth = truth.to_dtype(inputs[0].dtype())?;
        Ok((truth.clone(), truth))
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    constant_operation!();
}
