//! Convolutions of few channels as weighted sums of shifted copies of a padded image, without a
//! product of matrices: what depthwise convolutions are. Called by [`super::grouped`].
//!
//! A padded image is laid out so that every tap is one shift, whatever stride and dilation: rows
//! and columns are kept in as many phases as the stride has pixels, and the zeros to the right of a
//! row are those to the left of the next. The value is then `y[q] = sum_t w_t image[q + shift_t]`
//! over a whole plane, in which the numbers between two rows are read by nobody. Its derivatives
//! are sums of the same kind.

use std::ops::Range;

use entk_device::Geometry;

use crate::loops::{host_op::vectorised, real::Real};

/// Neighbouring sums that are formed at a time, in registers.
const BLOCK: usize = 32;

/// Where the pixels of a padded image and the taps of a convolution are in memory.
#[derive(Debug, Clone)]
pub(super) struct DirectConv {
    g: Geometry,
    /// Phases of rows and of columns.
    phases: [usize; 2],
    /// Numbers from one row of a phase to the next.
    pitch: usize,
    /// Rows of one phase.
    rows: usize,
    /// Phase of each tap (di, dj), and its shift within it.
    places: Vec<(usize, usize)>,
    /// The largest of these shifts.
    farthest: usize,
    /// Shifts of all taps (c, di, dj) in a padded image.
    shifts: Vec<usize>,
}

/// Scratch memory of one task.
#[derive(Debug)]
pub(super) struct DirectScratch<T> {
    image: Vec<T>,
    cotangents: Vec<T>,
    sums: Vec<T>,
    taps: Vec<(usize, T)>,
}

impl<T> DirectScratch<T> {
    pub(super) fn new() -> Self {
        Self { image: Vec::new(), cotangents: Vec::new(), sums: Vec::new(), taps: Vec::new() }
    }
}

/// The pixels of one phase on one axis: from the entry `at` on they are `first`, `first + stride`
/// and so on, `count` of them.
struct Run {
    at: usize,
    first: usize,
    count: usize,
}

impl DirectConv {
    pub(super) fn new(g: Geometry) -> Self {
        let reach = g.reach();
        let phases = [0, 1].map(|axis| g.stride[axis].min(reach[axis]));
        // Entries of the longest output row and its taps; those before the first pixel are zero.
        let entries = g.output[1] + (reach[1] - 1) / g.stride[1];
        let zeros = g.before[1] / g.stride[1];
        let pixels = (g.input[1] + g.before[1]).div_ceil(g.stride[1]);
        let pitch = pixels.min(entries).max(entries.saturating_sub(zeros)).max(g.output[1]);
        let rows = g.output[0] + (reach[0] - 1) / g.stride[0];
        let mut conv =
            Self { g, phases, pitch, rows, places: Vec::new(), farthest: 0, shifts: Vec::new() };
        conv.places = (0..g.taps()).map(|tap| conv.place(tap)).collect();
        conv.farthest = conv.places.iter().map(|(_, shift)| *shift).max().unwrap_or(0);
        conv.shifts = (0..g.patch()).map(|tap| conv.shift(tap)).collect();
        conv
    }

    /// Numbers of one phase.
    fn phase_len(&self) -> usize {
        self.rows * self.pitch
    }

    /// Numbers of a padded image, without those behind it that are read for nobody.
    fn image_len(&self) -> usize {
        self.g.channels * self.phases[0] * self.phases[1] * self.phase_len()
    }

    /// Numbers of an output plane with gaps between its rows, in whole blocks.
    fn plane_len(&self) -> usize {
        let [height, width] = self.g.output;
        ((height - 1) * self.pitch + width).next_multiple_of(BLOCK)
    }

    /// Phase and shift within it of a vertical and a horizontal tap.
    fn place(&self, tap: usize) -> (usize, usize) {
        let (g, taps) = (&self.g, [tap / self.g.kernel[1], tap % self.g.kernel[1]]);
        let [down, right] = [0, 1].map(|axis| taps[axis] * g.dilation[axis]);
        let phase = down % g.stride[0] * self.phases[1] + right % g.stride[1];
        (phase, down / g.stride[0] * self.pitch + right / g.stride[1])
    }

    fn shift(&self, tap: usize) -> usize {
        let (phase, shift) = self.places[tap % self.g.taps()];
        let channel = tap / self.g.taps() * self.phases[0] * self.phases[1];
        (channel + phase) * self.phase_len() + shift
    }

