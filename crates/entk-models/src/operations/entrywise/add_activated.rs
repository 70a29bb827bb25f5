//! The sum of two values of one shape with an activation behind it: the end of a residual block.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    loops::entrywise::{activated_sum, add, mixed_product, sum_derivative_product},
    operation::{MixedCotangents, NormMode, Operation, add_tangents},
};

/// `act(a + b)` of two values of one shape, the activation being the identity unless given: one
/// pass over memory less than an addition and an activation.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddActivated {
    /// The activation of the sum.
    pub activation: Option<Activation>,
}

impl AddActivated {
    /// `act'(a + b) d`.
    fn through(&self, summands: Option<&[Tensor; 2]>, d: &Tensor) -> Result<Tensor> {
        match (self.activation, summands) {
            (Some(act), Some([a, b])) => sum_derivative_product(act, a, b, d),
            _ => Ok(d.clone()),
        }
    }
}

impl Operation for AddActivated {
    /// The summands, where there is an activation.
    type Cache = Option<[Tensor; 2]>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match *inputs {
            [a, b] if a == b => Ok(a.to_vec()),
            [a, b] => Err(ModelError::shape("sum of two values", format!("(N, {a:?})"), b)),
            _ => Err(ModelError::arity(self, inputs.len())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Self::Cache)> {
        let (a, b) = (inputs[0], inputs[1]);
        let kept = self.activation.map(|_| [a.clone(), b.clone()]);
        Ok((activated_sum(self.activation, a, b)?, kept))
    }

    fn jvp(&self, cache: &Self::Cache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let sum = add_tangents(tangents[0].cloned(), tangents[1].cloned())?;
        let sum = sum.ok_or(ModelError::Cache { what: "tangent" })?;
        self.through(cache.as_ref(), &sum)
    }

    fn vjp(
        &self,
        cache: &Self::Cache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let d = self.through(cache.as_ref(), dy)?;
        Ok(wanted.iter().map(|wanted| wanted.then(|| d.clone())).collect())
    }

    fn mixed_vjp(
        &self,
        cache: &Self::Cache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let pair = match (self.activation, cache) {
            (Some(act), Some([a, b])) => {
                let moved = add_tangents(tangents[0].cloned(), tangents[1].cloned())?;
                mixed_product(act, &add(a, b)?, moved.as_ref(), dy, ddy)?
            }
            _ => (dy.clone(), ddy.clone()),
        };
        Ok(wanted.iter().map(|wanted| wanted.then(|| pair.clone())).collect())
    }
}
