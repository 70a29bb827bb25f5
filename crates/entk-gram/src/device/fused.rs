//! What follows the products of a tile, as one kernel each: on the CPU a loop, on a GPU the same
//! from [`entk_device`].

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor,
};
use entk_device::Launch;
use entk_models::{Geometry, Real};
use rayon::prelude::*;

use crate::error::Result;

/// `tile + (a + bias) * d`, entry by entry: a dense layer's share from the products of its inputs
/// and of its cotangents.
pub(super) fn dense_tile(a: &Tensor, d: &Tensor, tile: &Tensor, bias: bool) -> Result<Tensor> {
    Ok(a.apply_op3_no_bwd(d, tile, &DenseTile { bias })?)
}

struct DenseTile {
    bias: bool,
}

impl DenseTile {
    fn typed<T: Real>(&self, inputs: [(&CpuStorage, &Layout); 3]) -> CandleResult<CpuStorage> {
        let [a, d, tile] = inputs.map(|(storage, layout)| slice::<T>(storage, layout));
        let (a, d, tile, bias) = (a?, d?, tile?, if self.bias { T::one() } else { T::zero() });
        let entries = a.iter().zip(d).zip(tile).map(|((a, d), k)| *k + (*a + bias) * *d);
        Ok(T::to_cpu_storage_owned(entries.collect()))
    }
}

impl CustomOp3 for DenseTile {
    fn name(&self) -> &'static str {
        "dense_tile"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let inputs = [(s1, l1), (s2, l2), (s3, l3)];
        let tile = match s1 {
            CpuStorage::F64(_) => self.typed::<f64>(inputs),
            _ => self.typed::<f32>(inputs),
        };
        Ok((tile?, l1.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let launch = Launch::dense_tile(l1.shape().elem_count(), self.bias);
        Ok((launch.run(&[(s1, l1), (s2, l2), (s3, l3)])?, l1.shape().clone()))
    }
}

/// The kernel of a convolution between n and m examples, from the products of all pairs of their
/// pixels: `inputs` (H W n, H W m) over channels and `cotangents` (H' W' n, H' W' m) over filters,
/// pixels outermost.
///
/// `K(x, x') = sum_{p, q} D_pq S_pq` over output pixels, `S_pq = sum_t G(s p + t - z, s q + t - z)`
/// over the taps t that are inside both images (stride s, zeros z before the image). One task a
/// pair of examples.
pub(super) fn pixel_tile(
    inputs: &Tensor,
    cotangents: &Tensor,
    geometry: Geometry,
    examples: [usize; 2],
) -> Result<Tensor> {
    let op = PixelTile { geometry, examples };
    Ok(inputs.contiguous()?.apply_op2_no_bwd(&cotangents.contiguous()?, &op)?)
}

struct PixelTile {
    geometry: Geometry,
    examples: [usize; 2],
}

impl PixelTile {
    /// The kernel between example i of the rows and j of the columns.
    fn entry<T: Real>(&self, inputs: &[T], cotangents: &[T], i: usize, j: usize) -> T {
        let (g, [n, m]) = (&self.geometry, self.examples);
        let [pixels, outputs] = [g.input_pixels(), g.output_pixels()];
        let mut sum = T::zero();
        for p in 0..outputs {
            for q in 0..outputs {
                let mut inner = T::zero();
                for tap in 0..g.kernel[0] * g.kernel[1] {
                    let read = |pixel| input_pixel(g, pixel, tap);
                    if let (Some(a), Some(b)) = (read(p), read(q)) {
                        inner += inputs[(a * n + i) * (pixels * m) + b * m + j];
                    }
                }
                sum += inner * cotangents[(p * n + i) * (outputs * m) + q * m + j];
            }
        }
        sum
    }

    fn typed<T: Real>(&self, operands: [(&CpuStorage, &Layout); 2]) -> CandleResult<CpuStorage> {
        let [inputs, cotangents] = operands.map(|(storage, layout)| slice::<T>(storage, layout));
        let (inputs, cotangents, [n, m]) = (inputs?, cotangents?, self.examples);
        let mut tile = vec![T::zero(); n * m];
        tile.par_chunks_mut(m).enumerate().for_each(|(i, row)| {
            row.iter_mut()
                .enumerate()
                .for_each(|(j, entry)| *entry = self.entry(inputs, cotangents, i, j));
        });
        Ok(T::to_cpu_storage_owned(tile))
    }
}

/// The input pixel that a tap of an output pixel reads, if it is inside the image.
fn input_pixel(g: &Geometry, output: usize, tap: usize) -> Option<usize> {
    let [row, col] = [output / g.output[1], output % g.output[1]];
    let [down, right] = [tap / g.kernel[1], tap % g.kernel[1]];
    let row = (row * g.stride[0] + down).checked_sub(g.before[0]).filter(|r| *r < g.input[0])?;
    let col = (col * g.stride[1] + right).checked_sub(g.before[1]).filter(|c| *c < g.input[1])?;
    Some(row * g.input[1] + col)
}

fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> CandleResult<&'a [T]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("products are not contiguous".into()))?;
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

impl CustomOp2 for PixelTile {
    fn name(&self) -> &'static str {
        "pixel_tile"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let operands = [(s1, l1), (s2, l2)];
        let tile = match s1 {
            CpuStorage::F64(_) => self.typed::<f64>(operands),
            _ => self.typed::<f32>(operands),
        };
        Ok((tile?, Shape::from(&self.examples)))
    }

    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let launch = Launch::pixel_tile(&self.geometry, self.examples);
        let tile = launch.run(&[(s1, l1), (s2, l2)])?;
        Ok((tile, Shape::from(&self.examples)))
    }
}