    /// The pixels of a phase that are inside the image.
    fn run(&self, axis: usize, phase: usize) -> Run {
        let (stride, before, size) = (self.g.stride[axis], self.g.before[axis], self.g.input[axis]);
        let entries = [self.rows, self.pitch][axis];
        let at = before.saturating_sub(phase).div_ceil(stride);
        let end = (size + before).saturating_sub(phase).div_ceil(stride).min(entries);
        Run { at, first: at * stride + phase - before, count: end.saturating_sub(at) }
    }

    /// Calls `visit(numbers of a padded image, first pixel of the image)` for every row of every
    /// phase inside the image; pixels follow each other at the horizontal stride.
    fn for_each_row(&self, mut visit: impl FnMut(Range<usize>, usize)) {
        let ([down, right], [height, width]) = (self.phases, self.g.input);
        for phase in 0..self.g.channels * down * right {
            let channel = phase / (down * right);
            let (rows, columns) = (self.run(0, phase / right % down), self.run(1, phase % right));
            let count = if columns.count == 0 { 0 } else { rows.count };
            for row in 0..count {
                let at = phase * self.phase_len() + (rows.at + row) * self.pitch + columns.at;
                let y = channel * height + rows.first + row * self.g.stride[0];
                visit(at..at + columns.count, y * width + columns.first);
            }
        }
    }

    /// The padded image of an image (C, H, W).
    fn pad<T: Real>(&self, image: &[T], padded: &mut Vec<T>) {
        // Rows have the same places in every image, so what is zero stays zero.
        let len = self.image_len() + self.plane_len() + self.pitch;
        if padded.len() != len {
            padded.clear();
            padded.resize(len, T::zero());
        }
        self.for_each_row(|to, from| {
            let target = &mut padded[to];
            if self.g.stride[1] == 1 {
                target.copy_from_slice(&image[from..from + target.len()]);
            } else {
                let source = image[from..].iter().step_by(self.g.stride[1]);
                target.iter_mut().zip(source).for_each(|(t, v)| *t = *v);
            }
        });
    }

    /// The output planes (C', H', W') of one image for weights (C', C, k k).
    pub(super) fn value<T: Real>(
        &self,
        image: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        out: &mut [T],
        scratch: &mut DirectScratch<T>,
    ) {
        let [_, width] = self.g.output;
        self.pad(image, &mut scratch.image);
        scratch.sums.resize(self.plane_len(), T::zero());
        let planes = out.chunks_exact_mut(self.g.output_pixels());
        for (filter, (plane, weight)) in planes.zip(weight.chunks_exact(self.g.patch())).enumerate()
        {
            scratch.taps.clear();
            scratch.taps.extend(self.shifts.iter().copied().zip(weight.iter().copied()));
            let start = bias.map_or(T::zero(), |bias| bias[filter]);
            let DirectScratch { image, sums, taps, .. } = &mut *scratch;
            vectorised(
                #[inline(always)]
                || shifted_sums(image, taps, start, sums),
            );
            for (row, sums) in plane.chunks_exact_mut(width).zip(sums.chunks(self.pitch)) {
                row.copy_from_slice(&sums[..width]);
            }
        }
    }

    /// Output planes (C', H', W') with zeros between rows, and before and behind each plane as many
    /// as the farthest tap is away.
    fn space_out<T: Real>(&self, planes: &[T], spaced: &mut Vec<T>) {
        let ([_, width], len) = (self.g.output, self.spaced_len());
        if spaced.len() != self.g.filters * len {
            spaced.clear();
            spaced.resize(self.g.filters * len, T::zero());
        }
        let planes = planes.chunks_exact(self.g.output_pixels());
        for (plane, spaced) in planes.zip(spaced.chunks_exact_mut(len)) {
            let rows = spaced[self.farthest..].chunks_mut(self.pitch);
            for (row, spaced) in plane.chunks_exact(width).zip(rows) {
                spaced[..width].copy_from_slice(row);
            }
        }
    }

    fn spaced_len(&self) -> usize {
        self.farthest + self.phase_len().next_multiple_of(BLOCK).max(self.plane_len())
    }

    /// The cotangent (C, H, W) of an image, from those of its output (C', H', W').
    pub(super) fn input_vjp<T: Real>(
        &self,
        cotangents: &[T],
        weight: &[T],
        out: &mut [T],
        scratch: &mut DirectScratch<T>,
    ) {
        self.space_out(cotangents, &mut scratch.cotangents);
        let (phase_len, stride) = (self.phase_len(), self.g.stride[1]);
        let sums_len = phase_len.next_multiple_of(BLOCK);
        scratch.sums.resize(sums_len, T::zero());
        let mut of_phase = usize::MAX;
        self.for_each_row(|from, to| {
            let phase = from.start / phase_len;
            if phase != of_phase {
                of_phase = phase;
                self.taps_of_phase(phase, weight, &mut scratch.taps);
                let DirectScratch { cotangents, sums, taps, .. } = &mut *scratch;
                vectorised(
                    #[inline(always)]
                    || shifted_sums(cotangents, taps, T::zero(), sums),
                );
            }
            let sums = &scratch.sums[from.start - phase * phase_len..from.end - phase * phase_len];
            if stride == 1 {
                out[to..to + sums.len()].copy_from_slice(sums);
            } else {
                out[to..].iter_mut().step_by(stride).zip(sums).for_each(|(t, v)| *t = *v);
            }
        });
    }

