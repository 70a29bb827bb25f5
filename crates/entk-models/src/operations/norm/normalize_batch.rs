//! Batch normalisation with the activation behind it, in frozen and in batch mode; the ResNets'
//! norm.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    loops::{
        entrywise::{add, mixed_product},
        norm::{
            Mask,
            channels::{channel_maps, factors, means, moments, sizes},
            combine, gradients, normalize,
        },
    },
    operation::{MixedCotangents, NormMode, Operation},
};

/// Share of the batch's statistics in the running ones after a training pass.
const MOMENTUM: f64 = 0.1;

/// Places of the inputs beside the images.
const WEIGHT: usize = 1;
const BIAS: usize = 2;
const MEAN: usize = 3;
const VARIANCE: usize = 4;

/// Batch normalisation of (C, ...) with an optional activation fused behind it:
/// `y = act(z)`, `z = x_hat weight + bias`, `x_hat = (x - mean) / sqrt(variance + 1e-5)`, channel
/// by channel. Inputs are x, weight, bias, and the running mean and variance, (C) each, which
/// follow from parameters alone.
///
/// Frozen, mean and variance are the running statistics and the operation is affine: examples do
/// not interact. In batch mode they are those of the batch, the variance biased (1/n), and the
/// running statistics move to `0.9 running + 0.1 batch`, with that same biased variance (PyTorch
/// would store the unbiased one).
///
/// A weight that is exactly zero blocks gradients; the paper's ResNets start so at the end of each
/// residual branch.
///
/// Cost: forward one pass over memory frozen and two in batch mode, backward two.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormalizeBatch {
    /// The activation behind the norm.
    pub activation: Option<Activation>,
}

/// What derivatives of a [`NormalizeBatch`] need.
#[derive(Debug)]
pub struct NormalizeBatchCache {
    x: Tensor,
    /// Weight and bias, (2, C).
    affine: Tensor,
    /// Running mean and variance, (2, C).
    running: Tensor,
    /// Mean and variance of the batch, (2, C), in batch mode.
    batch: Option<Tensor>,
}

impl NormalizeBatchCache {
    /// The channels' maps, (4, C).
    fn maps(&self) -> Result<Tensor> {
        channel_maps(self.batch.as_ref().unwrap_or(&self.running), &self.affine)
    }

    /// Means over batch and pixels of u and u x_hat, (2, C), from the gradients that belong to a
    /// cotangent u; zeros where frozen. A tangent u needs the same two means, since the
    /// normalisation is a symmetric map.
    fn projections(&self, gradients: Option<&Tensor>) -> Result<Tensor> {
        match gradients.filter(|_| self.batch.is_some()) {
            Some(gradients) => means(gradients, sizes(&self.x)?.pixels),
            None => Ok(self.affine.zeros_like()?),
        }
    }

    /// The tangents of weight and bias, (2, C).
    fn affine_tangent(&self, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let channels = self.affine.dim(1)?;
        let or_zero = |t: Option<&Tensor>| match t {
            Some(t) => t.reshape(channels),
            None => Tensor::zeros(channels, self.x.dtype(), self.x.device()),
        };
        Ok(Tensor::stack(&[or_zero(tangents[WEIGHT])?, or_zero(tangents[BIAS])?], 0)?)
    }

    /// The tangent of z, times act'(z) where `mask` says so.
    fn tangent(&self, tangents: &[Option<&Tensor>], mask: Mask) -> Result<Tensor> {
        let (x, dx, maps) = (&self.x, tangents[0], self.maps()?);
        let sums = dx
            .filter(|_| self.batch.is_some())
            .map(|dx| gradients(dx, x, &maps, None))
            .transpose()?;
        let means = self.projections(sums.as_ref())?;
        let factors = factors(&maps, &means, &self.affine_tangent(tangents)?, dx.is_some())?;
        combine(dx.unwrap_or(x), x, &maps, &factors, mask)
    }
}

impl NormalizeBatch {
    /// The cotangent of z and its tangent, with frozen statistics.
    fn before_activation(
        &self,
        cache: &NormalizeBatchCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Some(act) = self.activation else { return Ok((dy.clone(), ddy.clone())) };
        let z = normalize(&cache.x, &cache.maps()?, None)?;
        let dz = cache.tangent(tangents, Mask::None)?;
        mixed_product(act, &z, Some(&dz), dy, ddy)
    }
}

/// Two values of the channels, (1, C) each, as (2, C).
fn channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(Tensor::stack(&[a.squeeze(0)?, b.squeeze(0)?], 0)?)
}

