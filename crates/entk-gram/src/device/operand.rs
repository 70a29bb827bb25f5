//! What the rows of a block contribute to products, and the products of two blocks. Made by the
//! engine from kept factors.

use std::ops::Range;

use candle_core::Tensor;
use entk_device::Operand;
use entk_models::{Factor, Geometry};

use crate::{
    device::{
        arithmetic::{Arithmetic, plus},
        fused::{dense_tile, pixel_tile, token_tile},
        kept::KeptFactor,
    },
    error::Result,
    factors::form::{FactorShape, FactorSizes, Form, TokenSizes},
    plan::workload::ChannelRange,
};

/// Longest side of the products of pixels: they are made for so many pixels of some examples at a
/// time.
const PIXEL_SIDE: usize = 8192;

/// Numbers of the patches that are made at a time.
pub(super) const PATCHES: usize = 1 << 24;

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

/// What a layer has for each pixel or token of a few examples, the pixels of all examples one after
/// the other.
#[derive(Debug)]
pub(crate) struct PixelStrip {
    inputs: StripInputs,
    cotangents: Operand,
    examples: usize,
}

/// What stands beside the cotangents of a pixel or token.
#[derive(Debug)]
enum StripInputs {
    /// The inputs of a convolution, or of a dense layer over tokens.
    Values(Operand, Geometry),
    /// The ids of an embedding, u32.
    Ids(Tensor),
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
                (_, Form::Pixels | Form::Embedding) => {
                    return Ok(Self::Pixels(strips(&kept.factor, arithmetic)?));
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

/// Examples of a strip.
fn strip_examples(pixels: usize) -> usize {
    (PIXEL_SIDE / pixels.max(1)).max(1)
}

/// Longest side of the products of strips of a layer, whose rows are at most `rows`.
pub(super) fn strip_side(layer: &FactorSizes, rows: usize) -> usize {
    let pixels = match layer.shape {
        FactorShape::Conv(g) => g.input_pixels().max(g.output_pixels()),
        FactorShape::Tokens(t) => t.tokens,
        FactorShape::Embedding { tokens, .. } => tokens,
        _ => return 0,
    };
    pixels * strip_examples(pixels).min(rows)
}

/// So many examples at a time that the products of their pixels have [`PIXEL_SIDE`] rows.
fn strips(factor: &Factor, arithmetic: &Arithmetic) -> Result<Vec<PixelStrip>> {
    let pixels = match factor {
        Factor::Conv { geometry: g, .. } => g.input_pixels().max(g.output_pixels()),
        other => other.tensors()[0].dim(1)?,
    };
    let (count, strip) = (factor.tensors()[0].dim(0)?, strip_examples(pixels));
    let parts = (0..count).step_by(strip).map(|start| {
        let examples = strip.min(count - start);
        let part = factor.clone().map(|t| t.narrow(0, start, examples))?;
        PixelStrip::new(&part, examples, arithmetic)
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

/// Tokens (n, T, width) as (T n, width).
fn by_token(tokens: &Tensor) -> Result<Tensor> {
    Ok(tokens.transpose(0, 1)?.contiguous()?.flatten(0, 1)?)
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
    fn new(factor: &Factor, examples: usize, arithmetic: &Arithmetic) -> Result<Self> {
        let (inputs, cotangents) = match factor {
            Factor::Conv { inputs, cotangents, geometry, .. } => {
                let inputs = arithmetic.operand(&by_pixel(inputs)?)?;
                (StripInputs::Values(inputs, *geometry), by_pixel(cotangents)?)
            }
            Factor::Dense { inputs, cotangents, .. } => {
                let (_, tokens, width) = inputs.dims3()?;
                let sizes = TokenSizes { tokens, inputs: width, outputs: cotangents.dim(2)? };
                let inputs = arithmetic.operand(&by_token(inputs)?)?;
                (StripInputs::Values(inputs, sizes.geometry()), by_token(cotangents)?)
            }
            Factor::Embedding { ids, cotangents, .. } => {
                let ids = ids.t()?.contiguous()?.flatten_all()?;
                (StripInputs::Ids(ids), by_token(cotangents)?)
            }
            _ => return Err(candle_core::Error::Msg("rows have no pixels".into()).into()),
        };
        Ok(Self { inputs, cotangents: arithmetic.operand(&cotangents)?, examples })
    }

    fn contracted(&self, other: &Self, arithmetic: &Arithmetic) -> Result<Tensor> {
        let examples = [self.examples, other.examples];
        let cotangents = arithmetic.product(&self.cotangents, &other.cotangents)?;
        match (&self.inputs, &other.inputs) {
            (StripInputs::Values(left, geometry), StripInputs::Values(right, _)) => {
                pixel_tile(&arithmetic.product(left, right)?, &cotangents, *geometry, examples)
            }
            (StripInputs::Ids(left), StripInputs::Ids(right)) => {
                token_tile(left, right, &cotangents, examples)
            }
            _ => Err(candle_core::Error::Msg("strips of different layers".into()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use entk_device::Geometry;

    use super::*;

    /// Twelve patches of 2 x 3 x 3 numbers of images of 2 x 5 x 6.
    #[test]
    fn strips_and_patches_have_the_pixels_of_their_convolution() {
        let geometry = Geometry {
            channels: 2,
            filters: 4,
            input: [5, 6],
            output: [3, 4],
            kernel: [3, 3],
            stride: [1, 1],
            before: [0, 0],
            dilation: [1, 1],
        };
        let (names, group, shared_by) = (vec!["conv.weight".to_owned()], 0, 1);
        let of = |shape| FactorSizes { names: names.clone(), shape, group, shared_by };
        let conv = of(FactorShape::Conv(geometry));
        assert_eq!(conv.patches(), 12 * 18);
        // The 30 pixels of few images, or of as many as fill a strip.
        assert_eq!(strip_side(&conv, 7), 7 * 30);
        assert_eq!(strip_side(&conv, usize::MAX), PIXEL_SIDE / 30 * 30);
        assert_eq!(strip_side(&of(FactorShape::Dense { inputs: 5, outputs: 3 }), 7), 0);
    }
}
