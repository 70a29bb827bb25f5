//! Images lowered by rows and cut into blocks, as the products of a convolution read them.
//!
//! Only the horizontal taps are unrolled: row (c, dj) of the lowered image holds channel c read
//! at horizontal tap dj, for every input row. The vertical tap di is then a shift by whole rows,
//! so that y = sum_di W_di L[shifted by di], one product a vertical tap, and the lowered image is
//! k times the input instead of k k. With a vertical stride s, input rows are kept in s phases.
//! A dilation moves the taps apart, and nothing else.
//!
//! One product reads one *block*: some output rows of one large image, or several small images side
//! by side, each followed by the few rows that only its last taps read. Those gap columns hold
//! numbers that nobody reads.

use std::ops::Range;

use entk_device::Geometry;
use faer::{MatMut, MatRef};

use crate::loops::{
    host_op::vectorised,
    matmul::{rows, rows_mut},
    real::Real,
};

/// Output pixels that a block of small images aims at.
const BLOCK_PIXELS: usize = 256;
/// Numbers in the lowered image of one block: half a second-level cache in f32.
const BLOCK_NUMBERS: usize = 1 << 17;
/// How a batch is cut into blocks.
#[derive(Clone, Copy)]
pub(crate) struct ImageBlocks {
    geometry: Geometry,
    /// Input channels from one image to the next: all of them, also where some are lowered.
    stack: usize,
    /// Images side by side in one block.
    pub(crate) images: usize,
    /// Output rows of one block.
    rows: usize,
}

impl ImageBlocks {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let [height, width] = geometry.output;
        let images = (BLOCK_PIXELS / geometry.output_pixels()).max(1);
        let numbers_per_row = geometry.channels * geometry.kernel[1] * width;
        let rows = if images > 1 { height } else { BLOCK_NUMBERS / numbers_per_row };
        Self { geometry, stack: geometry.channels, images, rows: rows.clamp(1, height) }
    }

    /// Blocks of images of which neighbours differ in their filters if there are several groups.
    pub(crate) fn of_groups(geometry: Geometry, groups: usize) -> Self {
        let blocks = Self::new(geometry);
        Self { images: if groups == 1 { blocks.images } else { 1 }, ..blocks }
    }

    /// These blocks for images of `stack` channels, of which the geometry covers a range.
    pub(crate) fn of_stack(self, stack: usize) -> Self {
        Self { stack, ..self }
    }

    /// The blocks of one run of images, `count` of them.
    pub(crate) fn of_images(self, count: usize) -> impl Iterator<Item = ImageBlock> {
        let (geometry, whole) = (self.geometry, self.geometry.output[0]);
        let behind_last = geometry.reach()[0].div_ceil(geometry.stride[0]) - 1;
        (0..whole).step_by(self.rows).map(move |from| {
            let height = self.rows.min(whole - from);
            let lowered_rows = height + behind_last;
            ImageBlock { geometry, stack: self.stack, images: count, from, height, lowered_rows }
        })
    }
}

/// A channel of one image under one horizontal tap.
struct Plane {
    /// Where its first row lies in the image stack.
    from: usize,
    /// Where the lowered rows begin.
    at: usize,
    /// Lowered entries before the first row: padding.
    above: usize,
    /// Entries of all its rows.
    len: usize,
    /// The horizontal tap, and the tap at which a row lies where it was read from.
    shift: [usize; 2],
}

impl Plane {
    /// The range of lowered entries that are read from the channel, and the range that they are
    /// read from. Those that the shift moves into the next row are
    /// [outside](Self::for_each_outside).
    fn overlap(&self) -> (Range<usize>, Range<usize>) {
        let [tap, centre] = self.shift;
        let (right, left) = (centre.saturating_sub(tap), tap.saturating_sub(centre));
        let whole = |from: usize, to: usize| from.min(self.len)..self.len - to.min(self.len);
        (whole(right, left), whole(left, right))
    }

    /// Lowered entries that lie outside the image, in rows of `width`.
    fn for_each_outside(&self, width: usize, mut visit: impl FnMut(usize)) {
        let [tap, centre] = self.shift;
        let outside = if tap < centre {
            0..(centre - tap).min(width)
        } else {
            width - (tap - centre).min(width)..width
        };
        for row in (0..self.len).step_by(width) {
            outside.clone().for_each(|column| visit(row + column));
        }
    }
}

/// Output rows `from..from + height` of `images` consecutive images.
pub(crate) struct ImageBlock {
    geometry: Geometry,
    stack: usize,
    pub(crate) images: usize,
    from: usize,
    height: usize,
    /// Input rows of one phase per image.
    lowered_rows: usize,
}

impl ImageBlock {
    /// Rows (c, dj) of the lowered image.
    pub(crate) fn taps(&self) -> usize {
        self.geometry.channels * self.geometry.kernel[1]
    }

