//! The dense map over the last axis: inputs, a weight and maybe a bias go in. Its factor is the
//! pair (a, d) of inputs and cotangents.

use std::{fmt::Debug, ops::Range};

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::{
        axis::strided::contiguous,
        entrywise::{
            add,
            broadcast::{Binary, binary},
        },
        matmul::{matmul, matmul_bt},
    },
    operation::{MixedCotangents, NormMode, Operation, add_tangents},
};

/// `y = x W^T + b` over the last axis: x (.., in), W (out, in), and b (out) if it is given. Weight
/// and bias follow from parameters alone.
#[derive(Debug, Clone, Copy)]
pub struct Affine;

/// What derivatives of an [`Affine`] need.
#[derive(Debug)]
pub struct AffineCache {
    pub(super) x: Tensor,
    /// (out, in).
    pub(super) weight: Tensor,
}

/// The shape of one example's result, for a weight (out, in), or (in, out) if it is `transposed`.
pub(super) fn result_shape(
    operation: &dyn Debug,
    inputs: &[&[usize]],
    transposed: bool,
) -> Result<Vec<usize>> {
    let (x, weight, bias) = match *inputs {
        [x, weight] => (x, weight, None),
        [x, weight, bias] => (x, weight, Some(bias)),
        _ => return Err(ModelError::arity(operation, inputs.len())),
    };
    let (outputs, width) = match *weight {
        [outputs, width] if !transposed => (outputs, width),
        [width, outputs] => (outputs, width),
        _ => {
            let expected = if transposed { "(in, out)" } else { "(out, in)" };
            return Err(ModelError::shape("dense weight", expected, weight));
        }
    };
    if x.last() != Some(&width) {
        let expected = format!("(.., {width}) of an example");
        return Err(ModelError::shape("dense input", expected, x));
    }
    if let Some(bias) = bias.filter(|bias| *bias != [outputs]) {
        return Err(ModelError::shape("dense bias", format!("({outputs})"), bias));
    }
    Ok([&x[..x.len() - 1], &[outputs]].concat())
}

/// `x W^T` over the last axis, plus a bias if it is given.
pub(super) fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    over_last_axis(x, bias, |x, bias| matmul_bt(x, weight, bias))
}

/// As [`product`], `d W`.
pub(super) fn transposed_product(
    d: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    over_last_axis(d, bias, |d, bias| matmul(d, weight, bias))
}

/// A map of matrices on all axes but the last as one; the bias has a leading axis of 1.
fn over_last_axis(
    x: &Tensor,
    bias: Option<&Tensor>,
    map: impl Fn(&Tensor, Option<&Tensor>) -> Result<Tensor>,
) -> Result<Tensor> {
    let (last, bias) = (x.rank() - 1, bias.map(|bias| bias.squeeze(0)).transpose()?);
    if last == 1 {
        return map(x, bias.as_ref());
    }
    let y = map(&contiguous(x)?.flatten_to(last - 1)?, bias.as_ref())?;
    let width = y.dim(1)?;
    Ok(y.reshape([&x.dims()[..last], &[width]].concat())?)
}

pub(super) fn add_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => binary(Binary::Add, &y, bias),
        None => Ok(y),
    }
}

/// (N, .., width) as (N, width), or as (N, T, width) with all axes between in one.
pub(super) fn tokens(t: &Tensor) -> Result<Tensor> {
    Ok(if t.rank() > 3 { t.flatten(1, t.rank() - 2)? } else { t.clone() })
}

fn pair(names: &[&str], inputs: &Tensor, cotangents: &Tensor, bias: bool) -> Result<Factor> {
    Ok(Factor::Dense {
        weight: names[1].to_owned(),
        bias: names.get(2).filter(|_| bias).map(|name| (*name).to_owned()),
        inputs: tokens(inputs)?,
        cotangents: tokens(cotangents)?,
    })
}

impl Operation for Affine {
    type Cache = AffineCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        result_shape(self, inputs, false)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, AffineCache)> {
        let (x, weight) = (inputs[0].clone(), inputs[1].squeeze(0)?);
        let y = product(&x, &weight, inputs.get(2).copied())?;
        Ok((y, AffineCache { x, weight }))
    }

    fn jvp(&self, cache: &AffineCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let bias = tangents.get(2).copied().flatten();
        let moved = tangents[1].map(|w| product(&cache.x, &w.squeeze(0)?, bias)).transpose()?;
        let through = tangents[0].map(|dx| product(dx, &cache.weight, None)).transpose()?;
        let sum = add_tangents(moved, through)?;
        match (sum, bias.filter(|_| tangents[1].is_none())) {
            (Some(sum), bias) => add_bias(sum, bias),
            (None, bias) => {
                let shape =
                    [&cache.x.dims()[..cache.x.rank() - 1], &[cache.weight.dims()[0]]].concat();
                add_bias(Tensor::zeros(shape, cache.x.dtype(), cache.x.device())?, bias)
            }
        }
    }

    fn vjp(
        &self,
        cache: &AffineCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dx = wanted[0].then(|| transposed_product(dy, &cache.weight, None)).transpose()?;
        Ok(std::iter::once(dx).chain(wanted[1..].iter().map(|_| None)).collect())
    }

    /// The input's cotangent `d W` moves by `d' W + d W'`.
    fn mixed_vjp(
        &self,
        cache: &AffineCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let mut cotangents = vec![None; wanted.len()];
        if wanted[0] {
            let mut moved = transposed_product(ddy, &cache.weight, None)?;
            if let Some(weight) = tangents[1] {
                moved = add(&moved, &transposed_product(dy, &weight.squeeze(0)?, None)?)?;
            }
            cotangents[0] = Some((transposed_product(dy, &cache.weight, None)?, moved));
        }
        Ok(cotangents)
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        let outputs = inputs[1].first().copied().unwrap_or(0);
        2.0 * (inputs[0].iter().product::<usize>() * outputs) as f64
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input == 0 && zero[1]).collect()
    }

    fn structured(&self) -> Range<usize> {
        1..3
    }

    fn factor(&self, cache: &AffineCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        pair(names, &cache.x, dy, true).map(Some)
    }

    fn moved_factor(
        &self,
        _: &AffineCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>> {
        tangents[0].map(|dx| pair(names, dx, dy, false)).transpose()
    }
}
