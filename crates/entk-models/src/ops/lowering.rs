//! Images lowered by rows, cut into blocks: what the products of a convolution see.
//!
//! Only the horizontal taps are unrolled: row (c, dj) of the lowered image holds channel c read
//! at horizontal tap dj, for every input row. The vertical tap di is then a shift by whole rows,
//! so that y = sum_di W_di L[shifted by di], one product a vertical tap, and the lowered image is
//! k times the input instead of k k. With a vertical stride s, input rows are kept in s phases.
//!
//! A *block* is what one product sees: some output rows of one large image, or several small
//! images side by side, each followed by the few rows that only its last taps read. Those gap
//! columns hold numbers that nobody reads.

use faer::{MatMut, MatRef};

use super::{
    geometry::Geometry,
    matmul::{rows, rows_mut},
    real::Real,
};

/// Output pixels that a block of small images aims at.
const BLOCK_PIXELS: usize = 256;
/// Numbers in the lowered image of one block: half a second-level cache in f32.
const BLOCK_NUMBERS: usize = 1 << 17;
/// How a batch is cut into blocks.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    geometry: Geometry,
    /// Input channels from one image to the next: all of them, also where some are lowered.
    stack: usize,
    /// Images side by side in one block.
    pub(crate) images: usize,
    /// Output rows of one block.
    rows: usize,
}

impl Blocks {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let [height, width] = geometry.output;
        let images = (BLOCK_PIXELS / geometry.output_pixels()).max(1);
        let numbers_per_row = geometry.channels * geometry.kernel[1] * width;
        let rows = if images > 1 { height } else { BLOCK_NUMBERS / numbers_per_row };
        Self { geometry, stack: geometry.channels, images, rows: rows.clamp(1, height) }
    }

    /// For images of more channels, of which the geometry has some.
    pub(crate) fn of_stack(self, stack: usize) -> Self {
        Self { stack, ..self }
    }

    /// The blocks of one run of images, `count` of them.
    pub(crate) fn of_images(self, count: usize) -> impl Iterator<Item = Block> {
        let height = self.geometry.output[0];
        (0..height).step_by(self.rows).map(move |from| Block {
            geometry: self.geometry,
            stack: self.stack,
            images: count,
            from,
            height: self.rows.min(height - from),
        })
    }
}

/// Output rows `from..from + height` of `images` consecutive images.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    geometry: Geometry,
    stack: usize,
    pub(crate) images: usize,
    from: usize,
    height: usize,
}

impl Block {
    /// Rows (c, dj) of the lowered image.
    pub(crate) fn taps(self) -> usize {
        self.geometry.channels * self.geometry.kernel[1]
    }

    /// Input rows of one phase per image.
    pub(crate) fn lowered_rows(self) -> usize {
        self.height + self.geometry.kernel[0].div_ceil(self.geometry.stride[0]) - 1
    }

    /// Columns from one image to the next.
    pub(crate) fn pitch(self) -> usize {
        self.lowered_rows() * self.geometry.output[1]
    }

    /// Columns of one phase of the lowered image.
    pub(crate) fn columns(self) -> usize {
        self.images * self.pitch()
    }

    /// Output pixels of one image.
    pub(crate) fn pixels(self) -> usize {
        self.height * self.geometry.output[1]
    }

    /// Output columns, gaps included.
    pub(crate) fn width(self) -> usize {
        (self.images - 1) * self.pitch() + self.pixels()
    }

    pub(crate) fn phases(self) -> usize {
        self.geometry.stride[0].min(self.geometry.kernel[0])
    }

    /// Phase and column shift of a vertical tap.
    pub(crate) fn shift(self, di: usize) -> (usize, usize) {
        let stride = self.geometry.stride[0];
        (di % stride, di / stride * self.geometry.output[1])
    }

    /// Calls `visit(input row in the image stack, channel tap, start of its columns)` for every
    /// lowered row; the input row is `None` where padding is read.
    pub(crate) fn for_each_row(self, mut visit: impl FnMut(Option<usize>, usize, usize)) {
        let g = self.geometry;
        let size = self.taps() * self.columns();
        for phase in 0..self.phases() {
            for tap in 0..self.taps() {
                for image in 0..self.images {
                    let plane = image * self.stack + tap / g.kernel[1];
                    for q in 0..self.lowered_rows() {
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
    pub(crate) fn lower<T: Real>(self, images: &[T], lowered: &mut Vec<T>) {
        let g = self.geometry;
        lowered.resize(self.phases() * self.taps() * self.columns(), T::zero());
        self.for_each_row(|row, tap, at| {
            let target = &mut lowered[at..at + g.output[1]];
            let dj = tap % g.kernel[1];
            match row.zip(g.columns_inside(dj)) {
                None => target.fill(T::zero()),
                Some((row, (first, last))) => {
                    let x = row * g.input[1] + first * g.stride[1] + dj - g.before[1];
                    target[..first].fill(T::zero());
                    target[last..].fill(T::zero());
                    let target = &mut target[first..last];
                    if g.stride[1] == 1 {
                        target.copy_from_slice(&images[x..x + target.len()]);
                    } else {
                        let source = images[x..].iter().step_by(g.stride[1]);
                        target.iter_mut().zip(source).for_each(|(t, v)| *t = *v);
                    }
                }
            }
        });
    }

    /// The adjoint of [`lower`](Self::lower): adds every entry to the pixel it was read from.
    pub(crate) fn raise<T: Real>(self, lowered: &[T], images: &mut [T]) {
        let g = self.geometry;
        self.for_each_row(|row, tap, at| {
            let dj = tap % g.kernel[1];
            if let Some((row, (first, last))) = row.zip(g.columns_inside(dj)) {
                let x = row * g.input[1] + first * g.stride[1] + dj - g.before[1];
                let source = &lowered[at + first..at + last];
                if g.stride[1] == 1 {
                    let target = &mut images[x..x + source.len()];
                    target.iter_mut().zip(source).for_each(|(t, v)| *t += *v);
                } else {
                    let target = images[x..].iter_mut().step_by(g.stride[1]);
                    target.zip(source).for_each(|(t, v)| *t += *v);
                }
            }
        });
    }

    /// The part of the lowered image that vertical tap `di` reads, (taps, width).
    pub(crate) fn tap_view<T>(self, lowered: &[T], di: usize) -> MatRef<'_, T> {
        let (phase, shift) = self.shift(di);
        let size = self.taps() * self.columns();
        let part = rows(&lowered[phase * size..(phase + 1) * size], self.taps(), self.columns());
        part.subcols(shift, self.width())
    }

    /// As [`tap_view`](Self::tap_view), to write to.
    pub(crate) fn tap_view_mut<T>(self, lowered: &mut [T], di: usize) -> MatMut<'_, T> {
        let (phase, shift) = self.shift(di);
        let size = self.taps() * self.columns();
        let part = &mut lowered[phase * size..(phase + 1) * size];
        rows_mut(part, self.taps(), self.columns()).subcols_mut(shift, self.width())
    }

    /// The columns of this block in one output image, (filters, pixels).
    pub(crate) fn of_output<T>(self, image: &[T]) -> MatRef<'_, T> {
        let g = self.geometry;
        let start = self.from * g.output[1];
        rows(image, g.filters, g.output_pixels()).subcols(start, self.pixels())
    }

    /// Output images side by side, (filters, width), zero in the gaps.
    pub(crate) fn gather<T: Real>(self, images: &[T], matrix: &mut Vec<T>) {
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
    pub(crate) fn scatter<T: Real>(self, matrix: &[T], images: &mut [T]) {
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
