use std::ops::Range;

use candle_core::Tensor;
use entk_models::{Factor, Geometry};

use super::{
    leaf::Leaf,
    pixels::contract_pixels,
    products::{Arithmetic, Operand},
    schedule::Piece,
};
use crate::error::Result;

/// Longest side of the products of pixels: they are made for so many pixels of some examples at a time.
const PIXEL_SIDE: usize = 8192;

/// What some rows of the kernel contribute to products with others.
#[derive(Debug)]
pub(crate) enum Term {
    /// `J J'^T`.
    Rows(Operand),
    /// `(a a'^T + bias) * (d d'^T)`.
    Dense { inputs: Operand, cotangents: Operand, bias: bool },
    /// Sums over pairs of pixels, strip by strip.
    Pixels(Vec<PixelStrip>),
}

/// A convolution's inputs and cotangents for a few examples, the pixels of all examples one after the other.
#[derive(Debug)]
pub(crate) struct PixelStrip {
    inputs: Operand,
    cotangents: Operand,
    examples: usize,
    geometry: Geometry,
}

/// The terms of some pieces of the leaves: rows side by side as one term, each other leaf its own.
pub(crate) fn terms(
    leaves: &[&Leaf],
    pieces: &[Piece],
    batch: usize,
    arithmetic: &Arithmetic,
) -> Result<Vec<Term>> {
    let (mut rows, mut terms) = (Vec::new(), Vec::new());
    for (leaf, piece) in leaves.iter().zip(pieces) {
        match (&leaf.factor, leaf.form) {
            (Factor::Dense { inputs, cotangents, bias, .. }, crate::plan::Form::Dense) => {
                terms.push(Term::Dense {
                    inputs: Operand::new(inputs, arithmetic)?,
                    cotangents: Operand::new(cotangents, arithmetic)?,
                    bias: bias.is_some(),
                });
            }
            (Factor::Conv { inputs, cotangents, geometry, .. }, crate::plan::Form::Pixels) => {
                terms.push(Term::Pixels(strips(inputs, cotangents, *geometry, arithmetic)?));
            }
            _ => rows.push(in_batches(leaf, &piece.channels, batch)?),
        }
    }
    if !rows.is_empty() {
        let rows = if rows.len() == 1 { rows.swap_remove(0) } else { Tensor::cat(&rows, 1)? };
        terms.insert(0, Term::Rows(Operand::new(&rows, arithmetic)?));
    }
    Ok(terms)
}

/// The rows of a leaf, some examples at a time: the patches of all of them would be many times longer.
fn in_batches(leaf: &Leaf, channels: &Range<usize>, batch: usize) -> Result<Tensor> {
    if let Factor::Rows { .. } = leaf.factor {
        return leaf.rows(channels);
    }
    let count = leaf.count();
    let parts = (0..count).step_by(batch).map(|start| {
        let part = leaf.narrow(&(start..count.min(start + batch)))?;
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
        let part = |t: &Tensor| Operand::new(&by_pixel(&t.narrow(0, start, examples)?)?, arithmetic);
        Ok(PixelStrip { inputs: part(inputs)?, cotangents: part(cotangents)?, examples, geometry })
    });
    parts.collect()
}

/// Images (n, C, H, W) as (H W n, C): neighbouring entries of a product are then those of neighbouring
/// examples, as the threads that read them are.
fn by_pixel(images: &Tensor) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let by_pixel = images.reshape((count, channels, height * width))?.permute((2, 0, 1))?;
    Ok(by_pixel.contiguous()?.reshape((height * width * count, channels))?)
}

impl Term {
    /// Adds the products of this term with the same term of other rows; no tile stands for zeros.
    pub(crate) fn add(
        &self,
        other: &Self,
        tile: Option<Tensor>,
        arithmetic: &Arithmetic,
    ) -> Result<Option<Tensor>> {
        match (self, other) {
            (Self::Rows(left), Self::Rows(right)) => left.add_product(right, tile, arithmetic),
            (
                Self::Dense { inputs, cotangents, bias },
                Self::Dense { inputs: others, cotangents: other_cotangents, .. },
            ) => {
                let a = inputs.add_product(others, None, arithmetic)?;
                let d = cotangents.add_product(other_cotangents, None, arithmetic)?;
                let (Some(a), Some(d)) = (a, d) else { return Ok(tile) };
                let a = if *bias { (a + 1.0)? } else { a };
                plus(tile, (a * d)?)
            }
            (Self::Pixels(left), Self::Pixels(right)) => plus(tile, pixel_tile(left, right, arithmetic)?),
            _ => Err(candle_core::Error::Msg("terms of different layers".into()).into()),
        }
    }
}

fn plus(tile: Option<Tensor>, more: Tensor) -> Result<Option<Tensor>> {
    Ok(Some(match tile {
        Some(tile) => (tile + more)?,
        None => more,
    }))
}

fn pixel_tile(left: &[PixelStrip], right: &[PixelStrip], arithmetic: &Arithmetic) -> Result<Tensor> {
    let row = |a: &PixelStrip| {
        let tiles = right.iter().map(|b| a.contracted(b, arithmetic));
        Ok(Tensor::cat(&tiles.collect::<Result<Vec<_>>>()?, 1)?)
    };
    Ok(Tensor::cat(&left.iter().map(row).collect::<Result<Vec<_>>>()?, 0)?)
}

impl PixelStrip {
    fn contracted(&self, other: &Self, arithmetic: &Arithmetic) -> Result<Tensor> {
        let inputs = self.inputs.add_product(&other.inputs, None, arithmetic)?;
        let cotangents = self.cotangents.add_product(&other.cotangents, None, arithmetic)?;
        let examples = [self.examples, other.examples];
        match (inputs, cotangents) {
            (Some(a), Some(d)) => contract_pixels(&a, &d, self.geometry, examples),
            _ => Err(candle_core::Error::Msg("a convolution without channels".into()).into()),
        }
    }
}
