//! Batch normalisation with the activation behind it, in frozen and in batch mode; the ResNets'
//! layer.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    factor::Factor,
    layer::{FactorSink, Layer, NormMode},
    loops::{
        entrywise::{add, mixed_product},
        norm::{
            Mask,
            channels::{channel_maps, factors, means, moments},
            combine, gradients, normalize,
        },
    },
    mixed::{MixedFactor, MixedPoint, MixedSink},
    params::{Params, init::Initializer, spec::ParamSpec},
};

/// Share of the batch's statistics in the running ones after a training pass.
const MOMENTUM: f64 = 0.1;

/// Batch normalisation of images (N, C, H, W), with an optional activation fused behind it:
/// `y = act(z)`, `z = x_hat weight + bias`, `x_hat = (x - mean) / sqrt(variance + 1e-5)`, channel
/// by channel.
///
/// Frozen, mean and variance are the stored running statistics and the layer is affine: examples
/// do not interact. In batch mode they are those of the batch, the variance biased (1/n), and the
/// running statistics move to `0.9 running + 0.1 batch`, with that same biased variance (PyTorch
/// would store the unbiased one).
///
/// Parameters `NAME.weight` and `NAME.bias`, statistics `NAME.running_mean` and
/// `NAME.running_var`. With every scale exactly zero the layer stops gradients
/// ([`Layer::stops`]); the paper's ResNets start so at the end of each residual branch.
///
/// Cost: forward one pass over memory frozen and two in batch mode, backward two.
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: String,
    bias: String,
    mean: String,
    variance: String,
    channels: usize,
    scale: Initializer,
    activation: Option<Activation>,
}

impl BatchNorm2d {
    /// A norm over `channels` channels that starts with scale 1.
    pub fn new(name: &str, channels: usize) -> Self {
        Self {
            weight: format!("{name}.weight"),
            bias: format!("{name}.bias"),
            mean: format!("{name}.running_mean"),
            variance: format!("{name}.running_var"),
            channels,
            scale: Initializer::Ones,
            activation: None,
        }
    }

    /// Starts with scale 0.
    #[must_use]
    pub fn with_zero_scale(self) -> Self {
        Self { scale: Initializer::Zeros, ..self }
    }

    /// Puts an activation behind it: one pass over memory less each way than a layer of
    /// its own, and one activation less to keep.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// The channels' maps, (4, C), from mean and variance (2, C) of the batch or, without, the
    /// stored ones.
    fn channel_maps(&self, params: &Params, batch: Option<&Tensor>) -> Result<Tensor> {
        let affine = self.affine(params)?;
        match batch {
            Some(moments) => channel_maps(moments, &affine),
            None => {
                let lowest = params.lowest_statistic(&self.variance)?;
                if lowest < 0.0 {
                    let name = self.variance.clone();
                    return Err(ModelError::NegativeVariance { name, lowest });
                }
                let (mean, variance) =
                    (params.statistic(&self.mean)?, params.statistic(&self.variance)?);
                channel_maps(&Tensor::stack(&[mean, variance], 0)?, &affine)
            }
        }
    }

    /// Weight and bias, (2, C).
    fn affine(&self, params: &Params) -> Result<Tensor> {
        Ok(Tensor::stack(&[params.get(&self.weight)?, params.get(&self.bias)?], 0)?)
    }

    /// Means over batch and pixels of u and u x_hat, (2, C), from the gradients that belong to a
    /// cotangent u; zeros where frozen. A tangent u needs the same two means, since the
    /// normalisation is a symmetric map.
    fn projections(&self, cache: &Cache, gradients: Option<&Tensor>) -> Result<Tensor> {
        let x = cache.input()?;
        match gradients.filter(|_| batch_moments(cache).is_some()) {
            Some(gradients) => means(gradients, x.dim(2)? * x.dim(3)?),
            None => Ok(Tensor::zeros((2, self.channels), x.dtype(), x.device())?),
        }
    }

    /// The tangent of z, times act'(z) where `mask` says so.
    fn tangent(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
        mask: Mask,
    ) -> Result<Tensor> {
        let x = cache.input()?;
        let maps = self.channel_maps(params, batch_moments(cache))?;
        let sums = dx
            .filter(|_| batch_moments(cache).is_some())
            .map(|dx| gradients(dx, x, &maps, None))
            .transpose()?;
        let means = self.projections(cache, sums.as_ref())?;
        let factors = factors(&maps, &means, &self.affine(tangent)?, dx.is_some())?;
        combine(dx.unwrap_or(x), x, &maps, &factors, mask)
    }

    /// The cotangent of z and its tangent, with frozen statistics.
    fn mixed_before_activation(
        &self,
        at: &MixedPoint<'_>,
        maps: &Tensor,
        dy: &Tensor,
        ddy: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Some(act) = self.activation else { return Ok((dy.clone(), ddy.clone())) };
        let z = normalize(at.cache.input()?, maps, None)?;
        let dx = at.input_tangent();
        let dz = self.tangent(at.params, at.tangent, at.cache, dx, Mask::None)?;
        mixed_product(act, &z, Some(&dz), dy, ddy)
    }

