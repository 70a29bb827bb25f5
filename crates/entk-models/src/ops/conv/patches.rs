//! Patches of images as rows, and the moves of memory around their products on a GPU. The host's
//! functions are plain loops: there [`lowering`] is faster.

use candle_core::Shape;
use entk_device::{ImageSizes, Launch, PatchSizes};

use crate::ops::{geometry::Geometry, host_op::HostOp, real::Real};

fn sizes(g: &Geometry, batch: usize) -> PatchSizes {
    PatchSizes {
        batch,
        channels: g.channels,
        input: g.input,
        output: g.output,
        kernel: g.kernel,
        stride: g.stride,
        before: g.before,
    }
}

/// Calls `visit(entry of the patches, entry of the images)` for all that belong together.
fn for_each_pair(g: &Geometry, batch: usize, mut visit: impl FnMut(usize, usize)) {
    let ([height, width], [kh, kw]) = (g.input, g.kernel);
    for pixel in 0..batch * g.output_pixels() {
        let (n, at) = (pixel / g.output_pixels(), pixel % g.output_pixels());
        for tap in 0..g.patch() {
            let row = at / g.output[1] * g.stride[0] + tap / kw % kh;
            let column = at % g.output[1] * g.stride[1] + tap % kw;
            let inside = |place: usize, before: usize, size: usize| {
                place.checked_sub(before).filter(|place| *place < size)
            };
            let row = inside(row, g.before[0], height);
            let column = inside(column, g.before[1], width);
            if let (Some(row), Some(column)) = (row, column) {
                let plane = n * g.channels + tap / (kh * kw);
                visit(pixel * g.patch() + tap, (plane * height + row) * width + column);
            }
        }
    }
}

/// (N, C, H, W) to (N, H' W', C k k), zero outside the image.
pub(super) struct Patches {
    pub(super) geometry: Geometry,
    pub(super) batch: usize,
}

impl HostOp for Patches {
    const NAME: &'static str = "patches";

    fn output(&self) -> Shape {
        (self.batch, self.geometry.output_pixels(), self.geometry.patch()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        for_each_pair(&self.geometry, self.batch, |patch, image| out[patch] = inputs[0][image]);
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::patches(&sizes(&self.geometry, self.batch)))
    }
}

/// The transpose of [`Patches`]: every pixel sums the patch entries that it is.
pub(super) struct PatchesTransposed {
    pub(super) geometry: Geometry,
    pub(super) batch: usize,
}

impl HostOp for PatchesTransposed {
    const NAME: &'static str = "patches_transposed";

    fn output(&self) -> Shape {
        let g = &self.geometry;
        (self.batch, g.channels, g.input[0], g.input[1]).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        for_each_pair(&self.geometry, self.batch, |patch, image| out[image] += inputs[0][patch]);
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::patches_transposed(&sizes(&self.geometry, self.batch)))
    }
}

/// (N, rows, columns) to (N, columns, rows).
pub(super) struct Transpose {
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl HostOp for Transpose {
    const NAME: &'static str = "transpose";

    fn output(&self) -> Shape {
        (self.batch, self.columns, self.rows).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (rows, columns) = (self.rows, self.columns);
        let matrices = inputs[0].chunks_exact(rows * columns);
        for (to, from) in out.chunks_exact_mut(rows * columns).zip(matrices) {
            for (at, to) in to.iter_mut().enumerate() {
                *to = from[at % rows * columns + at / rows];
            }
        }
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::transpose(self.batch, self.rows, self.columns))
    }
}

/// x + bias, channel by channel; of x (N, C, ...) and the bias (C).
pub(super) struct AddBias {
    pub(super) shape: Shape,
    pub(super) sizes: ImageSizes,
}

impl HostOp for AddBias {
    const NAME: &'static str = "add_bias";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ImageSizes { channels, pixels, .. } = self.sizes;
        for (at, (to, x)) in out.iter_mut().zip(inputs[0]).enumerate() {
            *to = *x + inputs[1][at / pixels % channels];
        }
    }

    fn device(&self) -> Option<Launch> {
        Some(Launch::add_bias(self.sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Result,
        ops::{
            geometry::Padding,
            host_op::testing::{assert_device_agrees, numbers},
        },
    };

    #[test]
    fn kernels_of_the_device_agree() -> Result<()> {
        let sides = Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 };
        for (kernel, stride, padding) in [
            ([3, 3], [1, 1], Padding::Same),
            ([3, 3], [2, 2], Padding::Same),
            ([1, 1], [2, 2], Padding::Same),
            ([5, 2], [1, 3], Padding::Valid),
            ([4, 3], [3, 1], sides),
        ] {
            let (batch, input) = (2, [3, 8, 7]);
            let geometry = Geometry::new("conv", input, 4, kernel, stride, padding)?;
            let there = Patches { geometry, batch };
            assert_device_agrees(&there, &[numbers(batch * geometry.input_len(), 1)], 0.0);
            let back = PatchesTransposed { geometry, batch };
            let len = batch * geometry.output_pixels() * geometry.patch();
            // Sums of at most k k numbers.
            let terms = (kernel[0] * kernel[1]) as f64;
            assert_device_agrees(&back, &[numbers(len, 2)], 2.0 * terms);
        }
        let kernel = Transpose { batch: 3, rows: 4, columns: 7 };
        assert_device_agrees(&kernel, &[numbers(84, 3)], 0.0);
        let sizes = ImageSizes { batch: 2, channels: 5, pixels: 6 };
        let kernel = AddBias { shape: (2, 5, 6).into(), sizes };
        assert_device_agrees(&kernel, &[numbers(60, 4), numbers(5, 5)], 0.0);
        Ok(())
    }
}
