//! Per-channel normalisation, fused with the activation that follows it.
//!
//! Planes (one channel of one example) are the unit of work: they fit the first-level cache, so
//! several passes over a plane cost one pass over memory. Sums within a plane are in the element
//! type, in eight lanes.

pub(crate) mod channels;
pub(crate) mod group_derivatives;
pub(crate) mod groups;

use candle_core::{Shape, Tensor};
use entk_device::{Activation, ImageSizes, Launch, MaskPlace};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        channel::{dot_slice, lanes, plane_sums, sum_slice},
        entrywise::{
            activation::{ensure_supported, specialise},
            pointwise::Pointwise,
        },
        host_op::{HostOp, vectorised},
        norm::channels::{ChannelMap, channels_from, planes_of_task, sizes},
        real::Real,
    },
};

/// The layer's values. Inputs: x and the [maps](ChannelMap).
struct Normalize {
    activation: Option<Activation>,
    shape: Shape,
    sizes: ImageSizes,
}

impl Normalize {
    /// Consecutive planes, of which the first is of this channel.
    #[inline(always)]
    fn planes<T: Real>(&self, first: usize, maps: &[T], x: &[T], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let planes = out.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels));
        specialise!(self.activation, act => {
            for ((out, x), channel) in planes.zip(channels_from(first, channels)) {
                let line = ChannelMap::of(maps, channel, channels);
                for (o, x) in out.iter_mut().zip(x) {
                    *o = act.value(line.at(*x));
                }
            }
        });
    }
}

impl HostOp for Normalize {
    const NAME: &'static str = "batch_norm";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (planes, pixels) = (planes_of_task(self.sizes.pixels), self.sizes.pixels);
        (out.par_chunks_mut(planes * pixels).zip(inputs[0].par_chunks(planes * pixels)))
            .enumerate()
            .for_each(|(task, (out, x))| {
                vectorised(
                    #[inline(always)]
                    || self.planes(task * planes % self.sizes.channels, inputs[1], x, out),
                );
            });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::normalize(self.sizes, self.activation))
    }
}

/// Gradients per example, (2, N, C): of the bias `sum_p d`, of the scale
/// `sum_p d (x - mean) inverse`, with `d = act'(z) dy`. Inputs: dy, x and the [maps](ChannelMap).
struct Gradients {
    activation: Option<Activation>,
    sizes: ImageSizes,
}

impl Gradients {
    /// The two sums of consecutive planes, of which the first is of this channel.
    #[inline(always)]
    fn planes<T: Real>(
        &self,
        first: usize,
        [dy, x, maps]: [&[T]; 3],
        [biases, scales]: [&mut [T]; 2],
    ) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let mut d = dy.to_vec();
        let planes = d.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels));
        let sums = biases.iter_mut().zip(scales);
        specialise!(self.activation, act => {
            for (((d, x), channel), (bias, scale)) in
                planes.zip(channels_from(first, channels)).zip(sums)
            {
                let line = ChannelMap::of(maps, channel, channels);
                for (d, x) in d.iter_mut().zip(x) {
                    *d = act.derivative(line.at(*x)) * *d;
                }
                *bias = sum_slice(d);
                *scale = dot_slice(d, x, line.mean) * line.inverse;
            }
        });
    }
}

impl HostOp for Gradients {
    const NAME: &'static str = "batch_norm_gradients";