    fn ensure_channels(&self, input: &[usize]) -> Result<()> {
        match *input {
            [channels, height, width] if channels == self.channels && height * width > 0 => Ok(()),
            _ => {
                let expected = format!("(N, {}, H, W)", self.channels);
                Err(ModelError::shape(&self.weight, expected, input))
            }
        }
    }
}

/// Mean and variance of the batch, (2, C), where the forward pass was in batch mode.
fn batch_moments(cache: &Cache) -> Option<&Tensor> {
    cache.tensors.get(1)
}

impl Layer for BatchNorm2d {
    fn specs(&self) -> Vec<ParamSpec> {
        let shape = [self.channels];
        vec![
            ParamSpec::trainable(&self.weight, &shape, self.scale),
            ParamSpec::trainable(&self.bias, &shape, Initializer::Zeros),
            ParamSpec::statistic(&self.mean, &shape, Initializer::Zeros),
            ParamSpec::statistic(&self.variance, &shape, Initializer::Ones),
        ]
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.ensure_channels(input)?;
        Ok(input.to_vec())
    }

    fn forward(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<(Tensor, Cache)> {
        let batch = (mode == NormMode::Batch).then(|| moments(x)).transpose()?;
        let maps = self.channel_maps(params, batch.as_ref())?;
        let y = normalize(x, &maps, self.activation)?;
        let cache = Cache::of(std::iter::once(x.clone()).chain(batch));
        Ok((y, cache.stopping(self.stops(params)?)))
    }

    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let mask = self.activation.map_or(Mask::None, Mask::Output);
        Ok(Some(self.tangent(params, tangent, cache, dx, mask)?))
    }

    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        let x = cache.input()?;
        let maps = self.channel_maps(params, batch_moments(cache))?;
        let rows = gradients(dy, x, &maps, self.activation)?;
        sink(Factor::Rows { name: self.bias.clone(), rows: rows.get(0)? })?;
        sink(Factor::Rows { name: self.weight.clone(), rows: rows.get(1)? })?;
        if !needs_dx || cache.stops {
            return Ok(None);
        }
        let means = self.projections(cache, Some(&rows))?;
        let factors = factors(&maps, &means, &means.zeros_like()?, true)?;
        let mask = self.activation.map_or(Mask::None, Mask::Input);
        Ok(Some(combine(dy, x, &maps, &factors, mask)?))
    }

    /// Frozen, with d the cotangent of z and d' its tangent: the rows of the bias, `sum_p d`, move
    /// by `sum_p d'`, those of the scale by `sum_p (d' x_hat + d dx / sqrt(variance + 1e-5))`,
    /// and the input's cotangent `weight d / sqrt(...)` by `(weight d' + weight' d) /
    /// sqrt(...)`.
    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        if batch_moments(at.cache).is_some() {
            let (layer, note) = (self.weight.clone(), " in batch mode; freeze its statistics");
            return Err(ModelError::NoMixedDerivative { layer, note });
        }
        let (x, maps) = (at.cache.input()?, self.channel_maps(at.params, None)?);
        let (d, dd) = self.mixed_before_activation(at, &maps, dy, ddy)?;
        let rows = gradients(&dd, x, &maps, None)?;
        let mut scales = rows.get(1)?;
        if let Some(dx) = at.input_tangent() {
            let zero = maps.narrow(0, 0, 1)?.zeros_like()?;
            let uncentred = Tensor::cat(&[&zero, &maps.narrow(0, 1, 3)?], 0)?;
            scales = add(&scales, &gradients(&d, dx, &uncentred, None)?.get(1)?)?;
        }
        for (name, rows) in [(&self.bias, rows.get(0)?), (&self.weight, scales)] {
            sink(MixedFactor {
                inputs: None,
                cotangents: Factor::Rows { name: name.clone(), rows },
            })?;
        }
        if !needs_dx {
            return Ok(None);
        }
        let scaled = |u: &Tensor, weight: &Tensor| {
            let slope = (maps.get(3)? * weight)?;
            let none = slope.zeros_like()?;
            combine(u, x, &maps, &Tensor::stack(&[&slope, &none, &none], 0)?, Mask::None)
        };
        let (weight, moved) = (at.params.get(&self.weight)?, at.tangent.get(&self.weight)?);
        let through = add(&scaled(&dd, weight)?, &scaled(&d, moved)?)?;
        Ok(Some((scaled(&d, weight)?, through)))
    }

    fn new_statistics(&self, params: &Params, cache: &Cache) -> Result<Vec<(String, Tensor)>> {
        let Some(moments) = batch_moments(cache) else { return Ok(Vec::new()) };
        let names = [&self.mean, &self.variance].into_iter().enumerate();
        names
            .map(|(which, name)| {
                let running = (params.statistic(name)? * (1.0 - MOMENTUM))?;
                Ok((name.clone(), (running + (moments.get(which)? * MOMENTUM)?)?))
            })
            .collect()
    }

    fn stops(&self, params: &Params) -> Result<bool> {
        params.is_zero(&self.weight)
    }
}
