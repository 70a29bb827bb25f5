//! Softmax and log-softmax along one axis.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::{
        attention::softmax::{
            log_softmax, log_softmax_cotangent, log_softmax_tangent, softmax, softmax_derivative,
            softmax_derivative_tangent,
        },
        axis::strided::contiguous,
        entrywise::add,
    },
    operation::{MixedCotangents, NormMode, Operation, only_tangent, pairs},
};

/// `y_i = exp(x_i) / sum_j exp(x_j)` along one axis, or its logarithm, without overflow.
///
/// An entry of minus infinity gives exactly 0 and takes no part; where all entries of a sum are
/// minus infinity the result is NaN, as in PyTorch. Cost: one pass over memory each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softmax {
    axis: usize,
    logarithm: bool,
}

impl Softmax {
    /// Along this axis, counted from 0 behind N.
    pub fn over(axis: usize) -> Self {
        Self { axis, logarithm: false }
    }

    /// The logarithm of the softmax, exact where probabilities are too small for a number.
    #[must_use]
    pub fn logarithm(self) -> Self {
        Self { logarithm: true, ..self }
    }

    /// Its axis as the last one, where loops want it, and back.
    fn turned(&self, x: &Tensor) -> Result<Tensor> {
        contiguous(&x.transpose(self.axis + 1, x.rank() - 1)?)
    }

    fn turned_back(&self, y: &Tensor) -> Result<Tensor> {
        Ok(y.transpose(self.axis + 1, y.rank() - 1)?)
    }
}

impl Operation for Softmax {
    /// The result, its axis last.
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [x] if x.get(self.axis).is_some_and(|length| *length > 0) => Ok(x.to_vec()),
            [x] => {
                let expected = format!("entries along axis {}, counted from 0 behind N", self.axis);
                Err(ModelError::shape("softmax", expected, x))
            }
            _ => Err(ModelError::arity(self, inputs.len())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor)> {
        let x = self.turned(inputs[0])?;
        let y = if self.logarithm { log_softmax(&x)? } else { softmax(&x)? };
        Ok((self.turned_back(&y)?, y))
    }

    fn jvp(&self, y: &Tensor, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let dx = self.turned(only_tangent(tangents)?)?;
        let rule = if self.logarithm { log_softmax_tangent } else { softmax_derivative };
        self.turned_back(&rule(y, &dx)?)
    }

    fn vjp(&self, y: &Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let rule = if self.logarithm { log_softmax_cotangent } else { softmax_derivative };
        Ok(vec![Some(self.turned_back(&rule(y, &self.turned(dy)?)?)?)])
    }

    /// `y (d - <y, d>)` moves with y; so does `d - p sum(d)` with the probabilities p.
    fn mixed_vjp(
        &self,
        y: &Tensor,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let fixed = self.vjp(y, dy, wanted)?;
        let mut moved = self.vjp(y, ddy, wanted)?;
        if let (Some(moved), Some(dx)) = (&mut moved[0], tangents[0]) {
            let (dx, dy) = (self.turned(dx)?, self.turned(dy)?);
            let through = if self.logarithm {
                let sum = dy.sum_keepdim(dy.rank() - 1)?.neg()?;
                softmax_derivative(&y.exp()?, &dx)?.broadcast_mul(&sum)?
            } else {
                softmax_derivative_tangent(y, &dy, &dx)?
            };
            *moved = add(moved, &self.turned_back(&through)?)?;
        }
        Ok(pairs(fixed, moved))
    }
}
