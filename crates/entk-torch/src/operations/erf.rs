//! The error function, with which modules write their own exact GELU.

use std::f64::consts::FRAC_2_SQRT_PI;

use candle_core::Tensor;
use entk_models::{MixedCotangents, ModelError, NormMode, Operation, only_tangent};

/// `erf(x)` entry by entry; its derivative is `2 e^(-x^2) / sqrt(pi)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Erf;

/// The first derivative, and the second.
type Slopes = (Tensor, Tensor);

impl Operation for Erf {
    type Cache = Slopes;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Slopes), ModelError> {
        let x = inputs[0];
        let slope = (x.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI)?;
        let second = ((x * &slope)? * -2.0)?;
        Ok((x.erf()?, (slope, second)))
    }

    fn jvp(&self, (slope, _): &Slopes, t: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
        Ok((only_tangent(t)? * slope)?)
    }

    fn vjp(
        &self,
        (slope, _): &Slopes,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>, ModelError> {
        Ok(vec![Some((dy * slope)?)])
    }

    fn mixed_vjp(
        &self,
        (slope, second): &Slopes,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        _: &[bool],
    ) -> Result<MixedCotangents, ModelError> {
        let moved = (ddy * slope)?;
        let moved = match tangents[0] {
            Some(tangent) => (moved + (dy * second)?.mul(tangent)?)?,
            None => moved,
        };
        Ok(vec![Some(((dy * slope)?, moved))])
    }

    fn is_ours(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use entk_models::check::{self, Input};

    use super::Erf;

    #[test]
    fn the_error_function_has_its_derivatives() -> Result<(), Box<dyn std::error::Error>> {
        let x = Tensor::new(&[[-2.0f64, -0.3, 0.0], [0.4, 1.1, 3.0]], &Device::Cpu)?;
        check::operation(Erf, &[Input::Each(x)])?.ensure()?;
        Ok(())
    }
}
