//! Sums over the pixels of each channel.

use candle_core::{Shape, Tensor};
use entk_device::Launch;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        matmul::matmul_at,
        real::Real,
    },
};

struct PixelSum {
    batch: usize,
    channels: usize,
}

impl HostOp for PixelSum {
    const NAME: &'static str = "pixel_sum";

    fn output(&self) -> Shape {
        (self.batch, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let pixels = inputs[0].len() / out.len();
        (out.par_iter_mut().with_min_len(64)).zip(inputs[0].par_chunks(pixels)).for_each(
            |(sum, plane)| {
                *sum = vectorised(
                    #[inline(always)]
                    || sum_slice(plane),
                )
            },
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (planes, pixels) = (self.batch * self.channels, inputs[0].elem_count());
        let sums = plane_sums(inputs[0], planes, pixels / planes)?;
        Ok(sums.reshape((self.batch, self.channels))?)
    }
}

/// Number of partial sums of a plane on a GPU, so that neighbouring threads read neighbouring
/// pixels; one where pixels are few.
pub(crate) fn lanes(pixels: usize) -> usize {
    if pixels > 64 { 32 } else { 1 }
}

/// Sums of planes, each in lanes: lane l sums every lanes-th entry from l on.
pub(crate) struct LaneSum {
    pub(crate) planes: usize,
    pub(crate) pixels: usize,
    pub(crate) lanes: usize,
}

impl HostOp for LaneSum {
    const NAME: &'static str = "lane_sum";

    fn output(&self) -> Shape {
        (self.planes, self.lanes).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let planes = inputs[0].chunks_exact(self.pixels);
        for (sums, plane) in out.chunks_exact_mut(self.lanes).zip(planes) {
            for (at, x) in plane.iter().enumerate() {
                sums[at % self.lanes] += *x;
            }
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::plane_sum(self.planes, self.pixels, self.lanes))
    }
}

/// Sums of planes of contiguous entries, (planes), as a GPU forms them: in lanes, then over these.
pub(crate) fn plane_sums(x: &Tensor, planes: usize, pixels: usize) -> Result<Tensor> {
    let lanes = lanes(pixels);
    let sums = LaneSum { planes, pixels, lanes }.apply(&[x])?;
    if lanes == 1 {
        return Ok(sums.flatten_all()?);
    }
    Ok(LaneSum { planes, pixels: lanes, lanes: 1 }.apply(&[&sums])?.flatten_all()?)
}

/// Sum in eight lanes, then over the lanes: vectorises, and in a fixed order.
#[inline(always)]
pub(crate) fn sum_slice<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::zero(); 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += *v;
        }
    }
    let mut sum = T::zero();
    lanes.iter().chain(rest).for_each(|v| sum += *v);
    sum
}

/// `sum_p d_p (x_p - center)`, in the order of [`sum_slice`].
#[inline(always)]
pub(crate) fn dot_slice<T: Real>(d: &[T], x: &[T], center: T) -> T {
    let mut lanes = [T::zero(); 8];
    let (ds, xs) = (d.chunks_exact(8), x.chunks_exact(8));
    let rest = ds.remainder().iter().zip(xs.remainder());
    for (d, x) in ds.zip(xs) {
        for (lane, (d, x)) in lanes.iter_mut().zip(d.iter().zip(x)) {
            *lane += *d * (*x - center);
        }
    }
    let mut sum = T::zero();
    lanes.iter().for_each(|v| sum += *v);
    rest.for_each(|(d, x)| sum += *d * (*x - center));
    sum
}

/// (N, C, H, W) -> (N, C), summed over pixels.
pub(crate) fn pixel_sum(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, _, _) = x.dims4()?;
    PixelSum { batch, channels }.apply(&[x])
}

/// (N, P) -> (P), summed over the batch.
pub(crate) fn batch_sum(x: &Tensor) -> Result<Tensor> {
    let ones = Tensor::ones((x.dim(0)?, 1), x.dtype(), x.device())?;
    Ok(matmul_at(&ones, x)?.squeeze(0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::{assert_device_agrees, numbers};

    #[test]
    fn kernels_of_the_device_agree() {
        for (planes, pixels, lanes) in [(5, 37, 1), (6, 150, 32), (3, 5, 8)] {
            let tolerance = 2.0 * pixels as f64;
            let kernel = LaneSum { planes, pixels, lanes };
            assert_device_agrees(&kernel, &[numbers(planes * pixels, 1)], tolerance);
        }
    }

    #[test]
    fn few_pixels_have_one_lane() {
        assert_eq!([1, 64, 65].map(lanes), [1, 1, 32]);
    }

    #[test]
    fn sums_in_lanes_are_those_of_the_host() -> Result<()> {
        for (height, width) in [(4, 4), (9, 11), (1, 1)] {
            let (planes, pixels) = (6, height * width);
            let x =
                Tensor::from_vec(numbers(planes * pixels, 2), (2, 3, height, width), &Device::Cpu)?;
            let expected = pixel_sum(&x)?.flatten_all()?;
            let error = (plane_sums(&x, planes, pixels)? - expected)?.abs()?.max_all()?;
            // Both sums err by at most their length times the size of the terms, 2.
            let tolerance = 4.0 * (pixels * pixels) as f64 * f64::EPSILON;
            assert!(error.to_scalar::<f64>()? <= tolerance);
        }
        Ok(())
    }
}
