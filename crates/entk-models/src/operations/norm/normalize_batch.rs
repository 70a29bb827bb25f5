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
            channels::{channel_maps, means, moments, sizes, with_factors},
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
    /// Weight, bias, and running mean and variance, (1, C) each.
    of_channels: [Tensor; 4],
    /// Mean and variance of the batch, (2, C), in batch mode.
    batch: Option<Tensor>,
    /// The channels' maps, with the factors of a cotangent where statistics are frozen.
    maps: Tensor,
}

impl NormalizeBatchCache {
    fn new(x: Tensor, of_channels: [&Tensor; 4], batch: Option<Tensor>) -> Result<Self> {
        let [weight, bias, mean, variance] = of_channels;
        let maps = match &batch {
            None => channel_maps([mean, variance, weight, bias]),
            Some(batch) => channel_maps([&batch.get(0)?, &batch.get(1)?, weight, bias]),
        }?;
        Ok(Self { x, of_channels: of_channels.map(Tensor::clone), batch, maps })
    }

    /// The input's value of all channels.
    fn of_input(&self, input: usize) -> &Tensor {
        &self.of_channels[input - WEIGHT]
    }

    /// Means over batch and pixels of u and u x_hat, (2, C), from the gradients that belong to a
    /// cotangent u, in batch mode. A tangent u needs the same two means, since the normalisation
    /// is a symmetric map.
    fn projections(&self, gradients: &Tensor) -> Result<Tensor> {
        means(gradients, sizes(&self.x)?.pixels)
    }

    /// The tangent of weight or bias, (1, C).
    fn moved(&self, tangents: &[Option<&Tensor>], input: usize) -> Result<Tensor> {
        Ok(tangents[input].map_or_else(|| self.of_input(input).zeros_like(), |t| Ok(t.clone()))?)
    }

    /// The tangent of z, times act'(z) where `mask` says so.
    fn tangent(&self, tangents: &[Option<&Tensor>], mask: Mask) -> Result<Tensor> {
        let (x, dx, maps) = (&self.x, tangents[0], &self.maps);
        let means = match dx.filter(|_| self.batch.is_some()) {
            Some(dx) => self.projections(&gradients(dx, x, maps, None)?)?,
            None => maps.narrow(0, 0, 2)?.zeros_like()?,
        };
        let [weight, bias] = [self.moved(tangents, WEIGHT)?, self.moved(tangents, BIAS)?];
        let maps = with_factors(maps, &means, Some([&weight, &bias]), dx.is_some())?;
        combine(dx.unwrap_or(x), x, &maps, mask)
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
        let z = normalize(&cache.x, &cache.maps, None)?;
        let dz = cache.tangent(tangents, Mask::None)?;
        mixed_product(act, &z, Some(&dz), dy, ddy)
    }
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
        let of_channels = [WEIGHT, BIAS, MEAN, VARIANCE].map(|input| inputs[input]);
        let cache = NormalizeBatchCache::new(x, of_channels, batch)?;
        Ok((normalize(&cache.x, &cache.maps, self.activation)?, cache))
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
        let (x, maps) = (&cache.x, &cache.maps);
        let rows = gradients(dy, x, maps, self.activation)?;
        let mut cotangents = vec![None, Some(rows.get(1)?), Some(rows.get(0)?), None, None];
        if wanted[0] {
            let mask = self.activation.map_or(Mask::None, Mask::Input);
            let maps = match cache.batch {
                None => maps.clone(),
                Some(_) => with_factors(maps, &cache.projections(&rows)?, None, true)?,
            };
            cotangents[0] = Some(combine(dy, x, &maps, mask)?);
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
        let (x, maps) = (&cache.x, &cache.maps);
        let [weight, bias, mean, variance] = &cache.of_channels;
        let (d, dd) = self.before_activation(cache, tangents, dy, ddy)?;
        let (fixed, rows) = (gradients(&d, x, maps, None)?, gradients(&dd, x, maps, None)?);
        let mut scales = rows.get(1)?;
        if let Some(dx) = tangents[0] {
            let uncentred = channel_maps([&mean.zeros_like()?, variance, weight, bias])?;
            scales = add(&scales, &gradients(&d, dx, &uncentred, None)?.get(1)?)?;
        }
        let of_bias = (fixed.get(0)?, rows.get(0)?);
        let of_weight = (fixed.get(1)?, scales);
        let mut cotangents = vec![None, Some(of_weight), Some(of_bias), None, None];
        if wanted[0] {
            let moved = channel_maps([mean, variance, &cache.moved(tangents, WEIGHT)?, bias])?;
            let scaled = |u: &Tensor, maps: &Tensor| combine(u, x, maps, Mask::None);
            let through = add(&scaled(&dd, maps)?, &scaled(&d, &moved)?)?;
            cotangents[0] = Some((scaled(&d, maps)?, through));
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
            let running = (cache.of_input(input) * (1.0 - MOMENTUM))?;
            Ok((input, (running + (batch.narrow(0, which, 1)? * MOMENTUM)?)?))
        };
        [(0, MEAN), (1, VARIANCE)].into_iter().map(moved).collect()
    }
}
