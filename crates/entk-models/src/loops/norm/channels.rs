//! The numbers of a normalisation for each channel: moments of a batch, maps, and the factors of a
//! derivative. Sums within a plane (one channel of one example) are in the element type, those over
//! planes in f64, in the order of the batch.

use candle_core::{DType, Shape, Tensor};
use entk_device::{ImageSizes, Launch};
use rayon::prelude::*;

use crate::{
    error::{ModelError, Result},
    loops::{
        channel::{LaneSum, lanes, plane_sums, sum_slice},
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Entries that one task should at least work on.
const TASK: usize = 1 << 14;
/// Added to every variance.
const EPSILON: f64 = 1e-5;

/// Sizes of images (N, C, ...).
pub(crate) fn sizes(x: &Tensor) -> Result<ImageSizes> {
    match x.dims() {
        [batch, channels, pixels @ ..] => {
            Ok(ImageSizes { batch: *batch, channels: *channels, pixels: pixels.iter().product() })
        }
        dims => Err(ModelError::shape("batch norm", "(N, C, ...)", dims)),
    }
}

/// The map of one channel, `z = (x - mean) slope + bias`, and `inverse = 1 / sqrt(variance +
/// 1e-5)`; the maps of all channels are a tensor (7, C), its rows in this order, then the factors
/// of u, x - mean and 1 in a tangent or cotangent.
#[derive(Clone, Copy)]
pub(super) struct ChannelMap<T> {
    pub(super) mean: T,
    pub(super) slope: T,
    pub(super) bias: T,
    pub(super) inverse: T,
}

impl<T: Real> ChannelMap<T> {
    pub(super) fn of(maps: &[T], channel: usize, channels: usize) -> Self {
        let row = |row: usize| maps[row * channels + channel];
        Self { mean: row(0), slope: row(1), bias: row(2), inverse: row(3) }
    }

    #[inline(always)]
    pub(super) fn at(self, x: T) -> T {
        (x - self.mean) * self.slope + self.bias
    }
}

/// Rows of maps.
const ROWS: usize = 7;

/// The [maps](ChannelMap) of all channels, with the factors of a cotangent where statistics are
/// frozen: slope, 0 and 0. Inputs: mean, variance, weight and bias.
struct Maps {
    channels: usize,
}

impl HostOp for Maps {
    const NAME: &'static str = "batch_norm_maps";

    fn output(&self) -> Shape {
        (ROWS, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let &[means, variances, weights, biases] = inputs else { return };
        let (moments, affine) = (means.iter().zip(variances), weights.iter().zip(biases));
        for (channel, ((mean, variance), (weight, bias))) in moments.zip(affine).enumerate() {
            let inverse = (variance.to_f64() + EPSILON).sqrt().recip();
            let slope = T::from_f64(inverse * weight.to_f64());
            let rows = [*mean, slope, *bias, T::from_f64(inverse), slope, T::zero(), T::zero()];
            let entries = out.iter_mut().skip(channel).step_by(self.channels);
            entries.zip(rows).for_each(|(entry, row)| *entry = row);
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_maps(self.channels))
    }
}

/// The channels of consecutive planes, from this one on.
#[inline(always)]
pub(super) fn channels_from(first: usize, channels: usize) -> impl Iterator<Item = usize> {
    (first..channels).chain((0..channels).cycle())
}

/// Planes of `pixels` entries that make one task.
pub(super) fn planes_of_task(pixels: usize) -> usize {
    (TASK / pixels).max(1)
}

/// Mean and biased variance of every channel, (2, C).
struct Moments {
    sizes: ImageSizes,
}

impl HostOp for Moments {
    const NAME: &'static str = "batch_norm_moments";

    fn output(&self) -> Shape {
        (2, self.sizes.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let planes: Vec<(f64, f64)> = (inputs[0].par_chunks(pixels))
            .with_min_len(planes_of_task(pixels))
            .map(|plane| {
                vectorised(
                    #[inline(always)]
                    || plane_moments(plane),
                )
            })
            .collect();
        for channel in 0..channels {
            let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
            for (plane_mean, plane_squares) in planes.iter().skip(channel).step_by(channels) {
                // Chan, Golub and LeVeque's update for a further sample of the same size.
                let (more, distance) = (pixels as f64, plane_mean - mean);
                let total = count + more;
                squares += plane_squares + distance * distance * count * more / total;
                mean += distance * more / total;
                count = total;
            }
            out[channel] = T::from_f64(mean);
            out[channels + channel] = T::from_f64(squares / count);
        }
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        moments_in_lanes(inputs[0], self.sizes)
    }
}

/// Mean of a plane and its summed squared deviations from it.
#[inline(always)]
fn plane_moments<T: Real>(plane: &[T]) -> (f64, f64) {
    let mean = sum_slice(plane).to_f64() / plane.len() as f64;
    let center = T::from_f64(mean);
    let mut lanes = [T::zero(); 8];
    let chunks = plane.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += (*x - center) * (*x - center);
        }
    }
    let mut squares: f64 = lanes.iter().map(|lane| lane.to_f64()).sum();
    squares += rest.iter().map(|x| ((*x - center) * (*x - center)).to_f64()).sum::<f64>();
    (mean, squares)
}

/// Squared deviations from the planes' means, summed in lanes. Inputs: x and the planes' sums.
struct Squares {
    planes: usize,
    pixels: usize,
    lanes: usize,
}

impl HostOp for Squares {
    const NAME: &'static str = "batch_norm_squares";

    fn output(&self) -> Shape {
        (self.planes, self.lanes).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let planes = inputs[0].chunks_exact(self.pixels).zip(inputs[1]);
        for (squares, (plane, sum)) in out.chunks_exact_mut(self.lanes).zip(planes) {
            let mean = *sum / T::from_f64(self.pixels as f64);
            for (at, x) in plane.iter().enumerate() {
                squares[at % self.lanes] += (*x - mean) * (*x - mean);
            }
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_squares(self.planes, self.pixels, self.lanes))
    }
}

/// Mean and variance (2, C) of planes of one size, from their sums and squared deviations (N, C).
struct Merge {
    sizes: ImageSizes,
}

impl HostOp for Merge {
    const NAME: &'static str = "batch_norm_merge";

    fn output(&self) -> Shape {
        (2, self.sizes.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { batch, channels, pixels } = self.sizes;
        let (pixels, count) = (pixels as f64, (batch * pixels) as f64);
        for channel in 0..channels {
            let of = |input: usize| {
                let column = inputs[input].iter().skip(channel).step_by(channels);
                column.map(|x: &T| x.to_f64())
            };
            let mean = of(0).sum::<f64>() / count;
            let between = of(0).map(|sum| (sum / pixels - mean).powi(2) * pixels);
            let squares: f64 = between.zip(of(1)).map(|(between, within)| between + within).sum();
            out[channel] = T::from_f64(mean);
            out[channels + channel] = T::from_f64(squares / count);
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_moments(self.sizes))
    }
}

/// The maps with the factors of u, x - mean and 1 in
/// `inverse weight (u - mean(u) - x_hat mean(u x_hat)) + weight' x_hat + bias'`. Inputs: the maps,
/// the means of u and u x_hat, (2, C), and where the layer moves weight' and bias'.
struct Factors {
    channels: usize,
    with_u: bool,
    moves: bool,
}

impl HostOp for Factors {
    const NAME: &'static str = "batch_norm_factors";

    fn output(&self) -> Shape {
        (ROWS, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (maps, means, count) = (inputs[0], inputs[1], self.channels);
        let (copied, factors) = out.split_at_mut(4 * count);
        copied.copy_from_slice(&maps[..4 * count]);
        for channel in 0..count {
            let line = ChannelMap::of(maps, channel, count);
            let [weight, bias] =
                [2, 3].map(|input| inputs.get(input).map_or(T::zero(), |moved| moved[channel]));
            factors[channel] = if self.with_u { line.slope } else { T::zero() };
            factors[count + channel] =
                line.inverse * (weight - line.slope * means[count + channel]);
            factors[2 * count + channel] = bias - line.slope * means[channel];
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_factors(self.channels, self.with_u, self.moves))
    }
}

/// Mean and biased variance of every channel of x (N, C, ...), as (2, C).
pub(crate) fn moments(x: &Tensor) -> Result<Tensor> {
    Moments { sizes: sizes(x)? }.apply(&[x])
}

fn moments_in_lanes(x: &Tensor, sizes: ImageSizes) -> Result<Tensor> {
    let (planes, pixels) = (sizes.planes(), sizes.pixels);
    let (sums, lanes) = (plane_sums(x, planes, pixels)?, lanes(pixels));
    let squares = Squares { planes, pixels, lanes }.apply(&[x, &sums])?;
    let squares = LaneSum { planes, pixels: lanes, lanes: 1 }.apply(&[&squares])?;
    Merge { sizes }.apply(&[&sums, &squares])
}

/// The maps of a normalisation, (7, C), from mean, variance, weight and bias, C numbers each; their
/// factors are those of a cotangent where statistics are frozen.
pub(crate) fn channel_maps(of: [&Tensor; 4]) -> Result<Tensor> {
    Maps { channels: of[0].elem_count() }.apply(&of)
}

/// Means over batch and pixels of u and u x_hat, (2, C), from the [gradients] that belong to a
/// cotangent u: summed in f64.
pub(crate) fn means(gradients: &Tensor, pixels: usize) -> Result<Tensor> {
    let count = (gradients.dim(1)? * pixels) as f64;
    let sums = gradients.to_dtype(DType::F64)?.sum(1)?;
    Ok((sums / count)?.to_dtype(gradients.dtype())?)
}

/// The maps with the factors of u, x - mean and 1 in a tangent or cotangent, as
/// [`combine`](super::combine) takes them; `moved` are the tangents of weight and bias. Without u
/// its factor is zero.
pub(crate) fn with_factors(
    maps: &Tensor,
    means: &Tensor,
    moved: Option<[&Tensor; 2]>,
    with_u: bool,
) -> Result<Tensor> {
    let factors = Factors { channels: maps.dim(1)?, with_u, moves: moved.is_some() };
    let inputs: Vec<_> = [maps, means].into_iter().chain(moved.into_iter().flatten()).collect();
    factors.apply(&inputs)
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::{assert_device_agrees, numbers};

    pub(crate) const SIZES: ImageSizes = ImageSizes { batch: 3, channels: 4, pixels: 77 };
    /// Sums of 77 numbers, three roundings each, with activations in between.
    pub(crate) const TOLERANCE: f64 = 1024.0;

    fn positive(count: usize, seed: u64) -> Vec<f64> {
        numbers(count, seed).into_iter().map(|x| x.abs() + 0.1).collect()
    }

    /// Maps with positive slopes, and any factors.
    pub(crate) fn maps() -> Vec<f64> {
        let c = SIZES.channels;
        [numbers(c, 1), positive(c, 2), numbers(c, 3), positive(c, 4), numbers(3 * c, 15)].concat()
    }

    pub(crate) fn images(values: Vec<f64>) -> Result<Tensor> {
        Ok(Tensor::from_vec(values, (SIZES.batch, SIZES.channels, 7, 11), &Device::Cpu)?)
    }

    pub(crate) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
        assert_eq!(a.dims(), b.dims());
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= tolerance * f64::EPSILON, "{error:e}");
        Ok(())
    }

    #[test]
    fn kernels_of_the_device_agree() {
        let (c, planes) = (SIZES.channels, SIZES.planes());
        let inputs = [numbers(c, 7), positive(c, 8), numbers(c, 9), numbers(c, 16)];
        assert_device_agrees(&Maps { channels: c }, &inputs, TOLERANCE);
        let inputs = [maps(), numbers(2 * c, 10), numbers(c, 11), numbers(c, 17)];
        for (with_u, moves) in [(true, true), (false, true), (true, false)] {
            let factors = Factors { channels: c, with_u, moves };
            assert_device_agrees(&factors, &inputs[..if moves { 4 } else { 2 }], TOLERANCE);
        }
        let kernel = Squares { planes, pixels: SIZES.pixels, lanes: 8 };
        let inputs = [numbers(SIZES.len(), 6), numbers(planes, 12)];
        assert_device_agrees(&kernel, &inputs, TOLERANCE);
        let inputs = [numbers(planes, 13), positive(planes, 14)];
        assert_device_agrees(&Merge { sizes: SIZES }, &inputs, TOLERANCE);
    }

    #[test]
    fn moments_in_lanes_are_those_of_the_host() -> Result<()> {
        let far = numbers(SIZES.len(), 6).into_iter().map(|x| x + 100.0).collect();
        let x = images(far)?;
        // Deviations of size 2 from means of size 100, squared and averaged.
        assert_close(&moments(&x)?, &moments_in_lanes(&x, SIZES)?, 1e3)
    }
}