impl Operation for NormalizeBatch {
    type Cache = NormalizeBatchCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [x, of_channels @ ..] = inputs else { return Err(ModelError::arity(self, 0)) };
        if of_channels.len() != VARIANCE {
            return Err(ModelError::arity(self, inputs.len()));
        }
        let &[channels] = of_channels[0] else {
            return Err(ModelError::shape("batch norm weight", "(C)", of_channels[0]));
        };
        if let Some(other) = of_channels.iter().find(|other| ***other != [channels]) {
            return Err(ModelError::shape("batch norm", format!("({channels})"), other));
        }
        match **x {
            [c, ref pixels @ ..] if c == channels && !pixels.contains(&0) => Ok(x.to_vec()),
            _ => Err(ModelError::shape("batch norm input", format!("(N, {channels}, ...)"), x)),
        }
    }

    fn forward(&self, inputs: &[&Tensor], mode: NormMode) -> Result<(Tensor, NormalizeBatchCache)> {
        let x = inputs[0].clone();
        let batch = (mode == NormMode::Batch).then(|| moments(&x)).transpose()?;
        let cache = NormalizeBatchCache {
            x,
            affine: channels(inputs[WEIGHT], inputs[BIAS])?,
            running: channels(inputs[MEAN], inputs[VARIANCE])?,
            batch,
        };
        Ok((normalize(&cache.x, &cache.maps()?, self.activation)?, cache))
    }

    fn jvp(&self, cache: &NormalizeBatchCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        cache.tangent(tangents, self.activation.map_or(Mask::None, Mask::Output))
    }

    fn vjp(
        &self,
        cache: &NormalizeBatchCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, maps) = (&cache.x, cache.maps()?);
        let rows = gradients(dy, x, &maps, self.activation)?;
        let mut cotangents = vec![None, Some(rows.get(1)?), Some(rows.get(0)?), None, None];
        if wanted[0] {
            let means = cache.projections(Some(&rows))?;
            let factors = factors(&maps, &means, &means.zeros_like()?, true)?;
            let mask = self.activation.map_or(Mask::None, Mask::Input);
            cotangents[0] = Some(combine(dy, x, &maps, &factors, mask)?);
        }
        Ok(cotangents)
    }

    /// Frozen, with d the cotangent of z and d' its tangent: the rows of the bias, `sum_p d`, move
    /// by `sum_p d'`, those of the weight by `sum_p (d' x_hat + d dx / sqrt(variance + 1e-5))`,
    /// and the input's cotangent `weight d / sqrt(...)` by `(weight d' + weight' d) /
    /// sqrt(...)`.
    fn mixed_vjp(
        &self,
        cache: &NormalizeBatchCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        if cache.batch.is_some() {
            let note = " in batch mode; freeze its statistics";
            return Err(ModelError::NoMixedDerivative { layer: format!("{self:?}"), note });
        }
        let (x, maps) = (&cache.x, cache.maps()?);
        let (d, dd) = self.before_activation(cache, tangents, dy, ddy)?;
        let (fixed, rows) = (gradients(&d, x, &maps, None)?, gradients(&dd, x, &maps, None)?);
        let mut scales = rows.get(1)?;
        if let Some(dx) = tangents[0] {
            let zero = maps.narrow(0, 0, 1)?.zeros_like()?;
            let uncentred = Tensor::cat(&[&zero, &maps.narrow(0, 1, 3)?], 0)?;
            scales = add(&scales, &gradients(&d, dx, &uncentred, None)?.get(1)?)?;
        }
        let (bias, weight) = ((fixed.get(0)?, rows.get(0)?), (fixed.get(1)?, scales));
        let mut cotangents = vec![None, Some(weight), Some(bias), None, None];
        if wanted[0] {
            let scaled = |u: &Tensor, weight: &Tensor| {
                let slope = (maps.get(3)? * weight)?;
                let none = slope.zeros_like()?;
                combine(u, x, &maps, &Tensor::stack(&[&slope, &none, &none], 0)?, Mask::None)
            };
            let (weight, moved) = (cache.affine.get(0)?, cache.affine_tangent(tangents)?.get(0)?);
            let through = add(&scaled(&dd, &weight)?, &scaled(&d, &moved)?)?;
            cotangents[0] = Some((scaled(&d, &weight)?, through));
        }
        Ok(cotangents)
    }

    fn needs_shared(&self, input: usize) -> bool {
        input > 0
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input == 0 && zero[WEIGHT]).collect()
    }

    fn new_statistics(&self, cache: &NormalizeBatchCache) -> Result<Vec<(usize, Tensor)>> {
        let Some(batch) = &cache.batch else { return Ok(Vec::new()) };
        let moved = |(which, input): (usize, usize)| {
            let running = (cache.running.get(which)? * (1.0 - MOMENTUM))?;
            let moved = (running + (batch.get(which)? * MOMENTUM)?)?;
            Ok((input, moved.unsqueeze(0)?))
        };
        [(0, MEAN), (1, VARIANCE)].into_iter().map(moved).collect()
    }
}
