//! Convolutions in groups of channels, each with its own filters, and their derivatives. Called by
//! the operation; ungrouped ones are those of [`super`].
//!
//! The groups of a batch (N, G C, H, W) are N G images of C channels, without a copy, of which
//! image i has filters i mod G. Filters that differ from example to example are N G groups of one
//! image.

use std::array;

use candle_core::{Shape, Tensor};
use entk_device::Geometry;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        conv::{
            self,
            direct::{DirectConv, DirectScratch},
            lanes::{LANES, LaneConv, LaneScratch},
            products::Products,
            rows::weight_rows,
        },
        host_op::HostOp,
        real::Real,
    },
};

/// Pairs of a channel and a filter of one group up to which its convolution is
/// [direct](DirectConv): products of such narrow matrices are slower.
const FEW_PAIRS: usize = 8;
/// Multiply-adds of one task.
const TASK: usize = 1 << 15;

/// A convolution of groups of channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupedConv {
    /// Sizes of one group.
    pub(crate) geometry: Geometry,
    /// Groups of an image.
    pub(crate) groups: usize,
}

impl GroupedConv {
    fn is_direct(&self) -> bool {
        self.groups > 1 && self.geometry.channels * self.geometry.filters <= FEW_PAIRS
    }

    /// The operation for every one of `images` images.
    fn direct(self, images: usize, what: Direct) -> DirectOp {
        DirectOp { conv: self, images, what }
    }

    /// `y = w * x (+ b)`: x (N, G C, H, W), w (G C', C, k, k), b (G C').
    pub(crate) fn value(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        if self.is_direct() {
            let inputs = [&[x, w], bias.as_slice()].concat();
            return self.direct(x.dim(0)?, Direct::Value).apply(&inputs);
        }
        conv::Forward { geometry: self.geometry, batch: x.dim(0)?, groups: self.groups }
            .apply(&[&[x, w], bias.as_slice()].concat())
    }

    /// Cotangent of the input from the cotangent dy (N, G C', H', W') of the output.
    pub(crate) fn input_vjp(&self, dy: &Tensor, w: &Tensor) -> Result<Tensor> {
        if self.is_direct() {
            return self.direct(dy.dim(0)?, Direct::Input).apply(&[dy, w]);
        }
        conv::InputVjp { geometry: self.geometry, batch: dy.dim(0)?, groups: self.groups }
            .apply(&[dy, w])
    }

    /// Gradient of the weight per example, (N, G C' C k k).
    pub(crate) fn weight_rows(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        if self.is_direct() {
            return self.direct(x.dim(0)?, Direct::Weight).apply(&[x, dy]);
        }
        let (g, batch) = (&self.geometry, x.dim(0)?);
        let images = batch * self.groups;
        let x = x.reshape((images, g.channels, g.input[0], g.input[1]))?;
        let dy = dy.reshape((images, g.filters, g.output[0], g.output[1]))?;
        Ok(weight_rows(&x, &dy, *g)?.reshape((batch, ()))?)
    }
}

/// What a [`DirectOp`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direct {
    Value,
    Input,
    Weight,
}

struct DirectOp {
    conv: GroupedConv,
    images: usize,
    what: Direct,
}

impl DirectOp {
    /// Numbers of a group in the result and in the first input.
    fn lens(&self) -> [usize; 2] {
        let g = &self.conv.geometry;
        match self.what {
            Direct::Value => [g.output_len(), g.input_len()],
            Direct::Input => [g.input_len(), g.output_len()],
            Direct::Weight => [g.filters * g.patch(), g.input_len()],
        }
    }

    /// Small planes of one channel, some at a time.
    fn in_lanes<T: Real>(&self, lanes: &LaneConv, inputs: &[&[T]], out: &mut [T]) {
        let (g, groups, [len, others]) = (&self.conv.geometry, self.conv.groups, self.lens());
        (out.par_chunks_mut(len * LANES).zip(inputs[0].par_chunks(others * LANES)).enumerate())
            .with_min_len((TASK / (LANES * g.taps() * g.output_pixels())).max(1))
            .for_each_init(LaneScratch::new, |scratch, (block, (out, values))| {
                let first = block * LANES;
                let group = |lane: usize| (first + lane) % groups;
                let weight = |lane: usize| &inputs[1][group(lane) * g.taps()..][..g.taps()];
                match self.what {
                    Direct::Value => {
                        let bias = inputs.get(2);
                        let starts =
                            array::from_fn(|lane| bias.map_or(T::zero(), |b| b[group(lane)]));
                        lanes.value(values, weight, starts, out, scratch);
                    }
                    Direct::Input => lanes.input_vjp(values, weight, out, scratch),
                    Direct::Weight => {
                        let dy = &inputs[1][first * g.output_pixels()..];
                        let dy = &dy[..values.len() / others * g.output_pixels()];
                        lanes.weight_vjp(values, dy, out, scratch);
                    }
                }
            });
    }
}

impl HostOp for DirectOp {
    const NAME: &'static str = "grouped_conv2d";

    fn output(&self) -> Shape {
        let GroupedConv { geometry: g, groups } = self.conv;
        match self.what {
            Direct::Value => (self.images, groups * g.filters, g.output[0], g.output[1]).into(),
            Direct::Input => (self.images, groups * g.channels, g.input[0], g.input[1]).into(),
            Direct::Weight => (self.images, groups * g.filters * g.patch()).into(),
        }
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let GroupedConv { geometry: g, groups } = self.conv;
        if let Some(lanes) = LaneConv::new(g) {
            return self.in_lanes(&lanes, inputs, out);
        }
        let (direct, weights, [len, others]) =
            (DirectConv::new(g), g.filters * g.patch(), self.lens());
        out.par_chunks_mut(len)
            .zip(inputs[0].par_chunks(others))
            .enumerate()
            .with_min_len((TASK / (weights * g.output_pixels())).max(1))
            .for_each_init(DirectScratch::new, |scratch, (image, (out, values))| {
                let group = image % groups;
                let weight = || &inputs[1][group * weights..(group + 1) * weights];
                match self.what {
                    Direct::Value => {
                        let bias = inputs.get(2).map(|b| &b[group * g.filters..][..g.filters]);
                        direct.value(values, weight(), bias, out, scratch);
                    }
                    Direct::Input => direct.input_vjp(values, weight(), out, scratch),
                    Direct::Weight => {
                        let dy = &inputs[1][image * g.output_len()..][..g.output_len()];
                        direct.weight_vjp(values, dy, out, scratch);
                    }
                }
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let products = Products::of_groups(self.conv.geometry, self.conv.groups);
        let result = match self.what {
            Direct::Value => products.forward(inputs[0], inputs[1], inputs.get(2).copied()),
            Direct::Input => products.input_vjp(inputs[0], inputs[1]),
            Direct::Weight => products.weight_rows(inputs[0], inputs[1]),
        };
        Ok(result?.reshape(self.output())?)
    }
}
