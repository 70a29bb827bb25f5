//! Quotients of two values, entry by entry, with broadcasting.

use candle_core::Tensor;

use crate::{
    error::Result,
    loops::entrywise::{
        broadcast::{Binary, binary},
        scaled,
        unbroadcast::{unbroadcast, unbroadcast_product},
    },
    operation::{MixedCotangents, NormMode, Operation, pairs},
    operations::entrywise::pair::{broadcast_shape, sum_of},
};

/// a / b, entry by entry, with the broadcasting of [`Add`](crate::Add). A numerator that is a
/// parameter and exactly zero blocks the denominator. Cost: one pass over memory, and three for
/// both cotangents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Divide;

/// What derivatives of a quotient need.
#[derive(Debug, Clone)]
pub struct Quotient {
    /// Shape of the numerator, with its leading axis.
    numerator: Vec<usize>,
    denominator: Tensor,
    value: Tensor,
}

impl Quotient {
    /// (da - y db) / b: the tangent of a quotient y whose parts move, here of any such quotient.
    fn tangent(&self, y: &Tensor, da: Option<&Tensor>, db: Option<&Tensor>) -> Result<Tensor> {
        let product = db.map(|db| binary(Binary::Multiply, y, db)).transpose()?;
        let numerator = match (da, product) {
            (Some(da), Some(product)) => binary(Binary::Subtract, da, &product)?,
            (None, Some(product)) => scaled(&product, -1.0)?,
            (da, None) => sum_of(da.cloned(), None)?,
        };
        binary(Binary::Divide, &numerator, &self.denominator)
    }

    fn of_numerator(&self, scaled: &Tensor) -> Result<Tensor> {
        unbroadcast(scaled, &self.numerator, 1.0)
    }

    /// `-dy/b` times y, as the cotangent of the denominator.
    fn of_denominator(&self, scaled: &Tensor, y: &Tensor) -> Result<Tensor> {
        unbroadcast_product(scaled, y, self.denominator.dims(), -1.0)
    }
}

impl Operation for Divide {
    type Cache = Quotient;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        broadcast_shape(self, inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Quotient)> {
        let value = binary(Binary::Divide, inputs[0], inputs[1])?;
        let (numerator, denominator) = (inputs[0].dims().to_vec(), inputs[1].clone());
        Ok((value.clone(), Quotient { numerator, denominator, value }))
    }

    fn jvp(&self, at: &Quotient, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        at.tangent(&at.value, tangents[0], tangents[1])
    }

    fn vjp(&self, at: &Quotient, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let scaled = binary(Binary::Divide, dy, &at.denominator)?;
        Ok(vec![
            wanted[0].then(|| at.of_numerator(&scaled)).transpose()?,
            wanted[1].then(|| at.of_denominator(&scaled, &at.value)).transpose()?,
        ])
    }

    fn mixed_vjp(
        &self,
        at: &Quotient,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let fixed = self.vjp(at, dy, wanted)?;
        let scaled = binary(Binary::Divide, dy, &at.denominator)?;
        let moved = at.tangent(&scaled, Some(ddy), tangents[1])?;
        let of_denominator = || {
            let through = match tangents {
                [None, None] => None,
                _ => Some(at.of_denominator(&scaled, &self.jvp(at, tangents)?)?),
            };
            sum_of(Some(at.of_denominator(&moved, &at.value)?), through)
        };
        let moved = [
            wanted[0].then(|| at.of_numerator(&moved)).transpose()?,
            wanted[1].then(of_denominator).transpose()?,
        ];
        Ok(pairs(fixed, moved))
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        zero.iter().enumerate().map(|(at, _)| at == 1 && zero[0]).collect()
    }
}
