//! Sums and differences of two values, entry by entry, with broadcasting.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::entrywise::{
        broadcast::{Binary, binary},
        scaled,
        unbroadcast::unbroadcast,
    },
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp},
    operations::entrywise::pair::{Shapes, broadcast_shape},
};

/// a + b, entry by entry. Axes of one example are aligned at the last, and those of length 1
/// repeat, as in NumPy; examples are never summed. Cost: one pass over memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Add;

/// a - b, entry by entry, with the broadcasting of [`Add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subtract;

/// A sum with signs.
trait Signed: Operation<Cache = Shapes> {
    const RULE: Binary;
    /// The factors of both inputs.
    const SIGNS: [f64; 2];

    fn tangent(shapes: &Shapes, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let alone = |tangent, sign| shapes.spread(&scaled(tangent, sign)?);
        match (tangents[0], tangents[1]) {
            (Some(a), Some(b)) => binary(Self::RULE, a, b),
            (Some(a), None) => alone(a, Self::SIGNS[0]),
            (None, Some(b)) => alone(b, Self::SIGNS[1]),
            (None, None) => Err(ModelError::Cache { what: "tangent" }),
        }
    }

    fn cotangents(shapes: &Shapes, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let cotangent = |(at, wanted): (usize, &bool)| {
            let sum = || unbroadcast(dy, &shapes.inputs[at], Self::SIGNS[at]);
            wanted.then(sum).transpose()
        };
        wanted.iter().enumerate().map(cotangent).collect()
    }
}

impl Signed for Add {
    const RULE: Binary = Binary::Add;
    const SIGNS: [f64; 2] = [1.0, 1.0];
}

impl Signed for Subtract {
    const RULE: Binary = Binary::Subtract;
    const SIGNS: [f64; 2] = [1.0, -1.0];
}

macro_rules! signed_operation {
    ($type:ty) => {
        impl Operation for $type {
            /// Shapes.
            type Cache = Shapes;

            fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
                broadcast_shape(self, inputs)
            }

            fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Shapes)> {
                let sum = binary(<Self as Signed>::RULE, inputs[0], inputs[1])?;
                Ok((sum, Shapes::of(inputs)))
            }

            fn jvp(&self, shapes: &Shapes, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
                <Self as Signed>::tangent(shapes, tangents)
            }

            fn vjp(
                &self,
                shapes: &Shapes,
                dy: &Tensor,
                wanted: &[bool],
            ) -> Result<Vec<Option<Tensor>>> {
                <Self as Signed>::cotangents(shapes, dy, wanted)
            }

            fn mixed_vjp(
                &self,
                shapes: &Shapes,
                _: &[Option<&Tensor>],
                dy: &Tensor,
                ddy: &Tensor,
                wanted: &[bool],
            ) -> Result<MixedCotangents> {
                linear_mixed_vjp(self, shapes, dy, ddy, wanted)
            }

            fn takes_shared(&self, _: usize) -> bool {
                true
            }
        }
    };
}
signed_operation!(Add);
signed_operation!(Subtract);
