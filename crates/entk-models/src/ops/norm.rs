//! Per-channel normalisation, fused with the activation that follows it.
//!
//! Planes (one channel of one example) are the unit of work: they fit the first-level cache, so
//! several passes over a plane cost one pass over memory. Sums within a plane are in the element
//! type, in eight lanes; sums over planes are in f64, in the order of the batch.

use candle_core::{DType, Shape, Tensor};
use entk_cuda::{ImageSizes, Launch, MaskPlace};
use rayon::prelude::*;

use super::{
    activation::{Activation, Pointwise, specialise},
    channel::{LaneSum, dot_slice, lanes, plane_sums, sum_slice},
    kernel::{Kernel, apply, on_host, vectorised},
    real::Real,
};
use crate::error::Result;

/// Entries that one task should at least work on.
const TASK: usize = 1 << 14;
/// Added to every variance.
const EPSILON: f64 = 1e-5;

/// Sizes of images (N, C, H, W).
fn sizes(x: &Tensor) -> Result<ImageSizes> {
    let (batch, channels, height, width) = x.dims4()?;
    Ok(ImageSizes { batch, channels, pixels: height * width })
}

/// The map of one channel, `z = (x - mean) slope + bias`, and `inverse = 1 / sqrt(variance +
/// 1e-5)`; of all channels a tensor (4, C) in this order.
#[derive(Clone, Copy)]
struct Line<T> {
    mean: T,
    slope: T,
    bias: T,
    inverse: T,
}

impl<T: Real> Line<T> {
    fn of(maps: &[T], channel: usize, channels: usize) -> Self {
        let row = |row: usize| maps[row * channels + channel];
        Self { mean: row(0), slope: row(1), bias: row(2), inverse: row(3) }
    }

    #[inline(always)]
    fn at(self, x: T) -> T {
        (x - self.mean) * self.slope + self.bias
    }
}

/// Maps (4, C) of mean and variance, (2, C), and weight and bias, (2, C).
struct Maps {
    channels: usize,
}

impl Kernel for Maps {
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

    fn device(&self) -> Option<Launch> {
        Some(Launch::norm_maps(self.channels))
    }
}

/// Planes of `pixels` entries that make one task.
fn planes_of_task(pixels: usize) -> usize {
    (TASK / pixels).max(1)
}

/// Mean and biased variance of every channel, (2, C).
struct Moments {
    channels: usize,
    pixels: usize,
}

impl Kernel for Moments {
    const NAME: &'static str = "batch_norm_moments";

    fn output(&self) -> Shape {
        (2, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let planes: Vec<(f64, f64)> = (inputs[0].par_chunks(self.pixels))
            .with_min_len(planes_of_task(self.pixels))
            .map(|plane| vectorised(|| plane_moments(plane)))
            .collect();
        for channel in 0..self.channels {
            let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
            for (plane_mean, plane_squares) in planes.iter().skip(channel).step_by(self.channels) {
                // Chan, Golub and LeVeque's update for a further sample of the same size.
                let (more, distance) = (self.pixels as f64, plane_mean - mean);
                let total = count + more;
                squares += plane_squares + distance * distance * count * more / total;
                mean += distance * more / total;
                count = total;
            }
            out[channel] = T::from_f64(mean);
            out[self.channels + channel] = T::from_f64(squares / count);
        }
    }

    fn device(&self) -> Option<Launch> {
        None
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

/// Squared deviations from the planes' means, summed in lanes; of x and the planes' sums.
struct Squares {
    planes: usize,
    pixels: usize,
    lanes: usize,
}

impl Kernel for Squares {
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

    fn device(&self) -> Option<Launch> {
        Some(Launch::norm_squares(self.planes, self.pixels, self.lanes))
    }
}

/// Mean and variance (2, C) of planes of one size, from their sums and squared deviations (N, C).
struct Merge {
    sizes: ImageSizes,
}

impl Kernel for Merge {
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

    fn device(&self) -> Option<Launch> {
        Some(Launch::norm_moments(self.sizes))
    }
}

/// The layer's values; of x and the maps.
struct Normalize {
    activation: Option<Activation>,
    shape: Shape,
    sizes: ImageSizes,
}

impl Normalize {
    #[inline(always)]
    fn plane<T: Real>(&self, line: Line<T>, x: &[T], out: &mut [T]) {
        let pairs = out.iter_mut().zip(x);
        match self.activation {
            None => pairs.for_each(|(o, x)| *o = line.at(*x)),
            Some(act) => specialise!(act, act => {
                pairs.for_each(|(o, x)| *o = act.value(line.at(*x)));
            }),
        }
    }
}

impl Kernel for Normalize {
    const NAME: &'static str = "batch_norm";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        (out.par_chunks_mut(pixels).zip(inputs[0].par_chunks(pixels)).enumerate())
            .with_min_len(planes_of_task(pixels))
            .for_each(|(plane, (out, x))| {
                let line = Line::of(inputs[1], plane % channels, channels);
                vectorised(|| self.plane(line, x, out));
            });
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::normalize(self.sizes, Activation::on_device(self.activation)))
    }
}

/// Gradients per example, (2, N, C): of the bias `sum_p d`, of the scale
/// `sum_p d (x - mean) inverse`, with `d = act'(z) dy`; of dy, x and the maps.
struct Gradients {
    activation: Option<Activation>,
    sizes: ImageSizes,
}

impl Gradients {
    /// The two sums of one plane; `masked` is scratch memory.
    #[inline(always)]
    fn plane<T: Real>(&self, line: Line<T>, dy: &[T], x: &[T], masked: &mut Vec<T>) -> (T, T) {
        let d = match self.activation {
            None => dy,
            Some(act) => {
                masked.resize(dy.len(), T::zero());
                let triples = masked.iter_mut().zip(dy.iter().zip(x));
                specialise!(act, act => {
                    triples.for_each(|(m, (d, x))| *m = act.derivative(line.at(*x)) * *d);
                });
                masked
            }
        };
        (sum_slice(d), dot_slice(d, x, line.mean) * line.inverse)
    }
}

impl Kernel for Gradients {
    const NAME: &'static str = "batch_norm_gradients";

