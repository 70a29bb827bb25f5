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
        norm::channels::{ChannelMap, planes_of_task, sizes},
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
    #[inline(always)]
    fn plane<T: Real>(&self, line: ChannelMap<T>, x: &[T], out: &mut [T]) {
        let pairs = out.iter_mut().zip(x);
        specialise!(self.activation, act => {
            for (o, x) in pairs {
                *o = act.value(line.at(*x));
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
        let ImageSizes { channels, pixels, .. } = self.sizes;
        (out.par_chunks_mut(pixels).zip(inputs[0].par_chunks(pixels)).enumerate())
            .with_min_len(planes_of_task(pixels))
            .for_each(|(plane, (out, x))| {
                let line = ChannelMap::of(inputs[1], plane % channels, channels);
                vectorised(
                    #[inline(always)]
                    || self.plane(line, x, out),
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
    /// The two sums of one plane; `masked` is scratch memory.
    #[inline(always)]
    fn plane<T: Real>(
        &self,
        line: ChannelMap<T>,
        dy: &[T],
        x: &[T],
        masked: &mut Vec<T>,
    ) -> (T, T) {
        let d = match self.activation {
            None => dy,
            activation => {
                masked.resize(dy.len(), T::zero());
                let triples = masked.iter_mut().zip(dy.iter().zip(x));
                specialise!(activation, act => {
                    for (m, (d, x)) in triples {
                        *m = act.derivative(line.at(*x)) * *d;
                    }
                });
                masked
            }
        };
        (sum_slice(d), dot_slice(d, x, line.mean) * line.inverse)
    }
}

impl HostOp for Gradients {
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
                let line = ChannelMap::of(inputs[2], plane % channels, channels);
                (*bias, *scale) = vectorised(
                    #[inline(always)]
                    || self.plane(line, dy, x, masked),
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

/// `first u + second (x - mean) + third`. Inputs: u, x, and maps followed by factors, (7, C).
struct Combine {
    mask: Mask,
    shape: Shape,
    sizes: ImageSizes,
}

impl Combine {
    #[inline(always)]
    fn plane<T: Real>(
        &self,
        line: ChannelMap<T>,
        factors: [T; 3],
        [u, x]: [&[T]; 2],
        out: &mut [T],
    ) {
        let [a, b, c] = factors;
        let triples = out.iter_mut().zip(u.iter().zip(x));
        let map = |u: T, x: T| a * u + (b * (x - line.mean) + c);
        match self.mask {
            Mask::None => triples.for_each(|(o, (u, x))| *o = map(*u, *x)),
            Mask::Input(act) => specialise!(Some(act), act => {
                for (o, (u, x)) in triples {
                    *o = map(act.derivative(line.at(*x)) * *u, *x);
                }
            }),
            Mask::Output(act) => specialise!(Some(act), act => {
                for (o, (u, x)) in triples {
                    *o = act.derivative(line.at(*x)) * map(*u, *x);
                }
            }),
        }
    }
}

impl HostOp for Combine {
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
                let line = ChannelMap::of(inputs[2], channel, channels);
                let factors = [4, 5, 6].map(|row| inputs[2][row * channels + channel]);
                vectorised(
                    #[inline(always)]
                    || self.plane(line, factors, [u, x], out),
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

/// `first u + second (x - mean) + third`, channel by channel, with the activation's derivative
/// where `mask` says.
pub(crate) fn combine(
    u: &Tensor,
    x: &Tensor,
    maps: &Tensor,
    factors: &Tensor,
    mask: Mask,
) -> Result<Tensor> {
    if let Mask::Input(activation) | Mask::Output(activation) = mask {
        ensure_supported(Some(activation))?;
    }
    let rows = Tensor::cat(&[maps, factors], 0)?;
    Combine { mask, shape: x.shape().clone(), sizes: sizes(x)? }.apply(&[u, x, &rows])
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
        let rows = [maps(), numbers(3 * SIZES.channels, 15)].concat();
        let act = Activation::Silu;
        for mask in [Mask::None, Mask::Input(act), Mask::Output(act)] {
            let kernel = Combine { mask, shape: shape.clone(), sizes: SIZES };
            assert_device_agrees(&kernel, &[u.clone(), x.clone(), rows.clone()], TOLERANCE);
        }
    }

    #[test]
    fn gradients_in_lanes_are_those_of_the_host() -> Result<()> {
        let far = numbers(SIZES.len(), 6).into_iter().map(|x| x + 100.0).collect();
        let (dy, x) = (images(numbers(SIZES.len(), 5))?, images(far)?);
        let maps = Tensor::from_vec(maps(), (4, SIZES.channels), &Device::Cpu)?;
        for activation in [None, Some(Activation::Tanh)] {
            let host = gradients(&dy, &x, &maps, activation)?;
            let lanes = gradients_in_lanes(&[&dy, &x, &maps], activation, SIZES)?;
            // 77 terms of size 400.
            assert_close(&host, &lanes, 77.0 * 77.0 * 400.0)?;
        }
        Ok(())
    }
}
