//! Sums over the pixels of each channel.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    kernel::{Kernel, apply, vectorised},
    matmul::matmul,
    real::Real,
};
use crate::error::Result;

struct PixelSum {
    batch: usize,
    channels: usize,
}

impl Kernel for PixelSum {
    const NAME: &'static str = "pixel_sum";

    fn output(&self) -> Shape {
        (self.batch, self.channels).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let pixels = inputs[0].len() / out.len();
        (out.par_iter_mut().with_min_len(64))
            .zip(inputs[0].par_chunks(pixels))
            .for_each(|(sum, plane)| *sum = vectorised(|| sum_slice(plane)));
    }
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
    apply(PixelSum { batch, channels }, &[x])
}

/// (N, P) -> (P), summed over the batch.
pub(crate) fn batch_sum(x: &Tensor) -> Result<Tensor> {
    let ones = Tensor::ones((1, x.dim(0)?), x.dtype(), x.device())?;
    Ok(matmul(&ones, x)?.squeeze(0)?)
}
