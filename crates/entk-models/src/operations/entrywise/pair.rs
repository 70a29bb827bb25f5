//! What operations of two values with broadcasting share: shapes of one example, and the shapes
//! that their derivatives need. Called by sums, products and quotients.

use std::fmt::Debug;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::entrywise::broadcast::broadcast_dims,
    operation::add_tangents,
};

/// Shapes of both inputs, with their leading axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shapes {
    pub(crate) inputs: [Vec<usize>; 2],
}

impl Shapes {
    /// Of the inputs of a forward pass.
    pub(crate) fn of(inputs: &[&Tensor]) -> Self {
        Self { inputs: [0, 1].map(|at| inputs[at].dims().to_vec()) }
    }

    /// `x`, of the shape of an input, as one of the result's shape, without a copy.
    pub(crate) fn spread(&self, x: &Tensor) -> Result<Tensor> {
        let [a, b] = &self.inputs;
        let dims = broadcast_dims(a, b);
        let ones = vec![1; dims.len() - x.rank()];
        let aligned = [&x.dims()[..1], &ones, &x.dims()[1..]].concat();
        Ok(x.reshape(aligned)?.broadcast_as(dims)?)
    }
}

/// The shape of one example's result.
pub(crate) fn broadcast_shape(operation: &dyn Debug, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let &[a, b] = inputs else { return Err(ModelError::arity(operation, inputs.len())) };
    let [with_a, with_b] = [a, b].map(|shape| [&[1], shape].concat());
    let shape = broadcast_dims(&with_a, &with_b).split_off(1);
    let fits = |input: &[usize]| {
        let last = &shape[shape.len() - input.len()..];
        input.iter().zip(last).all(|(size, of)| size == of || *size == 1)
    };
    if fits(a) && fits(b) {
        return Ok(shape);
    }
    Err(ModelError::shape(format!("{operation:?}"), format!("to be broadcast with {a:?}"), b))
}

/// A sum of one or two tangents.
pub(crate) fn sum_of(a: Option<Tensor>, b: Option<Tensor>) -> Result<Tensor> {
    add_tangents(a, b)?.ok_or(ModelError::Cache { what: "tangent" })
}