    fn output(&self) -> Shape {
        (2, self.sizes.batch, self.sizes.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (planes, pixels) = (planes_of_task(self.sizes.pixels), self.sizes.pixels);
        let (biases, scales) = out.split_at_mut(self.sizes.planes());
        (biases.par_chunks_mut(planes).zip(scales.par_chunks_mut(planes)))
            .zip(inputs[0].par_chunks(planes * pixels).zip(inputs[1].par_chunks(planes * pixels)))
            .enumerate()
            .for_each(|(task, ((biases, scales), (dy, x)))| {
                let first = task * planes % self.sizes.channels;
                vectorised(
                    #[inline(always)]
                    || self.planes(first, [dy, x, inputs[2]], [biases, scales]),
                );
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        gradients_in_lanes(inputs, self.activation, self.sizes)
    }
}

/// Gradients per example with their sums in lanes, (2, N, C, lanes).
struct LaneGradients {
    activation: Option<Activation>,
    sizes: ImageSizes,
    lanes: usize,
}

impl LaneGradients {
    fn fill<T: Real>(&self, act: impl Pointwise, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let (biases, scales) = out.split_at_mut(self.sizes.planes() * self.lanes);
        for (at, (dy, x)) in inputs[0].iter().zip(inputs[1]).enumerate() {
            let (plane, lane) = (at / pixels, at % pixels % self.lanes);
            let line = ChannelMap::of(inputs[2], plane % channels, channels);
            let d = act.derivative(line.at(*x)) * *dy;
            biases[plane * self.lanes + lane] += d;
            scales[plane * self.lanes + lane] += d * (*x - line.mean) * line.inverse;
        }
    }
}

impl HostOp for LaneGradients {
    const NAME: &'static str = "batch_norm_lane_gradients";

    fn output(&self) -> Shape {
        (2, self.sizes.batch, self.sizes.channels, self.lanes).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        specialise!(self.activation, act => self.fill(act, inputs, out));
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::norm_gradients(self.sizes, self.activation, self.lanes))
    }
}

/// Where the activation's derivative multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mask {
    /// The cotangent that comes in, as in a VJP.
    Input(Activation),
    /// The result, as in a JVP.
    Output(Activation),
    /// Nowhere.
    None,
}

/// `first u + second (x - mean) + third`. Inputs: u, x, and maps with these factors.
struct Combine {
    mask: Mask,
    shape: Shape,
    sizes: ImageSizes,
}

impl Combine {
    /// Consecutive planes, of which the first is of this channel; `entry` takes the map and the
    /// factors of a channel, u and x.
    #[inline(always)]
    fn planes<T: Real>(
        &self,
        first: usize,
        [u, x, rows]: [&[T]; 3],
        out: &mut [T],
        entry: impl Fn(ChannelMap<T>, [T; 3], T, T) -> T,
    ) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        let planes = (out.chunks_exact_mut(pixels))
            .zip(u.chunks_exact(pixels).zip(x.chunks_exact(pixels)))
            .zip(channels_from(first, channels));
        for ((out, (u, x)), channel) in planes {
            let line = ChannelMap::of(rows, channel, channels);
            let factors = [4, 5, 6].map(|row| rows[row * channels + channel]);
            for (o, (u, x)) in out.iter_mut().zip(u.iter().zip(x)) {
                *o = entry(line, factors, *u, *x);
            }
        }
    }

    #[inline(always)]
    fn fill<T: Real>(&self, first: usize, inputs: [&[T]; 3], out: &mut [T]) {
        match self.mask {
            Mask::None => self.planes(first, inputs, out, combination),
            Mask::Input(act) => specialise!(Some(act), act => self.planes(
                first,
                inputs,
                out,
                #[inline(always)]
                |line, factors, u, x| combination(line, factors, act.derivative(line.at(x)) * u, x),
            )),
            Mask::Output(act) => specialise!(Some(act), act => self.planes(
                first,
                inputs,
                out,
                #[inline(always)]
                |line, factors, u, x| act.derivative(line.at(x)) * combination(line, factors, u, x),
            )),
        }
    }
}

#[inline(always)]
fn combination<T: Real>(line: ChannelMap<T>, [a, b, c]: [T; 3], u: T, x: T) -> T {
    a * u + (b * (x - line.mean) + c)
}

impl HostOp for Combine {
    const NAME: &'static str = "batch_norm_combine";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (planes, pixels) = (planes_of_task(self.sizes.pixels), self.sizes.pixels);
        (out.par_chunks_mut(planes * pixels))
            .zip(inputs[0].par_chunks(planes * pixels).zip(inputs[1].par_chunks(planes * pixels)))
            .enumerate()
            .for_each(|(task, (out, (u, x)))| {
                let first = task * planes % self.sizes.channels;
                vectorised(
                    #[inline(always)]
                    || self.fill(first, [u, x, inputs[2]], out),
                );
            });
    }

    fn launch(&self) -> Option<Launch> {
        let (activation, place) = match self.mask {
            Mask::None => (None, MaskPlace::Nowhere),
            Mask::Input(act) => (Some(act), MaskPlace::Input),
            Mask::Output(act) => (Some(act), MaskPlace::Output),
        };
        Some(Launch::norm_combine(self.sizes, activation, place))
    }
}

