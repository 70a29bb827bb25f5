//! Convolution and its derivatives as matrix products over lowered images ([`lowering`]); on a GPU
//! over patches ([`products`]). Called by the layer and by its factor.

mod direct;
pub(crate) mod grouped;
mod lanes;
mod lowering;
#[cfg(test)]
mod oracle;
pub(crate) mod patches;
mod products;
pub(crate) mod rows;

use std::{borrow::Cow, ops::Range};

use candle_core::{Shape, Tensor};
use entk_device::Geometry;
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        conv::{lowering::ImageBlocks, products::Products},
        host_op::HostOp,
        matmul::{add_columns_product, add_product, rows, rows_mut},
        real::Real,
    },
};

/// Weights up to this size are summed over the batch by tasks of whole examples, since tasks of
/// some channels each would be too few for all threads.
const SMALL_WEIGHT: usize = 1 << 18;
/// Number of example tasks for small weights; fixed, so that bits do not depend on the threads.
const EXAMPLE_TASKS: usize = 8;
/// Channels of one task for large weights.
const TASK_CHANNELS: usize = 64;

/// Weights reordered by vertical tap: W_di is (filters, (c, dj)).
struct TapWeights<'w, T: Real> {
    values: Cow<'w, [T]>,
    shape: [usize; 2],
}

impl<'w, T: Real> TapWeights<'w, T> {
    fn new(weight: &'w [T], g: &Geometry) -> Self {
        let [kh, kw] = g.kernel;
        let shape = [g.filters, g.channels * kw];
        if kh == 1 {
            return Self { values: Cow::Borrowed(weight), shape };
        }
        let mut values = vec![T::zero(); weight.len()];
        for (at, kernel) in weight.chunks_exact(kh * kw).enumerate() {
            for (di, taps) in kernel.chunks_exact(kw).enumerate() {
                let to = di * shape[0] * shape[1] + at * kw;
                values[to..to + kw].copy_from_slice(taps);
            }
        }
        Self { values: Cow::Owned(values), shape }
    }

    fn tap(&self, di: usize) -> MatRef<'_, T> {
        let size = self.shape[0] * self.shape[1];
        rows(&self.values[di * size..(di + 1) * size], self.shape[0], self.shape[1])
    }

    /// For each of so many groups of channels.
    fn of_groups(weights: &'w [T], g: &Geometry) -> Vec<Self> {
        weights.chunks_exact(g.filters * g.patch()).map(|weight| Self::new(weight, g)).collect()
    }
}

/// Scratch memory of one task.
#[derive(Debug)]
pub(super) struct ConvScratch<T> {
    lowered: Vec<T>,
    matrix: Vec<T>,
    sums: Vec<T>,
}

impl<T> ConvScratch<T> {
    pub(super) fn new() -> Self {
        Self { lowered: Vec::new(), matrix: Vec::new(), sums: Vec::new() }
    }
}

/// The value; geometry and blocks are those of one group of channels, image i is of group
/// i mod `groups`.
struct Forward {
    geometry: Geometry,
    batch: usize,
    groups: usize,
}

impl HostOp for Forward {
    const NAME: &'static str = "conv2d";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (self.batch, self.groups * g.filters, g.output[0], g.output[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (g, blocks) = (self.geometry, ImageBlocks::of_groups(self.geometry, self.groups));
        let (weights, bias) = (TapWeights::of_groups(inputs[1], &g), inputs.get(2));
        (out.par_chunks_mut(blocks.images * g.output_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.input_len()))
            .enumerate()
            .for_each_init(ConvScratch::new, |scratch, (task, (y, x))| {
                let weight = &weights[task % self.groups];
                let bias = bias.map(|b| &b[task % self.groups * g.filters..][..g.filters]);
                for block in blocks.of_images(x.len() / g.input_len()) {
                    if block.is_image() {
                        let mut y = block.of_image_mut(y, g.filters);
                        let rows = y.as_mut().row_iter_mut();
                        for (mut row, b) in rows.zip(bias.unwrap_or_default()) {
                            row.fill(*b);
                        }
                        add_columns_product(y, weight.tap(0), block.of_image(x, g.channels));
                        continue;
                    }
                    block.lower(x, &mut scratch.lowered);
                    let (result, width) = (&mut scratch.matrix, block.width());
                    result.clear();
                    match bias {
                        Some(b) => b.iter().for_each(|b| result.resize(result.len() + width, *b)),
                        None => result.resize(g.filters * width, T::zero()),
                    }
                    for di in 0..g.kernel[0] {
                        let taps = block.tap_view(&scratch.lowered, di);
                        let result = rows_mut(result, g.filters, width);
                        add_columns_product(result, weight.tap(di), taps);
                    }
                    block.scatter(result, y);
                }
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let products = Products::of_groups(self.geometry, self.groups);
        let y = products.forward(inputs[0], inputs[1], inputs.get(2).copied())?;
        Ok(y.reshape(self.output())?)
    }
}

/// The input's cotangent, in groups as [`Forward`].
struct InputVjp {
    geometry: Geometry,
    batch: usize,
    groups: usize,
}

impl HostOp for InputVjp {
    const NAME: &'static str = "conv2d_input_vjp";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (self.batch, self.groups * g.channels, g.input[0], g.input[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (g, blocks) = (self.geometry, ImageBlocks::of_groups(self.geometry, self.groups));
        let weights = TapWeights::of_groups(inputs[1], &g);
        (out.par_chunks_mut(blocks.images * g.input_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.output_len()))
            .enumerate()
            .for_each_init(ConvScratch::new, |scratch, (task, (dx, dy))| {
                let weight = &weights[task % self.groups];
                for block in blocks.of_images(dy.len() / g.output_len()) {
                    if block.is_image() {
                        let (dx, dy) =
                            (block.of_image_mut(dx, g.channels), block.of_image(dy, g.filters));
                        add_columns_product(dx, weight.tap(0).transpose(), dy);
                        continue;
                    }
                    block.gather(dy, &mut scratch.matrix);
                    let cotangents = rows(&scratch.matrix, g.filters, block.width());
                    scratch.lowered.clear();
                    let size = block.phases() * block.taps() * block.columns();
                    scratch.lowered.resize(size, T::zero());
                    for di in 0..g.kernel[0] {
                        let taps = block.tap_view_mut(&mut scratch.lowered, di);
                        add_columns_product(taps, weight.tap(di).transpose(), cotangents);
                    }
                    block.raise(&mut scratch.lowered, dx);
                }
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let products = Products::of_groups(self.geometry, self.groups);
        Ok(products.input_vjp(inputs[0], inputs[1])?.reshape(self.output())?)
    }
}

pub(super) struct WeightVjp {
    geometry: Geometry,
    /// Input channels from one image to the next.
    stack: usize,
}

impl WeightVjp {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, stack: geometry.channels }
    }

