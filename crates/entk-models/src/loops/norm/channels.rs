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
/// 1e-5)`; the maps of all channels are a tensor (4, C), its rows in this order.
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

/// The [maps](ChannelMap) of all channels. Inputs: mean and variance, (2, C), and weight and bias,
/// (2, C).
struct Maps {
    channels: usize,
}

impl HostOp for Maps {
    const NAME: &'static str = "batch_norm_maps";

    fn output(&self) -> Shape {
        (4, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (statistics, affine, count) = (inputs[0], inputs[1], self.channels);
        for channel in 0..count {
            let inverse = (statistics[count + channel].to_f64() + EPSILON).sqrt().recip();
            out[channel] = statistics[channel];
            out[count + channel] = T::from_f64(inverse * affine[channel].to_f64());
            out[2 * count + channel] = affine[count + channel];
            out[3 * count + channel] = T::from_f64(inverse);
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

/// Per channel the factors, (3, C), of u, x - mean and 1 in
/// `inverse weight (u - mean(u) - x_hat mean(u x_hat)) + weight' x_hat + bias'`. Inputs: the maps,
/// the means of u and u x_hat, (2, C), and weight' and bias', (2, C).
struct Factors {
    channels: usize,
    with_u: bool,
}

impl HostOp for Factors {
    const NAME: &'static str = "batch_norm_factors";

    fn output(&self) -> Shape {
        (3, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (means, moved, count) = (inputs[1], inputs[2], self.channels);
        for channel in 0..count {
            let line = ChannelMap::of(inputs[0], channel, count);
            let along = moved[channel] - line.slope * means[count + channel];
            out[channel] = if self.with_u { line.slope } else { T::zero() };
            out[count + channel] = line.inverse * along;
            out[2 * count + channel] = moved[count + channel] - line.slope * means[channel];
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_factors(self.channels, self.with_u))
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

/// The maps of a normalisation, (4, C), from mean and variance, (2, C), and weight and bias, (2,
/// C).
pub(crate) fn channel_maps(statistics: &Tensor, affine: &Tensor) -> Result<Tensor> {
    Maps { channels: statistics.dim(1)? }.apply(&[statistics, affine])
}

/// Means over batch and pixels of u and u x_hat, (2, C), from the [gradients] that belong to a
/// cotangent u: summed in f64.
pub(crate) fn means(gradients: &Tensor, pixels: usize) -> Result<Tensor> {
    let count = (gradients.dim(1)? * pixels) as f64;
    let sums = gradients.to_dtype(DType::F64)?.sum(1)?;
    Ok((sums / count)?.to_dtype(gradients.dtype())?)
}

/// Per channel the factors of u, x - mean and 1 in a tangent or cotangent, (3, C), as
/// [`combine`](super::combine) takes them. Without u the first is zero.
pub(crate) fn factors(
    maps: &Tensor,
    means: &Tensor,
    moved: &Tensor,
    with_u: bool,
) -> Result<Tensor> {
    Factors { channels: maps.dim(1)?, with_u }.apply(&[maps, means, moved])
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

    /// Maps with positive slopes.
    pub(crate) fn maps() -> Vec<f64> {
        let c = SIZES.channels;
        [numbers(c, 1), positive(c, 2), numbers(c, 3), positive(c, 4)].concat()
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
        let statistics = [numbers(c, 7), positive(c, 8)].concat();
        let inputs = [statistics, numbers(2 * c, 9)];
        assert_device_agrees(&Maps { channels: c }, &inputs, TOLERANCE);
        for with_u in [true, false] {
            let inputs = [maps(), numbers(2 * c, 10), numbers(2 * c, 11)];
            assert_device_agrees(&Factors { channels: c, with_u }, &inputs, TOLERANCE);
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