/// `act((x - mean) slope + bias)`, channel by channel.
pub(crate) fn normalize(
    x: &Tensor,
    maps: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    ensure_supported(activation)?;
    Normalize { activation, shape: x.shape().clone(), sizes: sizes(x)? }.apply(&[x, maps])
}

/// Gradients of bias and scale per example, (2, N, C), for a cotangent dy of the output.
pub(crate) fn gradients(
    dy: &Tensor,
    x: &Tensor,
    maps: &Tensor,
    activation: Option<Activation>,
) -> Result<Tensor> {
    ensure_supported(activation)?;
    Gradients { activation, sizes: sizes(x)? }.apply(&[dy, x, maps])
}

fn gradients_in_lanes(
    inputs: &[&Tensor],
    activation: Option<Activation>,
    sizes: ImageSizes,
) -> Result<Tensor> {
    let lanes = lanes(sizes.pixels);
    let sums = LaneGradients { activation, sizes, lanes }.apply(inputs)?;
    let sums = plane_sums(&sums, 2 * sizes.planes(), lanes)?;
    Ok(sums.reshape((2, sizes.batch, sizes.channels))?)
}

/// `first u + second (x - mean) + third`, channel by channel, with the factors of `maps` and the
/// activation's derivative where `mask` says.
pub(crate) fn combine(u: &Tensor, x: &Tensor, maps: &Tensor, mask: Mask) -> Result<Tensor> {
    if let Mask::Input(activation) | Mask::Output(activation) = mask {
        ensure_supported(Some(activation))?;
    }
    Combine { mask, shape: x.shape().clone(), sizes: sizes(x)? }.apply(&[u, x, maps])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::{
        host_op::testing::{assert_device_agrees, numbers},
        norm::channels::tests::{SIZES, TOLERANCE, assert_close, images, maps},
    };

    #[test]
    fn kernels_of_the_device_agree() {
        let (u, x) = (numbers(SIZES.len(), 5), numbers(SIZES.len(), 6));
        let shape = Shape::from((SIZES.batch, SIZES.channels, 7, 11));
        for activation in [None, Some(Activation::Gelu), Some(Activation::Tanh)] {
            let kernel = Normalize { activation, shape: shape.clone(), sizes: SIZES };
            assert_device_agrees(&kernel, &[x.clone(), maps()], TOLERANCE);
            let kernel = LaneGradients { activation, sizes: SIZES, lanes: 8 };
            assert_device_agrees(&kernel, &[u.clone(), x.clone(), maps()], TOLERANCE);
        }
        let act = Activation::Silu;
        for mask in [Mask::None, Mask::Input(act), Mask::Output(act)] {
            let kernel = Combine { mask, shape: shape.clone(), sizes: SIZES };
            assert_device_agrees(&kernel, &[u.clone(), x.clone(), maps()], TOLERANCE);
        }
    }

    #[test]
    fn gradients_in_lanes_are_those_of_the_host() -> Result<()> {
        let far = numbers(SIZES.len(), 6).into_iter().map(|x| x + 100.0).collect();
        let (dy, x) = (images(numbers(SIZES.len(), 5))?, images(far)?);
        let maps = Tensor::from_vec(maps(), (7, SIZES.channels), &Device::Cpu)?;
        for activation in [None, Some(Activation::Tanh)] {
            let host = gradients(&dy, &x, &maps, activation)?;
            let lanes = gradients_in_lanes(&[&dy, &x, &maps], activation, SIZES)?;
            // 77 terms of size 400.
            assert_close(&host, &lanes, 77.0 * 77.0 * 400.0)?;
        }
        Ok(())
    }
}
