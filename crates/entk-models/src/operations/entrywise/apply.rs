//! A function of one number as an operation: one pass over memory each way.

use candle_core::Tensor;
use entk_device::{Activation, Function};

use crate::{
    error::{ModelError, Result},
    loops::entrywise::{derivative_product, mixed_product, scaled, value},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
};

impl Operation for Function {
    /// The input, unless the derivative is a constant.
    type Cache = Option<Tensor>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Option<Tensor>)> {
        let kept = (!matches!(self, Self::Affine(..))).then(|| inputs[0].clone());
        Ok((value(*self, inputs[0])?, kept))
    }

    fn jvp(&self, x: &Option<Tensor>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        match (x, *self) {
            (Some(x), f) => derivative_product(f, x, only_tangent(tangents)?),
            (None, Self::Affine(scale, _)) => scaled(only_tangent(tangents)?, scale),
            (None, _) => Err(ModelError::Cache { what: "input" }),
        }
    }

    fn vjp(&self, x: &Option<Tensor>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.jvp(x, &[Some(dy)])?)])
    }

    fn mixed_vjp(
        &self,
        x: &Option<Tensor>,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        match x {
            None => linear_mixed_vjp(self, x, dy, ddy, wanted),
            Some(x) => Ok(vec![Some(mixed_product(*self, x, tangents[0], dy, ddy)?)]),
        }
    }
}

impl Operation for Activation {
    type Cache = Option<Tensor>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Function::from(*self).output_shape(inputs)
    }

    fn forward(&self, inputs: &[&Tensor], mode: NormMode) -> Result<(Tensor, Option<Tensor>)> {
        Function::from(*self).forward(inputs, mode)
    }

    fn jvp(&self, x: &Option<Tensor>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        Function::from(*self).jvp(x, tangents)
    }

    fn vjp(&self, x: &Option<Tensor>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Function::from(*self).vjp(x, dy, wanted)
    }

    fn mixed_vjp(
        &self,
        x: &Option<Tensor>,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        Function::from(*self).mixed_vjp(x, tangents, dy, ddy, wanted)
    }
}
