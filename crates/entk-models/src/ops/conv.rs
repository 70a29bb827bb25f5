//! Convolution and its derivatives as im2col and matrix products.
//!
//! A *block* is a run of output pixels for which one patch matrix fits the second-level cache:
//! some rows of one large image, or several small images side by side.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    geometry::Geometry,
    kernel::{Kernel, apply},
    matmul::{add_product, rows, rows_mut},
    real::Real,
};
use crate::error::Result;

/// Output pixels that a block aims at.
const BLOCK_PIXELS: usize = 256;
/// Weights up to this size are summed over the batch by tasks of whole examples.
const SMALL_WEIGHT: usize = 1 << 15;
/// Number of example tasks for small weights; fixed, so that bits do not depend on the threads.
const EXAMPLE_TASKS: usize = 8;
/// Filters of one task for large weights.
const TASK_FILTERS: usize = 64;

/// How a batch is cut into blocks.
#[derive(Clone, Copy)]
struct Blocks {
    geometry: Geometry,
    /// Images side by side in one block.
    images: usize,
    /// Output rows of one block.
    rows: usize,
}

impl Blocks {
    fn new(geometry: Geometry) -> Self {
        let [height, width] = geometry.output;
        let images = (BLOCK_PIXELS / geometry.output_pixels()).max(1);
        let rows = (BLOCK_PIXELS / width).clamp(1, height);
        Self { geometry, images, rows }
    }

    /// The row ranges of one image.
    fn row_ranges(self) -> impl Iterator<Item = [usize; 2]> {
        let height = self.geometry.output[0];
        (0..height).step_by(self.rows).map(move |r| [r, (r + self.rows).min(height)])
    }

    /// Pixels per image in the row range.
    fn pixels(self, [from, to]: [usize; 2]) -> usize {
        (to - from) * self.geometry.output[1]
    }

    /// Patches of `images` (consecutive input images) as a (patch, images * pixels) matrix.
    fn patches<T: Real>(self, images: &[T], range: [usize; 2], columns: &mut Vec<T>) -> usize {
        let g = &self.geometry;
        let (count, pixels) = (images.len() / g.input_len(), self.pixels(range));
        columns.clear();
        columns.resize(g.patch() * count * pixels, T::zero());
        for (i, image) in images.chunks_exact(g.input_len()).enumerate() {
            g.im2col(image, range, columns, count * pixels, i * pixels);
        }
        count * pixels
    }

    /// The outputs (or cotangents) of `images` at the row range, filter by pixel, side by side.
    fn gather<T: Real>(self, images: &[T], range: [usize; 2], matrix: &mut Vec<T>) {
        let g = &self.geometry;
        let (area, pixels) = (g.output_pixels(), self.pixels(range));
        let start = range[0] * g.output[1];
        matrix.clear();
        for filter in 0..g.filters {
            for image in images.chunks_exact(g.output_len()) {
                let at = filter * area + start;
                matrix.extend_from_slice(&image[at..at + pixels]);
            }
        }
    }

    /// The reverse of [`gather`](Self::gather).
    fn scatter<T: Real>(self, matrix: &[T], range: [usize; 2], images: &mut [T]) {
        let g = &self.geometry;
        let (area, pixels) = (g.output_pixels(), self.pixels(range));
        let (start, count) = (range[0] * g.output[1], images.len() / g.output_len());
        for (i, image) in images.chunks_exact_mut(g.output_len()).enumerate() {
            for filter in 0..g.filters {
                let (to, from) = (filter * area + start, (filter * count + i) * pixels);
                image[to..to + pixels].copy_from_slice(&matrix[from..from + pixels]);
            }
        }
    }
}

/// Scratch memory of one task.
struct Scratch<T> {
    columns: Vec<T>,
    matrix: Vec<T>,
}

impl<T> Scratch<T> {
    fn new() -> Self {
        Self { columns: Vec::new(), matrix: Vec::new() }
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
        let weight = rows(inputs[1], g.filters, g.patch());
        let bias = inputs.get(2);
        (out.par_chunks_mut(blocks.images * g.output_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.input_len()))
            .for_each_init(Scratch::new, |scratch, (y, x)| {
                for range in blocks.row_ranges() {
                    let width = blocks.patches(x, range, &mut scratch.columns);
                    let result = &mut scratch.matrix;
                    result.clear();
                    match bias {
                        Some(b) => b.iter().for_each(|b| result.resize(result.len() + width, *b)),
                        None => result.resize(g.filters * width, T::zero()),
                    }
                    let columns = rows(&scratch.columns, g.patch(), width);
                    add_product(rows_mut(result, g.filters, width), weight, columns);
                    blocks.scatter(result, range, y);
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
        let weight = rows(inputs[1], g.filters, g.patch()).transpose();
        (out.par_chunks_mut(blocks.images * g.input_len()))
            .zip(inputs[0].par_chunks(blocks.images * g.output_len()))
            .for_each_init(Scratch::new, |scratch, (dx, dy)| {
                for range in blocks.row_ranges() {
                    blocks.gather(dy, range, &mut scratch.matrix);
                    let (pixels, count) = (blocks.pixels(range), dy.len() / g.output_len());
                    let width = count * pixels;
                    scratch.columns.clear();
                    scratch.columns.resize(g.patch() * width, T::zero());
                    let columns = rows_mut(&mut scratch.columns, g.patch(), width);
                    add_product(columns, weight, rows(&scratch.matrix, g.filters, width));
                    for (i, image) in dx.chunks_exact_mut(g.input_len()).enumerate() {
                        g.col2im(&scratch.columns, range, image, width, i * pixels);
                    }
                }
            });
    }
}

struct WeightVjp {
    geometry: Geometry,
}

impl WeightVjp {
    /// Adds the weight cotangents of `filters` summed over the given images to `dw`.
    fn add<T: Real>(&self, x: &[T], dy: &[T], filters: [usize; 2], dw: &mut [T]) {
        let (g, blocks) = (self.geometry, Blocks::new(self.geometry));
        let mut scratch = Scratch::new();
        let count = filters[1] - filters[0];
        let images = x.chunks(blocks.images * g.input_len());
        for (x, dy) in images.zip(dy.chunks(blocks.images * g.output_len())) {
            for range in blocks.row_ranges() {
                let width = blocks.patches(x, range, &mut scratch.columns);
                blocks.gather(dy, range, &mut scratch.matrix);
                let cotangents = rows(&scratch.matrix, g.filters, width).subrows(filters[0], count);
                let patches = rows(&scratch.columns, g.patch(), width).transpose();
                add_product(rows_mut(dw, count, g.patch()), cotangents, patches);
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
            let first = task * TASK_FILTERS;
            self.add(x, dy, [first, first + part.len() / g.patch()], part);
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
            .for_each(|((row, x), dy)| vjp.add(x, dy, [0, g.filters], row));
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
