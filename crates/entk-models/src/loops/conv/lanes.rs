//! Depthwise convolutions of small images, as many channels side by side as a vector has numbers:
//! rows of a few pixels would fill no vector by themselves. Blocks of planes go in, the same of
//! results come out. Called by [`super::grouped`].

use entk_device::Geometry;

use crate::loops::{host_op::vectorised, real::Real};

/// Planes side by side: a vector of f32, two of f64.
pub(super) const LANES: usize = 8;
/// Pixels of the largest padded image: larger ones have rows that fill vectors.
const SMALL: usize = 384;

/// Where the pixels of a padded image are that outputs and taps read.
#[derive(Debug)]
pub(super) struct LaneConv {
    g: Geometry,
    /// Numbers of a padded row, and of a padded image.
    pitch: usize,
    len: usize,
    /// The first pixel that each output reads, and how far from it each tap is.
    outputs: Vec<usize>,
    taps: Vec<usize>,
}

/// Scratch memory of one task.
#[derive(Debug)]
pub(super) struct LaneScratch<T> {
    image: Vec<[T; LANES]>,
    outputs: Vec<[T; LANES]>,
    weights: Vec<[T; LANES]>,
}

impl<T> LaneScratch<T> {
    pub(super) fn new() -> Self {
        Self { image: Vec::new(), outputs: Vec::new(), weights: Vec::new() }
    }
}

impl LaneConv {
    /// None for other convolutions and for larger images.
    pub(super) fn new(g: Geometry) -> Option<Self> {
        let [height, pitch] = [0, 1].map(|axis| {
            let read = (g.output[axis] - 1) * g.stride[axis] + g.reach()[axis];
            read.max(g.before[axis] + g.input[axis])
        });
        let at =
            |[down, right]: [usize; 2], step: [usize; 2]| down * step[0] * pitch + right * step[1];
        let all = |[rows, columns]: [usize; 2], step| {
            (0..rows * columns).map(|i| at([i / columns, i % columns], step)).collect()
        };
        let is_small = height * pitch <= SMALL && g.channels * g.filters == 1;
        is_small.then(|| Self {
            pitch,
            len: height * pitch,
            outputs: all(g.output, g.stride),
            taps: all(g.kernel, g.dilation),
            g,
        })
    }

    /// The place of each pixel in a padded image, in order.
    fn pixels(&self) -> impl Iterator<Item = usize> {
        let [height, width] = self.g.input;
        let first = self.g.before[0] * self.pitch + self.g.before[1];
        let (from, to) = (0..height, move |row: usize| first + row * self.pitch);
        from.flat_map(move |row| to(row)..to(row) + width)
    }

    fn pad<T: Real>(&self, planes: &[T], image: &mut Vec<[T; LANES]>) {
        image.clear();
        image.resize(self.len, [T::zero(); LANES]);
        for (lane, plane) in planes.chunks_exact(self.g.input_pixels()).enumerate() {
            self.pixels().zip(plane).for_each(|(at, x)| image[at][lane] = *x);
        }
    }

    /// The planes of results for one plane each; `weights(lane)` are the taps of a lane, `starts`
    /// the biases.
    pub(super) fn value<'w, T: Real>(
        &self,
        planes: &[T],
        weights: impl Fn(usize) -> &'w [T],
        starts: [T; LANES],
        out: &mut [T],
        LaneScratch { image, outputs, weights: taps }: &mut LaneScratch<T>,
    ) {
        let pixels = self.g.output_pixels();
        self.pad(planes, image);
        side_by_side((0..out.len() / pixels).map(weights), self.taps.len(), taps);
        outputs.resize(pixels, starts);
        vectorised(
            #[inline(always)]
            || {
                for (output, from) in outputs.iter_mut().zip(&self.outputs) {
                    *output = starts;
                    for (shift, weight) in self.taps.iter().zip(&*taps) {
                        add_product(output, weight, &image[from + shift]);
                    }
                }
            },
        );
        for (lane, plane) in out.chunks_exact_mut(pixels).enumerate() {
            plane.iter_mut().zip(&*outputs).for_each(|(y, output)| *y = output[lane]);
        }
    }

    /// The cotangents of images, from those of their results.
    pub(super) fn input_vjp<'w, T: Real>(
        &self,
        cotangents: &[T],
        weights: impl Fn(usize) -> &'w [T],
        out: &mut [T],
        LaneScratch { image, outputs, weights: taps }: &mut LaneScratch<T>,
    ) {
        let (pixels, from) = (self.g.input_pixels(), self.g.output_pixels());
        image.clear();
        image.resize(self.len, [T::zero(); LANES]);
        side_by_side((0..out.len() / pixels).map(weights), self.taps.len(), taps);
        side_by_side(cotangents.chunks_exact(from), from, outputs);
        vectorised(
            #[inline(always)]
            || {
                for (output, to) in outputs.iter().zip(&self.outputs) {
                    for (shift, weight) in self.taps.iter().zip(&*taps) {
                        add_product(&mut image[to + shift], weight, output);
                    }
                }
            },
        );
        for (lane, plane) in out.chunks_exact_mut(pixels).enumerate() {
            plane.iter_mut().zip(self.pixels()).for_each(|(x, at)| *x = image[at][lane]);
        }
    }

    /// The gradients of the taps of every plane.
    pub(super) fn weight_vjp<T: Real>(
        &self,
        planes: &[T],
        cotangents: &[T],
        out: &mut [T],
        LaneScratch { image, outputs, weights }: &mut LaneScratch<T>,
    ) {
        let from = self.g.output_pixels();
        self.pad(planes, image);
        side_by_side(cotangents.chunks_exact(from), from, outputs);
        weights.resize(self.taps.len(), [T::zero(); LANES]);
        vectorised(
            #[inline(always)]
            || {
                for (shift, weight) in self.taps.iter().zip(&mut *weights) {
                    let mut sum = [T::zero(); LANES];
                    for (from, output) in self.outputs.iter().zip(&*outputs) {
                        add_product(&mut sum, output, &image[from + shift]);
                    }
                    *weight = sum;
                }
            },
        );
        for (lane, taps) in out.chunks_exact_mut(self.taps.len()).enumerate() {
            taps.iter_mut().zip(&*weights).for_each(|(tap, weight)| *tap = weight[lane]);
        }
    }
}

/// Rows of `len` numbers as columns.
fn side_by_side<'r, T: Real>(
    rows: impl Iterator<Item = &'r [T]>,
    len: usize,
    columns: &mut Vec<[T; LANES]>,
) {
    columns.resize(len, [T::zero(); LANES]);
    for (lane, row) in rows.enumerate() {
        columns.iter_mut().zip(row).for_each(|(column, x)| column[lane] = *x);
    }
}

/// `sum += a b`, lane by lane.
#[inline(always)]
fn add_product<T: Real>(sum: &mut [T; LANES], a: &[T; LANES], b: &[T; LANES]) {
    for lane in 0..LANES {
        sum[lane] += a[lane] * b[lane];
    }
}
