//! The dense map whose weight is stored the other way round, as GPT-2's files have it. Its factor
//! is the pair (d, a) of cotangents and inputs.

use std::ops::Range;

use candle_core::Tensor;

use crate::{
    error::Result,
    factor::{Factor, token_sum},
    loops::entrywise::add,
    operation::{MixedCotangents, NormMode, Operation, add_tangents, pairs},
    operations::linear::affine::{
        AffineCache, add_bias, product, result_shape, tokens, transposed_product,
    },
};

/// `y = x W + b` over the last axis: x (.., in), W (in, out), and b (out) if it is given:
/// transformers' `Conv1D`. Weight and bias follow from parameters alone. Cost: as
/// [`Affine`](crate::Affine).
#[derive(Debug, Clone, Copy)]
pub struct AffineTransposed;

/// The gradient of W is the sum of `a (x) d`.
fn factor(names: &[&str], inputs: &Tensor, cotangents: &Tensor) -> Result<Factor> {
    Ok(Factor::Dense {
        weight: names[1].to_owned(),
        bias: None,
        inputs: tokens(cotangents)?,
        cotangents: tokens(inputs)?,
    })
}

impl Operation for AffineTransposed {
    type Cache = AffineCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        result_shape(self, inputs, true)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, AffineCache)> {
        let (x, weight) = (inputs[0].clone(), inputs[1].squeeze(0)?);
        let y = transposed_product(&x, &weight, inputs.get(2).copied())?;
        Ok((y, AffineCache { x, weight }))
    }

    fn jvp(&self, cache: &AffineCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let moved = tangents[1].map(|w| transposed_product(&cache.x, &w.squeeze(0)?, None));
        let through = tangents[0].map(|dx| transposed_product(dx, &cache.weight, None));
        let sum = add_tangents(moved.transpose()?, through.transpose()?)?;
        let sum = match sum {
            Some(sum) => sum,
            None => transposed_product(&cache.x.zeros_like()?, &cache.weight, None)?,
        };
        add_bias(sum, tangents.get(2).copied().flatten())
    }

    fn vjp(
        &self,
        cache: &AffineCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dx = wanted[0].then(|| product(dy, &cache.weight, None)).transpose()?;
        let bias = wanted.get(2).map(|wanted| wanted.then(|| token_sum(&tokens(dy)?)).transpose());
        Ok([dx, None].into_iter().chain(bias.transpose()?).collect())
    }

    /// The input's cotangent `d W^T` moves by `d' W^T + d W'^T`.
    fn mixed_vjp(
        &self,
        cache: &AffineCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let (fixed, mut moved) = (self.vjp(cache, dy, wanted)?, self.vjp(cache, ddy, wanted)?);
        if let (Some(sum), Some(weight)) = (moved[0].as_mut(), tangents[1]) {
            *sum = add(sum, &product(dy, &weight.squeeze(0)?, None)?)?;
        }
        Ok(pairs(fixed, moved))
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        let outputs = inputs[1].last().copied().unwrap_or(0);
        2.0 * (inputs[0].iter().product::<usize>() * outputs) as f64
    }

    fn needs_shared(&self, input: usize) -> bool {
        input > 0
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input == 0 && zero[1]).collect()
    }

    fn structured(&self) -> Range<usize> {
        1..2
    }

    fn factor(&self, cache: &AffineCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        factor(names, &cache.x, dy).map(Some)
    }

    fn moved_factor(
        &self,
        _: &AffineCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>> {
        tangents[0].map(|dx| factor(names, dx, dy)).transpose()
    }
}
