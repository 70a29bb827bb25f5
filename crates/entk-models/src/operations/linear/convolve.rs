//! Convolution: images, a weight and maybe a bias go in. Its factor is the images and the
//! cotangents at its output, unexpanded.

use std::ops::Range;

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::{
        conv::{conv2d, input_vjp},
        entrywise::add,
        padding::Padding,
    },
    operation::{MixedCotangents, NormMode, Operation, add_tangents},
};

/// Two-dimensional cross-correlation: images (C, H, W), a weight (C', C, k, k) that follows from
/// parameters alone, and a bias (C') if it is given.
#[derive(Debug, Clone, Copy)]
pub struct Convolve {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: Padding,
}

impl Default for Convolve {
    fn default() -> Self {
        Self { stride: [1; 2], padding: Padding::Same }
    }
}

/// What derivatives of a [`Convolve`] need.
#[derive(Debug)]
pub struct ConvolveCache {
    x: Tensor,
    /// (C', C, k, k).
    weight: Tensor,
    geometry: Geometry,
}

impl Convolve {
    fn geometry(&self, input: &[usize], weight: &[usize]) -> Result<Geometry> {
        let &[filters, channels, kh, kw] = weight else {
            return Err(ModelError::shape("convolution weight", "(C', C, k, k)", weight));
        };
        match *input {
            [c, height, width] if c == channels && height * width > 0 => {
                if self.stride.contains(&0) || weight.contains(&0) {
                    return Err(ModelError::zero("convolution: kernel, stride and filters"));
                }
                let sizes = [channels, height, width];
                self.padding.geometry("convolution", sizes, filters, [kh, kw], self.stride)
            }
            _ => {
                Err(ModelError::shape("convolution input", format!("(N, {channels}, H, W)"), input))
            }
        }
    }
}

fn pair(
    names: &[&str],
    inputs: &Tensor,
    cotangents: &Tensor,
    bias: bool,
    geometry: Geometry,
) -> Factor {
    Factor::Conv {
        weight: names[1].to_owned(),
        bias: names.get(2).filter(|_| bias).map(|name| (*name).to_owned()),
        inputs: inputs.clone(),
        cotangents: cotangents.clone(),
        geometry,
    }
}

impl Operation for Convolve {
    type Cache = ConvolveCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, weight, bias) = match inputs {
            [x, weight] => (x, weight, None),
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => return Err(ModelError::arity(self, inputs.len())),
        };
        let g = self.geometry(x, weight)?;
        if let Some(bias) = bias.filter(|bias| ***bias != [g.filters]) {
            return Err(ModelError::shape("convolution bias", format!("({})", g.filters), bias));
        }
        Ok(vec![g.filters, g.output[0], g.output[1]])
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, ConvolveCache)> {
        let (x, weight) = (inputs[0].clone(), inputs[1].squeeze(0)?);
        let geometry = self.geometry(&x.dims()[1..], weight.dims())?;
        let bias = inputs.get(2).map(|b| b.squeeze(0)).transpose()?;
        let y = conv2d(&x, &weight, bias.as_ref(), geometry)?;
        Ok((y, ConvolveCache { x, weight, geometry }))
    }

    fn jvp(&self, cache: &ConvolveCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let ConvolveCache { x, weight, geometry } = cache;
        let bias = tangents.get(2).copied().flatten().map(|b| b.squeeze(0)).transpose()?;
        let moves = tangents[1].is_some() || bias.is_some();
        let moved = moves.then(|| match tangents[1] {
            Some(dw) => conv2d(x, &dw.squeeze(0)?, bias.as_ref(), *geometry),
            None => conv2d(x, &weight.zeros_like()?, bias.as_ref(), *geometry),
        });
        let through = tangents[0].map(|dx| conv2d(dx, weight, None, *geometry)).transpose()?;
        let sum = add_tangents(moved.transpose()?, through)?;
        sum.ok_or(ModelError::Cache { what: "tangent" })
    }

    fn vjp(
        &self,
        cache: &ConvolveCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dx = || input_vjp(dy, &cache.weight, cache.geometry);
        let dx = wanted[0].then(dx).transpose()?;
        Ok(std::iter::once(dx).chain(wanted[1..].iter().map(|_| None)).collect())
    }

    /// The input's cotangent is linear in the cotangent and in the weight.
    fn mixed_vjp(
        &self,
        cache: &ConvolveCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let mut cotangents = vec![None; wanted.len()];
        if wanted[0] {
            let mut moved = input_vjp(ddy, &cache.weight, cache.geometry)?;
            if let Some(weight) = tangents[1] {
                let through = input_vjp(dy, &weight.squeeze(0)?, cache.geometry)?;
                moved = add(&moved, &through)?;
            }
            cotangents[0] = Some((input_vjp(dy, &cache.weight, cache.geometry)?, moved));
        }
        Ok(cotangents)
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        self.geometry(inputs[0], inputs[1]).map_or(0.0, |geometry| geometry.operations())
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input == 0 && zero[1]).collect()
    }

    fn structured(&self) -> Range<usize> {
        1..3
    }

    fn factor(&self, cache: &ConvolveCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        Ok(Some(pair(names, &cache.x, dy, true, cache.geometry)))
    }

    fn moved_factor(
        &self,
        cache: &ConvolveCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>> {
        Ok(tangents[0].map(|dx| pair(names, dx, dy, false, cache.geometry)))
    }
}