    /// Columns from one image to the next.
    pub(crate) fn pitch(&self) -> usize {
        self.lowered_rows * self.geometry.output[1]
    }

    /// Columns of one phase of the lowered image.
    pub(crate) fn columns(&self) -> usize {
        self.images * self.pitch()
    }

    /// Output pixels of one image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.geometry.output[1]
    }

    /// Output columns, gaps included.
    pub(crate) fn width(&self) -> usize {
        (self.images - 1) * self.pitch() + self.pixels()
    }

    pub(crate) fn phases(&self) -> usize {
        self.geometry.stride[0].min(self.geometry.reach()[0])
    }

    /// Phase and column shift of a vertical tap.
    pub(crate) fn shift(&self, di: usize) -> (usize, usize) {
        let (row, stride) = (di * self.geometry.dilation[0], self.geometry.stride[0]);
        (row % stride, row / stride * self.geometry.output[1])
    }

    /// Calls `visit(input row in the image stack, channel tap, start of its columns)` for every
    /// lowered row; the input row is `None` where padding is read.
    pub(crate) fn for_each_row(&self, mut visit: impl FnMut(Option<usize>, usize, usize)) {
        let g = self.geometry;
        let size = self.taps() * self.columns();
        for phase in 0..self.phases() {
            for tap in 0..self.taps() {
                for image in 0..self.images {
                    let plane = image * self.stack + tap / g.kernel[1];
                    for q in 0..self.lowered_rows {
                        let y = (self.from + q) * g.stride[0] + phase;
                        let inside = y >= g.before[0] && y - g.before[0] < g.input[0];
                        let row = inside.then(|| plane * g.input[0] + y - g.before[0]);
                        let at = phase * size + tap * self.columns();
                        visit(row, tap, at + image * self.pitch() + q * g.output[1]);
                    }
                }
            }
        }
    }

    /// Lowers the images: every entry of `lowered` is written.
    pub(crate) fn lower<T: Real>(&self, images: &[T], lowered: &mut Vec<T>) {
        let g = self.geometry;
        lowered.resize(self.phases() * self.taps() * self.columns(), T::zero());
        if self.shifts_planes() {
            return self.for_each_plane(|plane| {
                let target = &mut lowered[plane.at..plane.at + self.pitch()];
                let (before, rest) = target.split_at_mut(plane.above);
                let (inside, after) = rest.split_at_mut(plane.len);
                before.fill(T::zero());
                after.fill(T::zero());
                let source = &images[plane.from..plane.from + plane.len];
                let (to, from) = plane.overlap();
                inside[to].copy_from_slice(&source[from]);
                plane.for_each_outside(g.output[1], |at| inside[at] = T::zero());
            });
        }
        self.for_each_row(|row, tap, at| {
            let target = &mut lowered[at..at + g.output[1]];
            let dj = tap % g.kernel[1] * g.dilation[1];
            match row.zip(columns_inside(&g, dj)) {
                None => target.fill(T::zero()),
                Some((row, (first, last))) => {
                    let x = row * g.input[1] + first * g.stride[1] + dj - g.before[1];
                    target[..first].fill(T::zero());
                    target[last..].fill(T::zero());
                    let source = images[x..].iter().step_by(g.stride[1]);
                    target[first..last].iter_mut().zip(source).for_each(|(t, v)| *t = *v);
                }
            }
        });
    }

    /// The adjoint of [`lower`](Self::lower): adds every entry to the pixel it was read from.
    /// Entries that were read from no pixel are lost.
    pub(crate) fn raise<T: Real>(&self, lowered: &mut [T], images: &mut [T]) {
        let g = self.geometry;
        if self.shifts_planes() {
            return self.for_each_plane(|plane| {
                let start = plane.at + plane.above;
                let inside = &mut lowered[start..start + plane.len];
                plane.for_each_outside(g.output[1], |at| inside[at] = T::zero());
                let target = &mut images[plane.from..plane.from + plane.len];
                let (to, from) = plane.overlap();
                vectorised(
                    #[inline(always)]
                    || {
                        target[from].iter_mut().zip(&inside[to]).for_each(|(t, v)| *t += *v);
                    },
                );
            });
        }
        self.for_each_row(|row, tap, at| {
            let dj = tap % g.kernel[1] * g.dilation[1];
            if let Some((row, (first, last))) = row.zip(columns_inside(&g, dj)) {
                let x = row * g.input[1] + first * g.stride[1] + dj - g.before[1];
                let target = images[x..].iter_mut().step_by(g.stride[1]);
                target.zip(&lowered[at + first..at + last]).for_each(|(t, v)| *t += *v);
            }
        });
    }

    /// Whether a lowered row is a whole channel, shifted: there is no stride, and output rows are
    /// as long as input rows.
    fn shifts_planes(&self) -> bool {
        let g = self.geometry;
        g.stride == [1, 1] && g.output[1] == g.input[1]
    }

    /// Calls `visit` for every channel tap of every image, where
    /// [`shifts_planes`](Self::shifts_planes).
    fn for_each_plane(&self, mut visit: impl FnMut(Plane)) {
        let (g, width) = (self.geometry, self.geometry.input[1]);
        // The input rows that this block reads, of which the first and last may be padding.
        let end = self.from + self.lowered_rows;
        let first = self.from.max(g.before[0]).min(end);
        let rows = end.min(g.input[0] + g.before[0]).saturating_sub(first);
        // A block in the padding reads nothing, from no row.
        let row = if rows == 0 { 0 } else { first - g.before[0] };
        for tap in 0..self.taps() {
            for image in 0..self.images {
                let channel = image * self.stack + tap / g.kernel[1];
                visit(Plane {
                    from: (channel * g.input[0] + row) * width,
                    at: tap * self.columns() + image * self.pitch(),
                    above: (first - self.from) * width,
                    len: rows * width,
                    shift: [tap % g.kernel[1] * g.dilation[1], g.before[1]],
                });
            }
        }
    }

    /// The part of the lowered image that vertical tap `di` reads, (taps, width).
    pub(crate) fn tap_view<'a, T>(&self, lowered: &'a [T], di: usize) -> MatRef<'a, T> {
        let (phase, shift) = self.shift(di);
        let size = self.taps() * self.columns();
        let part = rows(&lowered[phase * size..(phase + 1) * size], self.taps(), self.columns());
        part.subcols(shift, self.width())
    }

    /// As [`tap_view`](Self::tap_view), to write to.
    pub(crate) fn tap_view_mut<'a, T>(&self, lowered: &'a mut [T], di: usize) -> MatMut<'a, T> {
        let (phase, shift) = self.shift(di);
        let size = self.taps() * self.columns();
        let part = &mut lowered[phase * size..(phase + 1) * size];
        rows_mut(part, self.taps(), self.columns()).subcols_mut(shift, self.width())
    }

    /// The columns of this block in one image of the output's size, (channels, pixels).
    pub(crate) fn of_image<'a, T>(&self, image: &'a [T], channels: usize) -> MatRef<'a, T> {
        let g = self.geometry;
        let start = self.from * g.output[1];
        rows(image, channels, g.output_pixels()).subcols(start, self.pixels())
    }

    /// As [`of_image`](Self::of_image), to write to.
    pub(crate) fn of_image_mut<'a, T>(&self, image: &'a mut [T], channels: usize) -> MatMut<'a, T> {
        let g = self.geometry;
        let start = self.from * g.output[1];
        rows_mut(image, channels, g.output_pixels()).subcols_mut(start, self.pixels())
    }

    /// Whether the lowered image is the image itself: one of them, read by one tap, pixel by pixel.
    pub(crate) fn is_image(&self) -> bool {
        let g = self.geometry;
        let one_tap = g.kernel == [1, 1] && g.stride == [1, 1] && g.before == [0, 0];
        self.images == 1 && one_tap && g.input == g.output
    }

    /// Output images side by side, (filters, width), zero in the gaps.
    pub(crate) fn gather<T: Real>(&self, images: &[T], matrix: &mut Vec<T>) {
        let g = self.geometry;
        matrix.clear();
        matrix.resize(g.filters * self.width(), T::zero());
        for (i, image) in images.chunks_exact(g.output_len()).enumerate() {
            for filter in 0..g.filters {
                let to = filter * self.width() + i * self.pitch();
                let from = filter * g.output_pixels() + self.from * g.output[1];
                let source = &image[from..from + self.pixels()];
                matrix[to..to + self.pixels()].copy_from_slice(source);
            }
        }
    }

    /// The reverse of [`gather`](Self::gather).
    pub(crate) fn scatter<T: Real>(&self, matrix: &[T], images: &mut [T]) {
        let g = self.geometry;
        for (i, image) in images.chunks_exact_mut(g.output_len()).enumerate() {
            for filter in 0..g.filters {
                let from = filter * self.width() + i * self.pitch();
                let to = filter * g.output_pixels() + self.from * g.output[1];
                let source = &matrix[from..from + self.pixels()];
                image[to..to + self.pixels()].copy_from_slice(source);
            }
        }
    }
}

/// The output columns `first..last` whose tap, `dj` columns right of the first, is inside the
/// image.
pub(super) fn columns_inside(g: &Geometry, dj: usize) -> Option<(usize, usize)> {
    let [pad, stride, width] = [g.before[1], g.stride[1], g.input[1]];
    let first = pad.saturating_sub(dj).div_ceil(stride);
    let last = (width + pad).saturating_sub(dj).div_ceil(stride).min(g.output[1]);
    (first < last).then_some((first, last))
}
