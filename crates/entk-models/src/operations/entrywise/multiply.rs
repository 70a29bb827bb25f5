//! Products of two values, entry by entry, with broadcasting: scales, gates and masks.

use candle_core::Tensor;

use crate::{
    error::Result,
    loops::entrywise::{
        broadcast::{Binary, binary},
        unbroadcast::unbroadcast_product,
    },
    operation::{MixedCotangents, NormMode, Operation},
    operations::entrywise::pair::{broadcast_shape, sum_of},
};

/// a b, entry by entry, with the broadcasting of [`Add`](crate::Add). A parameter that is exactly
/// zero blocks the other side. Cost: one pass over memory, and one for each cotangent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Multiply;

impl Operation for Multiply {
    /// The factors.
    type Cache = [Tensor; 2];

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        broadcast_shape(self, inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, [Tensor; 2])> {
        let product = binary(Binary::Multiply, inputs[0], inputs[1])?;
        Ok((product, [inputs[0].clone(), inputs[1].clone()]))
    }

    fn jvp(&self, factors: &[Tensor; 2], tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let term = |at: usize| {
            let with = |tangent| binary(Binary::Multiply, tangent, &factors[1 - at]);
            tangents[at].map(with).transpose()
        };
        sum_of(term(0)?, term(1)?)
    }

    fn vjp(
        &self,
        factors: &[Tensor; 2],
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let cotangent = |(at, wanted): (usize, &bool)| {
            let product = || unbroadcast_product(dy, &factors[1 - at], factors[at].dims(), 1.0);
            wanted.then(product).transpose()
        };
        wanted.iter().enumerate().map(cotangent).collect()
    }

    fn mixed_vjp(
        &self,
        factors: &[Tensor; 2],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let cotangents = |at: usize| {
            let product = |d, factor| unbroadcast_product(d, factor, factors[at].dims(), 1.0);
            let through = tangents[1 - at].map(|tangent| product(dy, tangent)).transpose()?;
            let moved = sum_of(Some(product(ddy, &factors[1 - at])?), through)?;
            Ok((product(dy, &factors[1 - at])?, moved))
        };
        wanted.iter().enumerate().map(|(at, w)| w.then(|| cotangents(at)).transpose()).collect()
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        zero.iter().rev().copied().collect()
    }
}
