//! Choices by a condition, entry by entry: what is not chosen does not matter, whatever it is.

use candle_core::{DType, Tensor};
use entk_models::{MixedCotangents, ModelError, NormMode, Operation, linear_mixed_vjp};

use crate::operations::{broadcast, choosing_operation, gathered, spread, tangent_or_zeros};

/// a where the condition is not 0, else b: inputs are the condition, a and b, with broadcasting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choose;

/// What derivatives of a [`Choose`] need.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// (N, common shape), u8.
    condition: Tensor,
    /// Shapes of one example's a and b.
    shapes: [Vec<usize>; 2],
}

fn truth(condition: &Tensor) -> Result<Tensor, ModelError> {
    Ok(condition.ne(&condition.zeros_like()?)?.to_dtype(DType::U8)?)
}

impl Operation for Choose {
    type Cache = Chosen;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        broadcast("choice", inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Chosen), ModelError> {
        let all = spread(inputs)?;
        let condition = truth(&all[0])?;
        let y = condition.where_cond(&all[1], &all[2])?;
        let shapes = [1, 2].map(|at| inputs[at].dims()[1..].to_vec());
        Ok((y, Chosen { condition, shapes }))
    }

    fn jvp(&self, chosen: &Chosen, tangents: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
        let term = |tangent: Option<&Tensor>| {
            let spread =
                |tangent| Ok::<_, ModelError>(spread(&[&chosen.condition, tangent])?.remove(1));
            tangent_or_zeros(tangent.map(spread).transpose()?, tangents, chosen.condition.dims())
        };
        let (a, b) = (term(tangents[1])?, term(tangents[2])?);
        Ok(chosen.condition.broadcast_as(a.dims())?.where_cond(&a, &b.broadcast_as(a.dims())?)?)
    }

    fn vjp(
        &self,
        chosen: &Chosen,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>, ModelError> {
        let zero = dy.zeros_like()?;
        let of = |at: usize| {
            let [a, b] = if at == 0 { [dy, &zero] } else { [&zero, dy] };
            let whole = chosen.condition.broadcast_as(dy.dims())?.where_cond(a, b)?;
            gathered(whole, &chosen.shapes[at])
        };
        let cotangent = |at: usize| wanted[at + 1].then(|| of(at)).transpose();
        Ok(vec![None, cotangent(0)?, cotangent(1)?])
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    choosing_operation!(0);
}

/// A number where the condition is not 0, else a: inputs are a and the condition. The number may be
/// infinite, as in masks of attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replace {
    pub(crate) with: f64,
}

/// What derivatives of a [`Replace`] need.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// (N, common shape), u8.
    condition: Tensor,
    /// Shape of one example's a.
    shape: Vec<usize>,
}

impl Replaced {
    /// x where the condition does not hold, else a number.
    fn kept(&self, x: &Tensor, instead: f64) -> Result<Tensor, ModelError> {
        let instead = Tensor::new(instead, x.device())?.to_dtype(x.dtype())?;
        let condition = self.condition.broadcast_as(x.dims())?;
        Ok(condition.where_cond(&instead.broadcast_as(x.dims())?, x)?)
    }
}

impl Operation for Replace {
    type Cache = Replaced;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        broadcast("choice", inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Replaced), ModelError> {
        let both = spread(inputs)?;
        let cache = Replaced { condition: truth(&both[1])?, shape: inputs[0].dims()[1..].to_vec() };
        Ok((cache.kept(&both[0], self.with)?, cache))
    }

    fn jvp(&self, cache: &Replaced, tangents: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
        let kept = |tangent: &Tensor| cache.kept(&spread(&[tangent, &cache.condition])?[0], 0.0);
        tangent_or_zeros(tangents[0].map(kept).transpose()?, tangents, cache.condition.dims())
    }

    fn vjp(
        &self,
        cache: &Replaced,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>, ModelError> {
        let da = wanted[0].then(|| gathered(cache.kept(dy, 0.0)?, &cache.shape));
        Ok(vec![da.transpose()?, None])
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    choosing_operation!(1);
}
