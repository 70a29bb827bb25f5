//! Per-channel normalisation, fused with the activation that follows it.
//!
//! Planes (one channel of one example) are the unit of work: they fit the first-level cache, so
//! several passes over a plane cost one pass over memory. Sums within a plane are in the element
//! type, in eight lanes; sums over planes are in f64, in the order of the batch.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    activation::{Activation, Pointwise, specialise},
    channel::{dot_slice, sum_slice},
    kernel::{Kernel, apply, vectorised},
    real::Real,
};
use crate::error::Result;

/// Entries that one task should at least work on.
const TASK: usize = 1 << 14;

/// The map of one channel, `y = act((x - mean) inverse weight + bias)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) mean: f64,
    /// 1 / sqrt(variance + epsilon).
    pub(crate) inverse: f64,
    pub(crate) weight: f64,
    pub(crate) bias: f64,
}

/// The numbers of [`Channel`] that the inner loops use.
#[derive(Clone, Copy)]
struct Line<T> {
    mean: T,
    slope: T,
    bias: T,
}

impl<T: Real> Line<T> {
    fn of(c: &Channel) -> Self {
        Self {
            mean: T::from_f64(c.mean),
            slope: T::from_f64(c.inverse * c.weight),
            bias: T::from_f64(c.bias),
        }
    }

    #[inline(always)]
    fn at(self, x: T) -> T {
        (x - self.mean) * self.slope + self.bias
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

/// The layer's values.
struct Normalize<'a> {
    channels: &'a [Channel],
    activation: Option<Activation>,
    shape: Shape,
    pixels: usize,
}

impl Normalize<'_> {
    #[inline(always)]
    fn plane<T: Real>(&self, plane: usize, x: &[T], out: &mut [T]) {
        let line = Line::of(&self.channels[plane % self.channels.len()]);
        let pairs = out.iter_mut().zip(x);
        match self.activation {
            None => pairs.for_each(|(o, x)| *o = line.at(*x)),
            Some(act) => specialise!(act, act => {
                pairs.for_each(|(o, x)| *o = act.value(line.at(*x)));
            }),
        }
    }
}

impl Kernel for Normalize<'_> {
    const NAME: &'static str = "batch_norm";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(self.pixels).zip(inputs[0].par_chunks(self.pixels)).enumerate())
            .with_min_len(planes_of_task(self.pixels))
            .for_each(|(plane, (out, x))| vectorised(|| self.plane(plane, x, out)));
    }
}

/// Gradients per example, (2, N, C): of the bias `sum_p d`, of the scale
/// `sum_p d (x - mean) inverse`, with `d = act'(z) dy`.
struct Gradients<'a> {
    channels: &'a [Channel],
    activation: Option<Activation>,
    batch: usize,
    pixels: usize,
}

impl Gradients<'_> {
    /// The two sums of one plane; `masked` is scratch memory.
    #[inline(always)]
    fn plane<T: Real>(&self, plane: usize, dy: &[T], x: &[T], masked: &mut Vec<T>) -> (T, T) {
        let channel = &self.channels[plane % self.channels.len()];
        let line = Line::of(channel);
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
        (sum_slice(d), dot_slice(d, x, line.mean) * T::from_f64(channel.inverse))
    }
}

impl Kernel for Gradients<'_> {
    const NAME: &'static str = "batch_norm_gradients";

    fn output(&self) -> Shape {
        (2, self.batch, self.channels.len()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (biases, scales) = out.split_at_mut(self.batch * self.channels.len());
        (biases.par_iter_mut().zip(scales.par_iter_mut()))
            .zip(inputs[0].par_chunks(self.pixels).zip(inputs[1].par_chunks(self.pixels)))
            .enumerate()
            .with_min_len(planes_of_task(self.pixels))
            .for_each_init(Vec::new, |masked, (plane, ((bias, scale), (dy, x)))| {
                (*bias, *scale) = vectorised(|| self.plane(plane, dy, x, masked));
            });
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

/// `a u + b (x - mean) + c` of one channel, for a tangent or cotangent u.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Combination {
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) c: f64,
}

struct Combine<'a> {
    channels: &'a [Channel],
    combinations: &'a [Combination],
    mask: Mask,
    shape: Shape,
    pixels: usize,
}

impl Combine<'_> {
    #[inline(always)]
    fn plane<T: Real>(&self, plane: usize, u: &[T], x: &[T], out: &mut [T]) {
        let at = plane % self.channels.len();
        let line = Line::of(&self.channels[at]);
        let Combination { a, b, c } = self.combinations[at];
        let (a, b, c) = (T::from_f64(a), T::from_f64(b), T::from_f64(c));
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

impl Kernel for Combine<'_> {
    const NAME: &'static str = "batch_norm_combine";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(self.pixels))
            .zip(inputs[0].par_chunks(self.pixels).zip(inputs[1].par_chunks(self.pixels)))
            .enumerate()
            .with_min_len(planes_of_task(self.pixels))
            .for_each(|(plane, (out, (u, x)))| vectorised(|| self.plane(plane, u, x, out)));
    }
}

/// Mean and biased variance of every channel of x (N, C, H, W), as (2, C).
pub(crate) fn moments(x: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    apply(Moments { channels, pixels: height * width }, &[x])
}

/// `act((x - mean) inverse weight + bias)`, channel by channel.
pub(crate) fn normalize(
    x: &Tensor,
    channels: &[Channel],
    activation: Option<Activation>,
) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let (shape, pixels) = (x.shape().clone(), height * width);
    apply(Normalize { channels, activation, shape, pixels }, &[x])
}

/// Gradients of bias and scale per example, (2, N, C), for a cotangent dy of the output.
pub(crate) fn gradients(
    dy: &Tensor,
    x: &Tensor,
    channels: &[Channel],
    activation: Option<Activation>,
) -> Result<Tensor> {
    let (batch, _, height, width) = x.dims4()?;
    apply(Gradients { channels, activation, batch, pixels: height * width }, &[dy, x])
}

/// `a u + b (x - mean) + c`, channel by channel, with the activation's derivative where `mask` says.
pub(crate) fn combine(
    u: &Tensor,
    x: &Tensor,
    channels: &[Channel],
    combinations: &[Combination],
    mask: Mask,
) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let (shape, pixels) = (x.shape().clone(), height * width);
    apply(Combine { channels, combinations, mask, shape, pixels }, &[u, x])
}
