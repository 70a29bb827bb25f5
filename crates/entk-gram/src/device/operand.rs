//! What the rows of a block contribute to products, and the products of two blocks. Made by the
//! engine from kept factors.

use std::ops::Range;

use candle_core::Tensor;
use entk_device::Operand;
use entk_models::{Factor, Geometry};

use crate::{
    device::{
        arithmetic::{Arithmetic, plus},
        fused::{dense_tile, pixel_tile},
        kept::KeptFactor,
    },
    error::Result,
    factors::form::Form,
    plan::workload::ChannelRange,
};

/// Longest side of the products of pixels: they are made for so many pixels of some examples at a
/// time.
const PIXEL_SIDE: usize = 8192;

/// Numbers of the patches that are made at a time.
const PATCHES: usize = 1 << 24;

/// What some rows of the kernel contribute to products with others.
#[derive(Debug)]
pub(crate) enum LayerOperand {
    /// `J J'^T`.
    Rows(Operand),
    /// `(a a'^T + bias) * (d d'^T)`.
    Dense { inputs: Operand, cotangents: Operand, bias: bool },
    /// Sums over pairs of pixels, strip by strip.
    Pixels(Vec<PixelStrip>),
}

/// A convolution's inputs and cotangents for a few examples, the pixels of all examples one after
/// the other.
#[derive(Debug)]
pub(crate) struct PixelStrip {
    inputs: Operand,
    cotangents: Operand,
    examples: usize,
    geometry: Geometry,
}

impl LayerOperand {
    /// The operand of a block of columns, from its factors: rows side by side, or a single layer in
    /// another form.
    pub(crate) fn new(
        block: &[(&KeptFactor, &ChannelRange)],
        arithmetic: &Arithmetic,
    ) -> Result<Self> {
        if let [(kept, _)] = block {
            match (&kept.factor, kept.form) {
                (Factor::Dense { inputs, cotangents, bias, .. }, Form::Dense) => {
                    return Ok(Self::Dense {
                        inputs: arithmetic.operand(inputs)?,
                        cotangents: arithmetic.operand(cotangents)?,
                        bias: bias.is_some(),
                    });
                }
                (Factor::Conv { inputs, cotangents, geometry, .. }, Form::Pixels) => {
                    return Ok(Self::Pixels(strips(inputs, cotangents, *geometry, arithmetic)?));
                }
                _ => {}
            }
        }
        let rows = block.iter().map(|(kept, range)| in_batches(kept, &range.channels));
        let mut rows = rows.collect::<Result<Vec<_>>>()?;
        let rows = if rows.len() == 1 { rows.swap_remove(0) } else { Tensor::cat(&rows, 1)? };
        Ok(Self::Rows(arithmetic.operand(&rows)?))
    }
}

/// The rows of some channels of a layer, for so many examples at a time that their patches are few
/// numbers beside the rows.
fn in_batches(kept: &KeptFactor, channels: &Range<usize>) -> Result<Tensor> {
    let Factor::Conv { geometry: g, .. } = &kept.factor else { return kept.rows(channels) };
    let patches = channels.len() * g.kernel[0] * g.kernel[1] * g.output_pixels();
    let (count, batch) = (kept.count(), (PATCHES / patches.max(1)).max(1));
    let parts = (0..count).step_by(batch).map(|start| {
        let part = kept.narrow(&(start..count.min(start + batch)))?;
        part.rows(channels)
    });
    Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
}

fn strips(
    inputs: &Tensor,
    cotangents: &Tensor,
    geometry: Geometry,
    arithmetic: &Arithmetic,
) -> Result<Vec<PixelStrip>> {
    let pixels = geometry.input_pixels().max(geometry.output_pixels());
    let (count, strip) = (inputs.dim(0)?, (PIXEL_SIDE / pixels).max(1));
    let parts = (0..count).step_by(strip).map(|start| {
        let examples = strip.min(count - start);
        let part = |t: &Tensor| arithmetic.operand(&by_pixel(&t.narrow(0, start, examples)?)?);
        Ok(PixelStrip { inputs: part(inputs)?, cotangents: part(cotangents)?, examples, geometry })
    });
    parts.collect()
}

/// Images (n, C, H, W) as (H W n, C): neighbouring entries of a product are then those of
/// neighbouring examples, as the threads that read them are.
fn by_pixel(images: &Tensor) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let by_pixel = images.reshape((count, channels, height * width))?.permute((2, 0, 1))?;
    Ok(by_pixel.contiguous()?.reshape((height * width * count, channels))?)
}

impl LayerOperand {
    /// The tile with the products of this operand and that of other rows; `None` is a tile of
    /// zeros.
    pub(crate) fn accumulate(
        &self,
        other: &Self,
        tile: Option<Tensor>,
        arithmetic: &Arithmetic,
    ) -> Result<Tensor> {
        match (self, other) {
            (Self::Rows(left), Self::Rows(right)) => arithmetic.accumulate(tile, left, right),
            (
                Self::Dense { inputs, cotangents, bias },
                Self::Dense { inputs: others, cotangents: other_cotangents, .. },
            ) => {
                let a = arithmetic.product(inputs, others)?;
                let d = arithmetic.product(cotangents, other_cotangents)?;
                let tile = tile.map_or_else(|| a.zeros_like(), Ok)?;
                dense_tile(&a, &d, &tile, *bias)
            }
            (Self::Pixels(left), Self::Pixels(right)) => {
                plus(tile, strip_tiles(left, right, arithmetic)?)
            }
            _ => Err(candle_core::Error::Msg("operands of different layers".into()).into()),
        }
    }
}

fn strip_tiles(
    left: &[PixelStrip],
    right: &[PixelStrip],
    arithmetic: &Arithmetic,
) -> Result<Tensor> {
    let row = |a: &PixelStrip| {
        let tiles = right.iter().map(|b| a.contracted(b, arithmetic));
        Ok(Tensor::cat(&tiles.collect::<Result<Vec<_>>>()?, 1)?)
    };
    Ok(Tensor::cat(&left.iter().map(row).collect::<Result<Vec<_>>>()?, 0)?)
}

impl PixelStrip {
    fn contracted(&self, other: &Self, arithmetic: &Arithmetic) -> Result<Tensor> {
        let inputs = arithmetic.product(&self.inputs, &other.inputs)?;
        let cotangents = arithmetic.product(&self.cotangents, &other.cotangents)?;
        pixel_tile(&inputs, &cotangents, self.geometry, [self.examples, other.examples])
    }
}
