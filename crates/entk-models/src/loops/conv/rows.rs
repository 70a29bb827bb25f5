//! Per-example gradients of a convolution's weight.

use std::ops::Range;

use candle_core::{Shape, Tensor};
use entk_device::Geometry;
use faer::{Accum, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        conv::{ConvScratch, WeightVjp, lowering::columns_inside, products::Products},
        host_op::HostOp,
        matmul::{rows, rows_mut},
        real::Real,
    },
};

/// Output pixels up to which a per-example gradient is one product with all patches unrolled:
/// the result, long beside them, is then written once and in its final order.
const FEW_PIXELS: usize = 64;

/// Writes Jacobian rows of a convolution's weight, one example at a time, and keeps its scratch
/// memory between them.
///
/// The row of filter c' is the sum over output pixels p, with stride s and zeros z before,
/// `J[c', (c, t)] = sum_p d[c', p] a[c, s p + e t - z]`, dilation e, for inputs a and cotangents d.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{Conv2d, ConvRows, Dense, Factor, Flatten, Model, Network, Sequential};
///
/// let layers = Sequential::new().then(Conv2d::new("conv", 1, 2, 3));
/// let layers = layers.then(Flatten).then(Dense::new("fc", 32, 1));
/// let network = Network::new(&[1, 4, 4], layers)?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let sweep = network.sweep(&theta, &Tensor::ones((1, 1, 4, 4), DType::F64, &Device::Cpu)?)?;
/// let factors = sweep.factors(&sweep.outputs().ones_like()?)?;
/// let Some(Factor::Conv { inputs, cotangents, geometry, .. }) = factors.last() else {
///     unreachable!("the backward sweep ends with the convolution")
/// };
/// let inputs = inputs.flatten_all()?.to_vec1::<f64>()?;
/// let cotangents = cotangents.flatten_all()?.to_vec1::<f64>()?;
/// let mut row = vec![0.0; 9]; // C k k = 9 numbers of the second filter
/// ConvRows::new(*geometry).write(&inputs, &cotangents, &(1..2), &mut row);
/// let whole = factors[1].rows()?.flatten_all()?.to_vec1::<f64>()?;
/// assert!(row.iter().zip(&whole[9..18]).all(|(a, b)| (a - b).abs() < 1e-14));
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct ConvRows<T> {
    geometry: Geometry,
    patches: Vec<T>,
    scratch: ConvScratch<T>,
}

impl<T: Real> ConvRows<T> {
    /// A writer for this geometry; it takes memory when it first writes.
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, patches: Vec::new(), scratch: ConvScratch::new() }
    }

    /// Fills `row`, (filters, C, k, k), from the inputs (C, H, W) and the cotangents (C', H', W')
    /// of one example. Cost: `2 H' W'` operations a number.
    ///
    /// # Panics
    /// If a slice is shorter than its shape says.
    pub fn write(&mut self, inputs: &[T], cotangents: &[T], filters: &Range<usize>, row: &mut [T]) {
        let g = &self.geometry;
        if g.output_pixels() > FEW_PIXELS {
            return WeightVjp::new(*g).write(inputs, cotangents, filters, row, &mut self.scratch);
        }
        unroll(g, inputs, &mut self.patches);
        let patches = rows(&self.patches, g.patch(), g.output_pixels()).transpose();
        let cotangents = rows(cotangents, g.filters, g.output_pixels());
        let cotangents = cotangents.subrows(filters.start, filters.len());
        let row = rows_mut(row, filters.len(), g.patch());
        matmul(row, Accum::Replace, cotangents, patches, T::one(), Par::Seq);
    }
}

/// All patches of one image as columns, (C k k, output pixels), zero outside the image.
fn unroll<T: Real>(g: &Geometry, image: &[T], columns: &mut Vec<T>) {
    let ([kh, kw], [height, width]) = (g.kernel, g.output);
    columns.clear();
    columns.resize(g.patch() * g.output_pixels(), T::zero());
    for (tap, target) in columns.chunks_exact_mut(g.output_pixels()).enumerate() {
        let channel = tap / (kh * kw);
        let (di, dj) = (tap / kw % kh * g.dilation[0], tap % kw * g.dilation[1]);
        let Some((first, last)) = columns_inside(g, dj) else { continue };
        for row in 0..height {
            let y = row * g.stride[0] + di;
            if y < g.before[0] || y - g.before[0] >= g.input[0] {
                continue;
            }
            let line = (channel * g.input[0] + y - g.before[0]) * g.input[1];
            let start = line + first * g.stride[1] + dj - g.before[1];
            let target = &mut target[row * width + first..row * width + last];
            if g.stride[1] == 1 {
                target.copy_from_slice(&image[start..start + target.len()]);
            } else {
                let source = image[start..].iter().step_by(g.stride[1]);
                target.iter_mut().zip(source).for_each(|(t, v)| *t = *v);
            }
        }
    }
}

struct WeightRows {
    geometry: Geometry,
    batch: usize,
}

impl HostOp for WeightRows {
    const NAME: &'static str = "conv2d_weight_rows";

    fn output(&self) -> Shape {
        (self.batch, self.geometry.filters * self.geometry.patch()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let g = &self.geometry;
        (out.par_chunks_mut(g.filters * g.patch()))
            .zip(inputs[0].par_chunks(g.input_len()))
            .zip(inputs[1].par_chunks(g.output_len()))
            .for_each_init(
                || ConvRows::new(*g),
                |rows, ((row, x), dy)| rows.write(x, dy, &(0..g.filters), row),
            );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        Products::new(self.geometry).weight_rows(inputs[0], inputs[1])
    }
}

/// Gradient of the weight per example, (N, C' C k k).
pub(crate) fn weight_rows(x: &Tensor, dy: &Tensor, geometry: Geometry) -> Result<Tensor> {
    WeightRows { geometry, batch: x.dim(0)? }.apply(&[x, dy])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{
        loops::{channel::batch_sum, conv::weight_vjp, padding::Padding},
        params::init::Initializer,
    };

    /// f64 round-off of a sum over a few thousand terms of size 1.
    const TOLERANCE: f64 = 1e-11;

    #[test]
    fn rows_sum_to_the_gradient_of_the_batch() -> Result<()> {
        // Small and large weights (more than 2^18), few and many pixels.
        for (channels, filters, size, stride) in
            [(3, 5, 12, 1), (3, 5, 6, 2), (70, 20, 5, 2), (130, 240, 4, 1), (200, 150, 9, 2)]
        {
            let (kernel, stride) = ([3, 3], [stride, stride]);
            let g = Padding::Same.geometry(
                "c",
                [channels, filters],
                [size; 2],
                kernel,
                stride,
                [1; 2],
            )?;
            let normal = |shape: [usize; 4], seed| {
                let values = Initializer::Normal.draw("x", shape.iter().product(), seed);
                Tensor::from_vec(values, &shape, &Device::Cpu)
            };
            let x = normal([7, channels, size, size], 1)?;
            let dy = normal([7, filters, g.output[0], g.output[1]], 2)?;
            let sum = batch_sum(&weight_rows(&x, &dy, g)?)?;
            let whole = weight_vjp(&x, &dy, g)?.flatten_all()?;
            let difference = (sum - whole)?.abs()?.max(0)?.to_scalar::<f64>()?;
            assert!(difference <= TOLERANCE, "{g:?}: {difference}");
        }
        Ok(())
    }
}
