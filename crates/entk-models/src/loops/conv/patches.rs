//! Patches of images as rows, and the moves of memory around their products on a GPU. The host's
//! functions are plain loops: there [`lowering`] is faster.

use candle_core::{Shape, Tensor};
use entk_device::{Geometry, ImageSizes, Launch};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{host_op::HostOp, real::Real},
};

/// Calls `visit(entry of the patches, entry of the images)` for every patch entry that is a copy of
/// an image entry.
fn for_each_pair(g: &Geometry, batch: usize, mut visit: impl FnMut(usize, usize)) {
    for pixel in 0..batch * g.output_pixels() {
        let (n, at) = (pixel / g.output_pixels(), pixel % g.output_pixels());
        for entry in 0..g.patch() {
            let plane = n * g.channels + entry / g.taps();
            if let Some(from) = g.input_pixel(at, entry % g.taps()) {
                visit(pixel * g.patch() + entry, plane * g.input_pixels() + from);
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

    fn launch(&self) -> Option<Launch> {
        Some(Launch::patches(&self.geometry, self.batch))
    }
}

/// The patches of images (N, C, H, W), one an output pixel: (N, H' W', C k k).
///
/// # Errors
/// Those of the device.
pub(crate) fn pixel_patches(images: &Tensor, geometry: Geometry) -> Result<Tensor> {
    Patches { geometry, batch: images.dim(0)? }.apply(&[images])
}

/// The transpose of [`Patches`]: every pixel sums the patch entries that are copies of it.
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

    fn launch(&self) -> Option<Launch> {
        Some(Launch::patches_transposed(&self.geometry, self.batch))
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

    fn launch(&self) -> Option<Launch> {
        Some(Launch::transpose(self.batch, self.rows, self.columns))
    }
}

/// Entries that one task adds a bias to.
const PLANE_ENTRIES: usize = 1 << 14;

/// x (N, C, H, W) + bias, channel by channel; of the bias (1, C), or (N, C).
pub(crate) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ((count, channels, height, width), biases) = (x.dims4()?, bias.dim(0)?);
    let (batch, channels, pixels) = (count / biases, channels * biases, height * width);
    let sizes = ImageSizes { batch, channels, pixels };
    AddBias { shape: x.shape().clone(), sizes }.apply(&[x, bias])
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
        let planes = out.par_chunks_mut(pixels).zip(inputs[0].par_chunks(pixels)).enumerate();
        planes.with_min_len((PLANE_ENTRIES / pixels).max(1)).for_each(|(at, (to, x))| {
            let bias = inputs[1][at % channels];
            to.iter_mut().zip(x).for_each(|(to, x)| *to = *x + bias);
        });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::add_bias(self.sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{
        host_op::testing::{assert_device_agrees, numbers},
        padding::Padding,
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
            let batch = 2;
            let geometry = padding.geometry("conv", [3, 4], [8, 7], kernel, stride, [1, 2])?;
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