    /// The weight cotangents of some filters, (filters, C, k, k), summed over the given images,
    /// written to `dw`.
    pub(super) fn write<T: Real>(
        &self,
        x: &[T],
        dy: &[T],
        filters: &Range<usize>,
        dw: &mut [T],
        scratch: &mut ConvScratch<T>,
    ) {
        let (g, blocks) = (self.geometry, ImageBlocks::new(self.geometry).of_stack(self.stack));
        let [kh, kw] = g.kernel;
        let image = self.stack * g.input_pixels();
        let (count, taps) = (filters.len(), g.channels * kw);
        let ConvScratch { lowered, matrix, sums } = scratch;
        sums.clear();
        sums.resize(dw.len(), T::zero());
        let images = x.chunks(blocks.images * image);
        for (x, dy) in images.zip(dy.chunks(blocks.images * g.output_len())) {
            for block in blocks.of_images(dy.len() / g.output_len()) {
                block.lower(x, lowered);
                let cotangents = if block.images == 1 {
                    block.of_image(dy, g.filters)
                } else {
                    block.gather(dy, matrix);
                    rows(matrix, g.filters, block.width())
                };
                for (di, sum) in sums.chunks_exact_mut(count * taps).enumerate() {
                    let view = block.tap_view(lowered, di).transpose();
                    let part = cotangents.subrows(filters.start, count);
                    add_product(rows_mut(sum, count, taps), part, view);
                }
            }
        }
        for (at, kernel) in dw.chunks_exact_mut(kh * kw).enumerate() {
            for (di, target) in kernel.chunks_exact_mut(kw).enumerate() {
                let from = di * count * taps + at * kw;
                target.copy_from_slice(&sums[from..from + kw]);
            }
        }
    }

    /// Tasks of whole examples, each with its own sum; the sums are added in order.
    fn by_examples<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let g = &self.geometry;
        let task = (x.len() / g.input_len()).div_ceil(EXAMPLE_TASKS);
        let partial: Vec<Vec<T>> = (x.par_chunks(task * g.input_len()))
            .zip(dy.par_chunks(task * g.output_len()))
            .map(|(x, dy)| {
                let mut sum = vec![T::zero(); dw.len()];
                self.write(x, dy, &(0..g.filters), &mut sum, &mut ConvScratch::new());
                sum
            })
            .collect();
        for sum in partial {
            for (total, part) in dw.iter_mut().zip(sum) {
                *total += part;
            }
        }
    }

    /// Tasks of some channels each, over all examples; each lowers its channels only.
    fn by_channels<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let g = &self.geometry;
        let starts: Vec<usize> = (0..g.channels).step_by(TASK_CHANNELS).collect();
        let parts: Vec<Vec<T>> = (starts.into_par_iter())
            .map(|start| {
                let channels = TASK_CHANNELS.min(g.channels - start);
                let part = Self { geometry: Geometry { channels, ..*g }, stack: self.stack };
                let mut dw = vec![T::zero(); g.filters * part.geometry.patch()];
                let x = &x[start * g.input_pixels()..];
                part.write(x, dy, &(0..g.filters), &mut dw, &mut ConvScratch::new());
                dw
            })
            .collect();
        dw.par_chunks_mut(g.patch()).enumerate().for_each(|(filter, row)| {
            let mut from = 0;
            for part in &parts {
                let width = part.len() / g.filters;
                let source = &part[filter * width..(filter + 1) * width];
                row[from..from + width].copy_from_slice(source);
                from += width;
            }
        });
    }
}

impl HostOp for WeightVjp {
    const NAME: &'static str = "conv2d_weight_vjp";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (g.filters, g.channels, g.kernel[0], g.kernel[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        if out.len() <= SMALL_WEIGHT {
            self.by_examples(inputs[0], inputs[1], out);
        } else {
            self.by_channels(inputs[0], inputs[1], out);
        }
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        Products::new(self.geometry).weight_vjp(inputs[0], inputs[1])
    }
}

/// Gradient of the weight summed over the batch, (C', C, k, k).
pub(crate) fn weight_vjp(x: &Tensor, dy: &Tensor, geometry: Geometry) -> Result<Tensor> {
    WeightVjp::new(geometry).apply(&[x, dy])
}
