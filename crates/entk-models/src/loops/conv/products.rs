//! Convolution and its derivatives as products of patches, (N, H' W', C k k): what a GPU does.
//!
//! All four are compositions of tensor operations that the host has too; there they are compared
//! with [`super::conv`]. Patches are k k times the images, so batches are cut into chunks.

use candle_core::Tensor;
use entk_device::{Geometry, ImageSizes};

use crate::{
    error::Result,
    loops::{
        conv::patches::{AddBias, Patches, PatchesTransposed, Transpose},
        host_op::HostOp,
    },
};

/// Numbers in the patches of one chunk: 1 GiB in f32.
const CHUNK_NUMBERS: usize = 1 << 28;
/// Output pixels below which the values of a chunk's images share one product, and are reordered
/// after it: the products of single images would be too narrow.
const FEW_PIXELS: usize = 64;

/// How a batch is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    geometry: Geometry,
    /// Images follow each other in groups of channels, each with its own filters.
    groups: usize,
    /// Images of one chunk, a multiple of the groups.
    chunk: usize,
    /// Whether the values of a chunk's images share one product; the cotangents of inputs and
    /// weights always do.
    shared: bool,
}

impl Products {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self::of_groups(geometry, 1)
    }

    /// For images of one group of channels each, image i with the filters i mod `groups`.
    pub(super) fn of_groups(geometry: Geometry, groups: usize) -> Self {
        let patches = geometry.output_pixels() * geometry.patch() * groups;
        let chunk = (CHUNK_NUMBERS / patches).max(1) * groups;
        let shared = groups == 1 && geometry.output_pixels() < FEW_PIXELS;
        Self { geometry, groups, chunk, shared }
    }

    /// `y = w * x (+ b)`, (N, C', H', W').
    pub(super) fn forward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let g = &self.geometry;
        let weight = weight.reshape((self.groups, g.filters, g.patch()))?;
        let y = self.by_chunks(&[x], |part, count| {
            let patches = self.patches(&part[0], count)?;
            let y = if self.shared {
                let rows = patches.flatten(0, 1)?.matmul(&weight.squeeze(0)?.t()?)?;
                self.pixels_last(&rows, count)?
            } else {
                self.each(&weight, count)?.matmul(&patches.t()?)?
            };
            Ok(y.reshape((count, g.filters, g.output[0], g.output[1]))?)
        })?;
        let Some(bias) = bias else { return Ok(y) };
        let (channels, pixels) = (self.groups * g.filters, g.output_pixels());
        let sizes = ImageSizes { batch: y.dim(0)? / self.groups, channels, pixels };
        AddBias { shape: y.shape().clone(), sizes }.apply(&[&y, bias])
    }

    /// The cotangent of the input.
    pub(super) fn input_vjp(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        let weight = weight.reshape((self.groups, g.filters, g.patch()))?;
        self.by_chunks(&[dy], |part, count| {
            let dy = self.filters_last(&part[0], count)?;
            let patches = if self.groups == 1 {
                dy.flatten(0, 1)?.matmul(&weight.squeeze(0)?)?
            } else {
                dy.matmul(&self.each(&weight, count)?)?
            };
            PatchesTransposed { geometry: *g, batch: count }.apply(&[&patches])
        })
    }

    /// Gradient of the weight summed over the batch, (C', C, k, k).
    pub(super) fn weight_vjp(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        let mut sum: Option<Tensor> = None;
        for (start, count) in self.chunks(x.dim(0)?) {
            let (x, dy) = (x.narrow(0, start, count)?, dy.narrow(0, start, count)?);
            let patches = self.patches(&x, count)?.flatten(0, 1)?;
            let part = self.filters_last(&dy, count)?.flatten(0, 1)?.t()?.matmul(&patches)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let shape = (g.filters, g.channels, g.kernel[0], g.kernel[1]);
        let sum = sum.map_or_else(|| Tensor::zeros(shape, x.dtype(), x.device()), Ok)?;
        Ok(sum.reshape(shape)?)
    }

    /// Gradient of the weight per example, (N, C' C k k).
    pub(super) fn weight_rows(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        self.by_chunks(&[x, dy], |part, count| {
            let dy = part[1].contiguous()?.reshape((count, g.filters, g.output_pixels()))?;
            let rows = dy.matmul(&self.patches(&part[0], count)?)?;
            Ok(rows.flatten_from(1)?)
        })
    }

    /// First image and number of images of every chunk.
    fn chunks(&self, batch: usize) -> impl Iterator<Item = (usize, usize)> {
        let chunk = self.chunk;
        (0..batch).step_by(chunk).map(move |start| (start, chunk.min(batch - start)))
    }

    /// A batch (N, G C, H, W) as images of one group, (N G, C, H, W).
    fn split(&self, batch: &Tensor) -> candle_core::Result<Tensor> {
        if self.groups == 1 {
            return Ok(batch.clone());
        }
        let (count, channels, height, width) = batch.dims4()?;
        batch.reshape((count * self.groups, channels / self.groups, height, width))
    }

    /// Applies `f` to every chunk of some batches, and joins the results.
    fn by_chunks(
        &self,
        batches: &[&Tensor],
        f: impl Fn(&[Tensor], usize) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let batches = batches.iter().map(|batch| self.split(batch));
        let batches = batches.collect::<candle_core::Result<Vec<_>>>()?;
        let parts = self
            .chunks(batches[0].dim(0)?)
            .map(|(start, count)| {
                let part = |batch: &Tensor| batch.narrow(0, start, count)?.contiguous();
                let parts = batches.iter().map(part).collect::<candle_core::Result<Vec<_>>>()?;
                f(&parts, count)
            })
            .collect::<Result<Vec<_>>>()?;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            _ => Ok(Tensor::cat(&parts, 0)?),
        }
    }

    fn patches(&self, x: &Tensor, batch: usize) -> Result<Tensor> {
        Patches { geometry: self.geometry, batch }.apply(&[x])
    }

    /// The weight (groups, C', C k k) once for each image; without a copy if there is one group.
    fn each(&self, weight: &Tensor, count: usize) -> Result<Tensor> {
        let (groups, filters, patch) = weight.dims3()?;
        if groups == 1 {
            return Ok(weight.broadcast_as((count, filters, patch))?);
        }
        Ok(weight.repeat((count / groups, 1, 1))?)
    }

    /// (N H' W', C') to (N, C', H' W').
    fn pixels_last(&self, rows: &Tensor, batch: usize) -> Result<Tensor> {
        let (rows_of_one, columns) = (self.geometry.output_pixels(), self.geometry.filters);
        Transpose { batch, rows: rows_of_one, columns }.apply(&[rows])
    }

    /// (N, C', H', W') to (N, H' W', C').
    fn filters_last(&self, dy: &Tensor, batch: usize) -> Result<Tensor> {
        let (rows, columns) = (self.geometry.filters, self.geometry.output_pixels());
        Transpose { batch, rows, columns }.apply(&[dy])
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::{
        conv::{grouped::GroupedConv, rows::weight_rows, weight_vjp},
        host_op::testing::numbers,
        padding::Padding,
    };

    fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
        let count = shape.iter().product();
        Ok(Tensor::from_vec(numbers(count, seed), shape, &Device::Cpu)?)
    }

    /// Sums of `terms` products of size 4, in any order.
    fn assert_close(what: &str, a: &Tensor, b: &Tensor, terms: usize) -> Result<()> {
        assert_eq!(a.dims(), b.dims(), "{what}");
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        let tolerance = 4.0 * (terms * terms) as f64 * f64::EPSILON;
        assert!(error <= tolerance, "{what}: {error:e} > {tolerance:e}");
        Ok(())
    }

    #[test]
    fn products_of_patches_are_the_convolutions_of_the_host() -> Result<()> {
        let sides = Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 };
        // Few and many pixels, one and several chunks, strides, gaps and uneven borders.
        for (channels, size, kernel, stride, padding) in [
            (3, [9, 8], [3, 3], [1, 1], Padding::Same),
            (3, [8, 8], [3, 3], [2, 2], Padding::Same),
            (2, [7, 5], [1, 1], [2, 2], Padding::Same),
            (1, [12, 14], [5, 5], [1, 1], Padding::Valid),
            (4, [9, 6], [4, 3], [3, 1], sides),
        ] {
            let (batch, filters) = (5, 6);
            let g = padding.geometry("conv", [channels, filters], size, kernel, stride, [1; 2])?;
            let x = tensor(&[batch, channels, size[0], size[1]], 1)?;
            let weight = tensor(&[filters, channels, kernel[0], kernel[1]], 2)?;
            let bias = tensor(&[filters], 3)?;
            let conv = GroupedConv { geometry: g, groups: 1 };
            let dy = tensor(&[batch, filters, g.output[0], g.output[1]], 4)?;
            for (chunk, shared) in [(batch, true), (batch, false), (2, true), (2, false)] {
                let products = Products { geometry: g, groups: 1, chunk, shared };
                let terms = batch * g.output_pixels() + g.patch();
                let close = |what: &str, a: Result<Tensor>, b: Result<Tensor>| {
                    assert_close(&format!("{what} {products:?}"), &a?, &b?, terms)
                };
                let bias = Some(&bias);
                let y = products.forward(&x, &weight, bias);
                close("with bias", y, conv.value(&x, &weight, bias))?;
                let y = products.forward(&x, &weight, None);
                close("without bias", y, conv.value(&x, &weight, None))?;
                let dx = products.input_vjp(&dy, &weight);
                close("input", dx, conv.input_vjp(&dy, &weight))?;
                close("weight", products.weight_vjp(&x, &dy), weight_vjp(&x, &dy, g))?;
                close("rows", products.weight_rows(&x, &dy), weight_rows(&x, &dy, g))?;
            }
        }
        Ok(())
    }

    #[test]
    fn few_pixels_share_a_product_and_chunks_hold_an_image() -> Result<()> {
        let of = |size| Padding::Same.geometry("c", [64; 2], [size; 2], [3; 2], [1; 2], [1; 2]);
        assert!(Products::new(of(4)?).shared && !Products::new(of(8)?).shared);
        assert_eq!(Products::new(of(32)?).chunk, CHUNK_NUMBERS / (32 * 32 * 576));
        assert_eq!(Products::new(of(1000)?).chunk, 1);
        Ok(())
    }
}