    fn output(&self) -> Shape {
        (2, self.sizes.batch, self.sizes.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let (biases, scales) = out.split_at_mut(self.sizes.planes());
        (biases.par_iter_mut().zip(scales.par_iter_mut()))
            .zip(inputs[0].par_chunks(pixels).zip(inputs[1].par_chunks(pixels)))
            .enumerate()
            .with_min_len(planes_of_task(pixels))
            .for_each_init(Vec::new, |masked, (plane, ((bias, scale), (dy, x)))| {
                let line = Line::of(inputs[2], plane % channels, channels);
                (*bias, *scale) = vectorised(|| self.plane(line, dy, x, masked));
            });
    }

    fn device(&self) -> Option<Launch> {
        None
    }
}

/// The same sums in lanes, (2, N, C, lanes).
struct LaneGradients {
    activation: Option<Activation>,
    sizes: ImageSizes,
    lanes: usize,
}

impl Kernel for LaneGradients {
    const NAME: &'static str = "batch_norm_lane_gradients";

    fn output(&self) -> Shape {
        (2, self.sizes.batch, self.sizes.channels, self.lanes).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let (biases, scales) = out.split_at_mut(self.sizes.planes() * self.lanes);
        for (at, (dy, x)) in inputs[0].iter().zip(inputs[1]).enumerate() {
            let (plane, lane) = (at / pixels, at % pixels % self.lanes);
            let line = Line::of(inputs[2], plane % channels, channels);
            let d = match self.activation {
                None => *dy,
                Some(act) => specialise!(act, act => act.derivative(line.at(*x)) * *dy),
            };
            biases[plane * self.lanes + lane] += d;
            scales[plane * self.lanes + lane] += d * (*x - line.mean) * line.inverse;
        }
    }

    fn device(&self) -> Option<Launch> {
        let function = Activation::on_device(self.activation);
        Some(Launch::norm_gradients(self.sizes, function, self.lanes))
    }
}

/// Where the activation's derivative multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mask {
    /// The tangent or cotangent that comes in: the transposed map.
    Input(Activation),
    /// The result: the map itself.
    Output(Activation),
    /// Nowhere.
    None,
}

/// Per channel the factors, (3, C), of u, x - mean and 1 in
/// `inverse weight (u - mean(u) - x_hat mean(u x_hat)) + weight' x_hat + bias'`; of the maps, the
/// means of u and u x_hat, (2, C), and weight' and bias', (2, C).
struct Factors {
    channels: usize,
    with_u: bool,
}

impl Kernel for Factors {
    const NAME: &'static str = "batch_norm_factors";

