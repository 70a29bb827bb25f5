//! Convolution and its derivatives as matrix products over lowered images
//! ([`super::lowering`]).

use candle_core::{Shape, Tensor};
use faer::MatRef;
use rayon::prelude::*;

use super::{
    geometry::Geometry,
    kernel::{Kernel, apply},
    lowering::Blocks,
    matmul::{add_product, rows, rows_mut},
    real::Real,
};
use crate::error::Result;

/// Weights up to this size are summed over the batch by tasks of whole examples.
const SMALL_WEIGHT: usize = 1 << 15;
/// Number of example tasks for small weights; fixed, so that bits do not depend on the threads.
const EXAMPLE_TASKS: usize = 8;
/// Output pixels up to which a per-example gradient is one product with all patches unrolled:
/// the result, long beside them, is then written once and in its final order.
const FEW_PIXELS: usize = 64;
/// Filters of one task for large weights.
const TASK_FILTERS: usize = 64;

/// Weights reordered by vertical tap: W_di is (filters, (c, dj)).
struct TapWeights<T> {
    values: Vec<T>,
    shape: [usize; 2],
}

impl<T: Real> TapWeights<T> {
    fn new(weight: &[T], g: &Geometry) -> Self {
        let [kh, kw] = g.kernel;
        let shape = [g.filters, g.channels * kw];
        let mut values = vec![T::zero(); weight.len()];
        for (at, kernel) in weight.chunks_exact(kh * kw).enumerate() {
            for (di, taps) in kernel.chunks_exact(kw).enumerate() {
                let to = di * shape[0] * shape[1] + at * kw;
                values[to..to + kw].copy_from_slice(taps);
            }
        }
        Self { values, shape }
    }

    fn tap(&self, di: usize) -> MatRef<'_, T> {
        let size = self.shape[0] * self.shape[1];
        rows(&self.values[di * size..(di + 1) * size], self.shape[0], self.shape[1])
    }
}

/// Scratch memory of one task.
struct Scratch<T> {
    lowered: Vec<T>,
    matrix: Vec<T>,
}

impl<T> Scratch<T> {
    fn new() -> Self {
        Self { lowered: Vec::new(), matrix: Vec::new() }
    }
}

struct Forward {
    geometry: Geometry,
    batch: usize,
}

impl Kernel for Forward {
    const NAME: &'static str = "conv2d";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (self.batch, g.filters, g.output[0], g.output[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (g, blocks) = (self.geometry, Blocks::new(self.geometry));
        let (weight, bias) = (TapWeights::new(inputs[1], &g), inputs.get(2));
        (out.par_chunks_mut(blocks.images * g.output_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.input_len()))
            .for_each_init(Scratch::new, |scratch, (y, x)| {
                for block in blocks.of_images(x.len() / g.input_len()) {
                    block.lower(x, &mut scratch.lowered);
                    let (result, width) = (&mut scratch.matrix, block.width());
                    result.clear();
                    match bias {
                        Some(b) => b.iter().for_each(|b| result.resize(result.len() + width, *b)),
                        None => result.resize(g.filters * width, T::zero()),
                    }
                    for di in 0..g.kernel[0] {
                        let taps = block.tap_view(&scratch.lowered, di);
                        add_product(rows_mut(result, g.filters, width), weight.tap(di), taps);
                    }
                    block.scatter(result, y);
                }
            });
    }
}

struct InputVjp {
    geometry: Geometry,
    batch: usize,
}

impl Kernel for InputVjp {
    const NAME: &'static str = "conv2d_input_vjp";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (self.batch, g.channels, g.input[0], g.input[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (g, blocks) = (self.geometry, Blocks::new(self.geometry));
        let weight = TapWeights::new(inputs[1], &g);
        (out.par_chunks_mut(blocks.images * g.input_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.output_len()))
            .for_each_init(Scratch::new, |scratch, (dx, dy)| {
                for block in blocks.of_images(dy.len() / g.output_len()) {
                    block.gather(dy, &mut scratch.matrix);
                    let cotangents = rows(&scratch.matrix, g.filters, block.width());
                    scratch.lowered.clear();
                    let size = block.phases() * block.taps() * block.columns();
                    scratch.lowered.resize(size, T::zero());
                    for di in 0..g.kernel[0] {
                        let taps = block.tap_view_mut(&mut scratch.lowered, di);
                        add_product(taps, weight.tap(di).transpose(), cotangents);
                    }
                    block.raise(&scratch.lowered, dx);
                }
            });
    }
}

struct WeightVjp {
    geometry: Geometry,
}

