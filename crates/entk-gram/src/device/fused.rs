//! What follows the products of a tile, as one kernel each (on the CPU a loop, on a GPU the launch
//! of [`entk_device`]) or in tensor operations. Called by operands.

use candle_core::{Shape, Tensor};
use entk_device::Launch;
use entk_models::{Geometry, HostOp, Real};
use rayon::prelude::*;

use crate::error::Result;

/// `tile + (a + bias) * d`, entry by entry: a dense layer's share from the products of its inputs
/// and of its cotangents.
pub(super) fn dense_tile(a: &Tensor, d: &Tensor, tile: &Tensor, bias: bool) -> Result<Tensor> {
    Ok(DenseTile { shape: tile.shape().clone(), bias }.apply(&[a, d, tile])?)
}

struct DenseTile {
    shape: Shape,
    bias: bool,
}

impl HostOp for DenseTile {
    const NAME: &'static str = "dense_tile";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let bias = if self.bias { T::one() } else { T::zero() };
        let [a, d, tile] = inputs else { return };
        for (((k, a), d), tile) in out.iter_mut().zip(*a).zip(*d).zip(*tile) {
            *k = *tile + (*a + bias) * *d;
        }
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::dense_tile(self.shape.elem_count(), self.bias))
    }
}

/// The kernel of a convolution between n and m examples, from the products of all pairs of their
/// pixels: `inputs` (H W n, H W m) over channels and `cotangents` (H' W' n, H' W' m) over filters,
/// pixels outermost.
///
/// `K(x, x') = sum_{p, q} D_pq S_pq` over output pixels, `S_pq = sum_t G(s p + e t - z, s q + e t -
/// z)` over the taps t that are inside both images (stride s, dilation e, zeros z before the
/// image). One task a pair of examples.
pub(super) fn pixel_tile(
    inputs: &Tensor,
    cotangents: &Tensor,
    geometry: Geometry,
    examples: [usize; 2],
) -> Result<Tensor> {
    Ok(PixelTile { geometry, examples }.apply(&[inputs, cotangents])?)
}

/// The kernel of an embedding between n and m examples, from the ids of their tokens, (T n) and
/// (T m), and the products of all pairs of their cotangents, (T n, T m), tokens outermost:
/// `K(x, x') = sum_{s, t} [id_s = id_t] D_st`.
pub(super) fn token_tile(
    left: &Tensor,
    right: &Tensor,
    cotangents: &Tensor,
    [n, m]: [usize; 2],
) -> Result<Tensor> {
    let equal = left.unsqueeze(1)?.broadcast_eq(&right.unsqueeze(0)?)?;
    let products = (equal.to_dtype(cotangents.dtype())? * cotangents)?;
    let tokens = |t: &Tensor, n: usize| t.elem_count() / n.max(1);
    Ok(products.reshape((tokens(left, n), n, tokens(right, m), m))?.sum((0, 2))?)
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
                for tap in 0..g.taps() {
                    if let (Some(a), Some(b)) = (g.input_pixel(p, tap), g.input_pixel(q, tap)) {
                        inner += inputs[(a * n + i) * (pixels * m) + b * m + j];
                    }
                }
                sum += inner * cotangents[(p * n + i) * (outputs * m) + q * m + j];
            }
        }
        sum
    }
}

impl HostOp for PixelTile {
    const NAME: &'static str = "pixel_tile";

    fn output(&self) -> Shape {
        Shape::from(&self.examples)
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let [inputs, cotangents] = inputs else { return };
        out.par_chunks_mut(self.examples[1]).enumerate().for_each(|(i, row)| {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry = self.entry(inputs, cotangents, i, j);
            }
        });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::pixel_tile(&self.geometry, self.examples))
    }
}