    /// The taps that read one phase of one channel, as shifts in the planes that
    /// [`space_out`](Self::space_out) makes.
    fn taps_of_phase<T: Real>(&self, phase: usize, weight: &[T], taps: &mut Vec<(usize, T)>) {
        let phases = self.phases[0] * self.phases[1];
        let (channel, phase) = (phase / phases, phase % phases);
        let (farthest, len, count) = (self.farthest, self.spaced_len(), self.g.taps());
        taps.clear();
        for (filter, weight) in weight.chunks_exact(self.g.patch()).enumerate() {
            let weight = &weight[channel * count..(channel + 1) * count];
            let of_phase = self.places.iter().zip(weight).filter(|((of, _), _)| *of == phase);
            let from = filter * len + farthest;
            taps.extend(of_phase.map(|((_, shift), weight)| (from - shift, *weight)));
        }
    }

    /// The gradient (C', C, k k) of the weights from one image and the cotangents of its output.
    pub(super) fn weight_vjp<T: Real>(
        &self,
        image: &[T],
        cotangents: &[T],
        out: &mut [T],
        scratch: &mut DirectScratch<T>,
    ) {
        self.pad(image, &mut scratch.image);
        self.space_out(cotangents, &mut scratch.cotangents);
        let (image, spaced) = (&scratch.image, &scratch.cotangents);
        let planes = spaced.chunks_exact(self.spaced_len());
        for (row, plane) in out.chunks_exact_mut(self.g.patch()).zip(planes) {
            let plane = &plane[self.farthest..][..self.plane_len()];
            vectorised(
                #[inline(always)]
                || shifted_products(image, &self.shifts, plane, row),
            );
        }
    }
}

/// `sums[q] = start + sum_t w_t values[q + shift_t]`, in the order of the taps.
#[inline(always)]
fn shifted_sums<T: Real>(values: &[T], taps: &[(usize, T)], start: T, sums: &mut [T]) {
    for (block, sums) in sums.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut total = [start; BLOCK];
        for (shift, weight) in taps {
            let from = block * BLOCK + shift;
            let values = &values[from..from + BLOCK];
            for (total, value) in total.iter_mut().zip(values) {
                *total += *weight * *value;
            }
        }
        *sums = total;
    }
}

/// `products[t] = sum_q plane[q] values[q + shift_t]`, as many taps at a time as registers hold.
#[inline(always)]
fn shifted_products<T: Real>(values: &[T], shifts: &[usize], plane: &[T], products: &mut [T]) {
    let (mut shifts, mut products) = (shifts, products);
    while !shifts.is_empty() {
        let count = match shifts.len() {
            9.. => in_lanes::<9, T>(values, shifts, plane, products),
            7.. => in_lanes::<7, T>(values, shifts, plane, products),
            3.. => in_lanes::<3, T>(values, shifts, plane, products),
            _ => in_lanes::<1, T>(values, shifts, plane, products),
        };
        (shifts, products) = (&shifts[count..], &mut products[count..]);
    }
}

/// The first `TAPS` of [`shifted_products`]; a vector of f32, two of f64.
#[inline(always)]
fn in_lanes<const TAPS: usize, T: Real>(
    values: &[T],
    shifts: &[usize],
    plane: &[T],
    products: &mut [T],
) -> usize {
    const LANES: usize = 8;
    let plane = plane.as_chunks::<LANES>().0;
    let taps: [&[[T; LANES]]; TAPS] =
        std::array::from_fn(|tap| &values[shifts[tap]..].as_chunks().0[..plane.len()]);
    let mut sums = [[T::zero(); LANES]; TAPS];
    for (at, d) in plane.iter().enumerate() {
        for (sums, values) in sums.iter_mut().zip(&taps) {
            let values = &values[at];
            for lane in 0..LANES {
                sums[lane] += d[lane] * values[lane];
            }
        }
    }
    for (product, sums) in products.iter_mut().zip(&sums) {
        sums.iter().for_each(|sum| *product += *sum);
    }
    TAPS
}
