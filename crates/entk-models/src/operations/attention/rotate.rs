//! Rotary positions: queries or keys go in, the same turned by angles that grow with the token come
//! out. Called before [`Attend`](crate::Attend).

use candle_core::{D, Tensor};

use crate::{
    error::{ModelError, Result},
    operations::linear_map::{LinearMap, linear_operation},
};

/// Rotary positions (Su et al., RoFormer) in the form of Llama: of x (.., T, D) the entries i and
/// i + D/2 of token t turn by the angle `t base^(-2 i / D)`. Angles are computed in f64. Cost: a
/// few passes over memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotate {
    base: f64,
}

impl Rotate {
    /// With this base of the frequencies: 10,000 for Llama 1 and 2.
    pub fn new(base: f64) -> Self {
        Self { base }
    }

    /// Cosines and sines (T, D/2) in the element type of `x`.
    fn table(&self, x: &Tensor) -> Result<[Tensor; 2]> {
        let (tokens, half) = (x.dim(D::Minus2)?, x.dim(D::Minus1)? / 2);
        let frequency = |at: usize| self.base.powf(-(at as f64) / half as f64);
        let angles: Vec<f64> = (0..tokens)
            .flat_map(|token| (0..half).map(move |at| token as f64 * frequency(at)))
            .collect();
        let tensor = |of: fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = angles.iter().map(|angle| of(*angle)).collect();
            Ok(Tensor::from_vec(values, (tokens, half), x.device())?.to_dtype(x.dtype())?)
        };
        Ok([tensor(f64::cos)?, tensor(f64::sin)?])
    }

    /// Turned by the angles, or back.
    fn turned(&self, x: &Tensor, back: bool) -> Result<Tensor> {
        let [cos, sin] = self.table(x)?;
        let sin = if back { sin.neg()? } else { sin };
        let half = x.dim(D::Minus1)? / 2;
        let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[first, second], D::Minus1)?)
    }
}

impl LinearMap for Rotate {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match input {
            [.., _, width] if *width > 0 && width % 2 == 0 => Ok(input.to_vec()),
            _ => Err(ModelError::shape("rotary positions", "(N, .., T, D), D even", input)),
        }
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.turned(x, false)
    }

    fn transposed(&self, _: &[usize], dy: &Tensor) -> Result<Tensor> {
        self.turned(dy, true)
    }
}

linear_operation!(Rotate);