    fn output(&self) -> Shape {
        (3, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (means, moved, count) = (inputs[1], inputs[2], self.channels);
        for channel in 0..count {
            let line = Line::of(inputs[0], channel, count);
            let along = moved[channel] - line.slope * means[count + channel];
            out[channel] = if self.with_u { line.slope } else { T::zero() };
            out[count + channel] = line.inverse * along;
            out[2 * count + channel] = moved[count + channel] - line.slope * means[channel];
        }
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::norm_factors(self.channels, self.with_u))
    }
}

/// `first u + second (x - mean) + third`; of u, x, and the maps followed by the factors, (7, C).
struct Combine {
    mask: Mask,
    shape: Shape,
    sizes: ImageSizes,
}

impl Combine {
    #[inline(always)]
    fn plane<T: Real>(&self, line: Line<T>, factors: [T; 3], [u, x]: [&[T]; 2], out: &mut [T]) {
        let [a, b, c] = factors;
        let triples = out.iter_mut().zip(u.iter().zip(x));
        let map = |u: T, x: T| a * u + (b * (x - line.mean) + c);
        match self.mask {
            Mask::None => triples.for_each(|(o, (u, x))| *o = map(*u, *x)),
            Mask::Input(act) => specialise!(act, act => {
                triples.for_each(|(o, (u, x))| *o = map(act.derivative(line.at(*x)) * *u, *x));
            }),
            Mask::Output(act) => specialise!(act, act => {
                triples.for_each(|(o, (u, x))| *o = act.derivative(line.at(*x)) * map(*u, *x));
            }),
        }
    }
}

impl Kernel for Combine {
    const NAME: &'static str = "batch_norm_combine";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        (out.par_chunks_mut(pixels))
            .zip(inputs[0].par_chunks(pixels).zip(inputs[1].par_chunks(pixels)))
            .enumerate()
            .with_min_len(planes_of_task(pixels))
            .for_each(|(plane, (out, (u, x)))| {
                let channel = plane % channels;
                let line = Line::of(inputs[2], channel, channels);
                let factors = [4, 5, 6].map(|row| inputs[2][row * channels + channel]);
                vectorised(|| self.plane(line, factors, [u, x], out));
            });
    }

    fn device(&self) -> Option<Launch> {
        let (activation, place) = match self.mask {
            Mask::None => (None, MaskPlace::Nowhere),
            Mask::Input(act) => (Some(act), MaskPlace::Input),
            Mask::Output(act) => (Some(act), MaskPlace::Output),
        };
        Some(Launch::norm_combine(self.sizes, Activation::on_device(activation), place))
    }
}

/// Mean and biased variance of every channel of x (N, C, H, W), as (2, C).
pub(crate) fn moments(x: &Tensor) -> Result<Tensor> {
    let sizes = sizes(x)?;
    if on_host(x) {
        return apply(Moments { channels: sizes.channels, pixels: sizes.pixels }, &[x]);
    }
    moments_in_lanes(x, sizes)
}

fn moments_in_lanes(x: &Tensor, sizes: ImageSizes) -> Result<Tensor> {
    let (planes, pixels) = (sizes.planes(), sizes.pixels);
    let (sums, lanes) = (plane_sums(x, planes, pixels)?, lanes(pixels));
    let squares = apply(Squares { planes, pixels, lanes }, &[x, &sums])?;
    let squares = apply(LaneSum { planes, pixels: lanes, lanes: 1 }, &[&squares])?;
    apply(Merge { sizes }, &[&sums, &squares])
}

/// The maps of a normalisation, (4, C), from mean and variance, (2, C), and weight and bias, (2, C).
pub(crate) fn channel_maps(statistics: &Tensor, affine: &Tensor) -> Result<Tensor> {
    apply(Maps { channels: statistics.dim(1)? }, &[statistics, affine])
}

/// `act((x - mean) slope + bias)`, channel by channel.
pub(crate) fn normalize(
    x: &Tensor,
    maps: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    apply(Normalize { activation, shape: x.shape().clone(), sizes: sizes(x)? }, &[x, maps])
}

/// Gradients of bias and scale per example, (2, N, C), for a cotangent dy of the output.
pub(crate) fn gradients(
    dy: &Tensor,
    x: &Tensor,
    maps: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let sizes = sizes(x)?;
    if on_host(x) {
        return apply(Gradients { activation, sizes }, &[dy, x, maps]);
    }
    gradients_in_lanes(&[dy, x, maps], activation, sizes)
}

fn gradients_in_lanes(
    inputs: &[&Tensor],
    activation: Option<Activation>,
    sizes: ImageSizes,
) -> Result<Tensor> {
    let lanes = lanes(sizes.pixels);
    let sums = apply(LaneGradients { activation, sizes, lanes }, inputs)?;
    let sums = plane_sums(&sums, 2 * sizes.planes(), lanes)?;
    Ok(sums.reshape((2, sizes.batch, sizes.channels))?)
}

/// Means over batch and pixels of u and u x_hat, (2, C), from the [gradients] that belong to a
/// cotangent u: summed in f64.
pub(crate) fn means(gradients: &Tensor, pixels: usize) -> Result<Tensor> {
    let count = (gradients.dim(1)? * pixels) as f64;
    let sums = gradients.to_dtype(DType::F64)?.sum(1)?;
    Ok((sums / count)?.to_dtype(gradients.dtype())?)
}