impl WeightVjp {
    /// The weight cotangents of filters `first..first + count`, (count, C, k, k), summed over the
    /// given images and added to `dw`.
    fn add<T: Real>(&self, x: &[T], dy: &[T], [first, count]: [usize; 2], dw: &mut [T]) {
        let (g, blocks) = (self.geometry, Blocks::new(self.geometry));
        let mut scratch = Scratch::new();
        let [kh, kw] = g.kernel;
        let taps = g.channels * kw;
        let mut sums = vec![T::zero(); dw.len()];
        let images = x.chunks(blocks.images * g.input_len());
        for (x, dy) in images.zip(dy.chunks(blocks.images * g.output_len())) {
            for block in blocks.of_images(x.len() / g.input_len()) {
                block.lower(x, &mut scratch.lowered);
                let cotangents = if block.images == 1 {
                    block.of_output(dy)
                } else {
                    block.gather(dy, &mut scratch.matrix);
                    rows(&scratch.matrix, g.filters, block.width())
                };
                for (di, sum) in sums.chunks_exact_mut(count * taps).enumerate() {
                    let view = block.tap_view(&scratch.lowered, di).transpose();
                    let part = cotangents.subrows(first, count);
                    add_product(rows_mut(sum, count, taps), part, view);
                }
            }
        }
        for (at, kernel) in dw.chunks_exact_mut(kh * kw).enumerate() {
            for (di, target) in kernel.chunks_exact_mut(kw).enumerate() {
                let from = di * count * taps + at * kw;
                target.iter_mut().zip(&sums[from..from + kw]).for_each(|(t, v)| *t += *v);
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
                self.add(x, dy, [0, g.filters], &mut sum);
                sum
            })
            .collect();
        for sum in partial {
            for (total, part) in dw.iter_mut().zip(sum) {
                *total += part;
            }
        }
    }

    /// Tasks of some filters each, over all examples.
    fn by_filters<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let g = &self.geometry;
        dw.par_chunks_mut(TASK_FILTERS * g.patch()).enumerate().for_each(|(task, part)| {
            self.add(x, dy, [task * TASK_FILTERS, part.len() / g.patch()], part);
        });
    }
}

impl Kernel for WeightVjp {
    const NAME: &'static str = "conv2d_weight_vjp";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (g.filters, g.channels, g.kernel[0], g.kernel[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        if out.len() <= SMALL_WEIGHT {
            self.by_examples(inputs[0], inputs[1], out);
        } else {
            self.by_filters(inputs[0], inputs[1], out);
        }
    }
}

struct WeightRows {
    geometry: Geometry,
    batch: usize,
}

impl Kernel for WeightRows {
    const NAME: &'static str = "conv2d_weight_rows";

    fn output(&self) -> Shape {
        (self.batch, self.geometry.filters * self.geometry.patch()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let g = &self.geometry;
        let vjp = WeightVjp { geometry: *g };
        (out.par_chunks_mut(g.filters * g.patch()))
            .zip(inputs[0].par_chunks(g.input_len()))
            .zip(inputs[1].par_chunks(g.output_len()))
            .for_each_init(Vec::new, |patches, ((row, x), dy)| {
                if g.output_pixels() > FEW_PIXELS {
                    return vjp.add(x, dy, [0, g.filters], row);
                }
                g.patches(x, patches);
                let patches = rows(patches, g.patch(), g.output_pixels()).transpose();
                let cotangents = rows(dy, g.filters, g.output_pixels());
                add_product(rows_mut(row, g.filters, g.patch()), cotangents, patches);
            });
    }
}

/// `y = w * x (+ b)`: x (N, C, H, W), w (C', C, k, k), b (C').
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
) -> Result<Tensor> {
    let kernel = Forward { geometry, batch: x.dim(0)? };
    match bias {
        Some(bias) => apply(kernel, &[x, weight, bias]),
        None => apply(kernel, &[x, weight]),
    }
}

/// Cotangent of the input from the cotangent dy (N, C', H', W') of the output.
pub(crate) fn input_vjp(dy: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    apply(InputVjp { geometry, batch: dy.dim(0)? }, &[dy, weight])
}

/// Gradient of the weight summed over the batch, (C', C, k, k).
pub(crate) fn weight_vjp(x: &Tensor, dy: &Tensor, geometry: Geometry) -> Result<Tensor> {
    apply(WeightVjp { geometry }, &[x, dy])
}

/// Gradient of the weight per example, (N, C' C k k).
pub(crate) fn weight_rows(x: &Tensor, dy: &Tensor, geometry: Geometry) -> Result<Tensor> {
    apply(WeightRows { geometry, batch: x.dim(0)? }, &[x, dy])
}
