//! Operations that are a linear function of one value: each says what it does and its transpose,
//! and both derivatives follow. Used by pooling, resampling, shapes and reductions.

use std::fmt::Debug;

use candle_core::Tensor;

use crate::error::Result;

/// A linear function of one value, up to a constant. Tensors have a leading axis of examples.
pub(crate) trait LinearMap: Debug {
    /// Shape of one example's result.
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>>;

    /// The function of `x`.
    fn apply(&self, x: &Tensor) -> Result<Tensor>;

    /// Its transpose: for `dy` of the result's shape a tensor of shape `input`.
    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor>;

    /// The function and the constant.
    fn value(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x)
    }
}

/// Implements `Operation` for types that are a [`LinearMap`]. Their cache is the input's shape.
macro_rules! linear_operation {
    ($type:ty $(, $size:ident)?) => {
        const _: () = {
            use candle_core::Tensor;

            use crate::{
                error::{ModelError, Result},
                operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
                operations::linear_map::LinearMap,
            };

            impl$(<const $size: usize>)? Operation for $type {
                type Cache = Vec<usize>;

                fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
                    match inputs {
                        [input] => LinearMap::shape(self, input),
                        _ => Err(ModelError::arity(self, inputs.len())),
                    }
                }

                fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Vec<usize>)> {
                    Ok((self.value(inputs[0])?, inputs[0].dims()[1..].to_vec()))
                }

                fn jvp(&self, _: &Vec<usize>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
                    self.apply(only_tangent(tangents)?)
                }

                fn vjp(
                    &self,
                    input: &Vec<usize>,
                    dy: &Tensor,
                    _: &[bool],
                ) -> Result<Vec<Option<Tensor>>> {
                    let input = [&[dy.dim(0)?], &input[..]].concat();
                    Ok(vec![Some(self.transposed(&input, dy)?)])
                }

                fn mixed_vjp(
                    &self,
                    input: &Vec<usize>,
                    _: &[Option<&Tensor>],
                    dy: &Tensor,
                    ddy: &Tensor,
                    wanted: &[bool],
                ) -> Result<MixedCotangents> {
                    linear_mixed_vjp(self, input, dy, ddy, wanted)
                }
            }
        };
    };
}
pub(crate) use linear_operation;