/// Per channel the factors of u, x - mean and 1 in a tangent or cotangent, (3, C): see [`combine`].
/// Without u the first is zero.
pub(crate) fn factors(
    maps: &Tensor,
    means: &Tensor,
    moved: &Tensor,
    with_u: bool,
) -> Result<Tensor> {
    apply(Factors { channels: maps.dim(1)?, with_u }, &[maps, means, moved])
}

/// `first u + second (x - mean) + third`, channel by channel, with the activation's derivative where
/// `mask` says.
pub(crate) fn combine(
    u: &Tensor,
    x: &Tensor,
    maps: &Tensor,
    factors: &Tensor,
    mask: Mask,
) -> Result<Tensor> {
    let rows = Tensor::cat(&[maps, factors], 0)?;
    apply(Combine { mask, shape: x.shape().clone(), sizes: sizes(x)? }, &[u, x, &rows])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::kernel::testing::{assert_device_agrees, numbers};

    const SIZES: ImageSizes = ImageSizes { batch: 3, channels: 4, pixels: 77 };
    /// Sums of 77 numbers, three roundings each, with activations in between.
    const TOLERANCE: f64 = 1024.0;

    fn positive(count: usize, seed: u64) -> Vec<f64> {
        numbers(count, seed).into_iter().map(|x| x.abs() + 0.1).collect()
    }

    fn maps() -> Vec<f64> {
        let c = SIZES.channels;
        [numbers(c, 1), positive(c, 2), numbers(c, 3), positive(c, 4)].concat()
    }

    fn images(values: Vec<f64>) -> Result<Tensor> {
        Ok(Tensor::from_vec(values, (SIZES.batch, SIZES.channels, 7, 11), &Device::Cpu)?)
    }

    #[test]
    fn kernels_of_the_device_agree() {
        let (len, c, planes) = (SIZES.len(), SIZES.channels, SIZES.planes());
        let (u, x) = (numbers(len, 5), numbers(len, 6));
        let shape = Shape::from((SIZES.batch, c, 7, 11));
        let statistics = [numbers(c, 7), positive(c, 8)].concat();
        let inputs = [statistics, numbers(2 * c, 9)];
        assert_device_agrees(&Maps { channels: c }, &inputs, TOLERANCE);
        for with_u in [true, false] {
            let inputs = [maps(), numbers(2 * c, 10), numbers(2 * c, 11)];
            assert_device_agrees(&Factors { channels: c, with_u }, &inputs, TOLERANCE);
        }
        let kernel = Squares { planes, pixels: SIZES.pixels, lanes: 8 };
        assert_device_agrees(&kernel, &[x.clone(), numbers(planes, 12)], TOLERANCE);
        let inputs = [numbers(planes, 13), positive(planes, 14)];
        assert_device_agrees(&Merge { sizes: SIZES }, &inputs, TOLERANCE);
        for activation in [None, Some(Activation::Gelu), Some(Activation::Tanh)] {
            let kernel = Normalize { activation, shape: shape.clone(), sizes: SIZES };
            assert_device_agrees(&kernel, &[x.clone(), maps()], TOLERANCE);
            let kernel = LaneGradients { activation, sizes: SIZES, lanes: 8 };
            assert_device_agrees(&kernel, &[u.clone(), x.clone(), maps()], TOLERANCE);
        }
        let rows = [maps(), numbers(3 * c, 15)].concat();
        let act = Activation::Silu;
        for mask in [Mask::None, Mask::Input(act), Mask::Output(act)] {
            let kernel = Combine { mask, shape: shape.clone(), sizes: SIZES };
            assert_device_agrees(&kernel, &[u.clone(), x.clone(), rows.clone()], TOLERANCE);
        }
    }

    #[test]
    fn sums_in_lanes_are_those_of_the_host() -> Result<()> {
        let far = |values: Vec<f64>| values.into_iter().map(|x| x + 100.0).collect();
        let (dy, x) = (images(numbers(SIZES.len(), 5))?, images(far(numbers(SIZES.len(), 6)))?);
        let maps = Tensor::from_vec(maps(), (4, SIZES.channels), &Device::Cpu)?;
        // Deviations of size 2 from means of size 100, squared and averaged.
        assert_close(&moments(&x)?, &moments_in_lanes(&x, SIZES)?, 1e3)?;
        for activation in [None, Some(Activation::Tanh)] {
            let host = gradients(&dy, &x, &maps, activation)?;
            let lanes = gradients_in_lanes(&[&dy, &x, &maps], activation, SIZES)?;
            // 77 terms of size 400.
            assert_close(&host, &lanes, 77.0 * 77.0 * 400.0)?;
        }
        Ok(())
    }

    fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
        assert_eq!(a.dims(), b.dims());
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= tolerance * f64::EPSILON, "{error:e}");
        Ok(())
    }
}
