//! The gradient factors of a data set on the host, layer by layer in the form in which tiles are
//! products of them: made by the engine, read by [`tile`](super::tile).

use std::sync::OnceLock;

use candle_core::{Device, Tensor, WithDType};
use entk_models::{Factor, Real};
use rayon::prelude::*;

use crate::{
    cpu::{
        embedding::EmbeddingRows,
        expansion::Expansion,
        pixels::PixelPairs,
        rows::{FactorPair, Rows},
    },
    error::Result,
    factors::form::{FactorShape, FactorSizes, Form, FormCosts, TokenSizes},
    ntk::Ntk,
};

/// Examples compared at a time.
const COMPARED: usize = 1024;

/// Products of pixels are added one by one here; pairs that no tap reads are left out, and tokens
/// of different ids.
pub(crate) static COSTS: FormCosts = FormCosts {
    addition: 16,
    all_pixel_pairs: false,
    expands_jacobian: false,
    bias_is_separate: |form| matches!(form, Form::Pixels | Form::Expanded),
};
/// A part of a layer that is contracted by itself, and how.
#[derive(Debug)]
pub(crate) struct CpuLayer {
    pub(crate) layer: FactorSizes,
    pub(crate) form: Form,
    pub(crate) contraction: Contraction,
}

/// How a layer's share of the kernel follows from what is kept.
#[derive(Debug, Clone)]
pub(crate) enum Contraction {
    /// Rows of the Jacobian, side by side with those of other layers.
    Rows,
    /// A dense layer: `(a a'^T + bias) * (d d'^T)`.
    Hadamard { bias: bool },
    /// A layer on few pixels or tokens, both matrices pixel by pixel: products of pairs of pixels.
    Pixels(PixelPairs),
    /// A layer whose rows are expanded, some filters or outputs at a time, and multiplied.
    Expanded(Expansion),
    /// An embedding: products of sums of cotangents, id by id.
    Embedding,
}

impl CpuLayer {
    /// All parts of the layers of a kernel, last layer first, found once.
    pub(crate) fn all<'l>(ntk: &Ntk<'_>, found: &'l OnceLock<Vec<Self>>) -> Result<&'l [Self]> {
        let layers = ntk.layers()?;
        let parts = |layer: &FactorSizes| {
            let form = layer.form(ntk.config.strategy, &COSTS);
            layer.parts(form, &COSTS)
        };
        let parts = || layers.iter().flat_map(parts).map(|(layer, form)| Self::new(layer, form));
        Ok(found.get_or_init(|| parts().collect()))
    }

    fn new(layer: FactorSizes, form: Form) -> Self {
        let contraction = match (form, layer.shape) {
            (Form::Dense, _) => Contraction::Hadamard { bias: layer.bias() },
            (Form::Pixels, FactorShape::Conv(g)) => Contraction::Pixels(PixelPairs::new(g)),
            (Form::Pixels, FactorShape::Tokens(t)) => {
                Contraction::Pixels(PixelPairs::new(t.geometry()))
            }
            (Form::Expanded, FactorShape::Conv(g)) => Contraction::Expanded(Expansion::of_conv(g)),
            (Form::Expanded, FactorShape::Tokens(t)) => {
                Contraction::Expanded(Expansion::of_tokens(t))
            }
            (Form::Embedding, _) => Contraction::Embedding,
            _ => Contraction::Rows,
        };
        Self { layer, form, contraction }
    }

    /// Numbers that are kept of a row of the kernel.
    pub(crate) fn kept(&self) -> usize {
        self.layer.kept(self.form)
    }

    fn to_host<T: Real>(&self, factor: &Factor, count: usize) -> Result<HostFactor<T>> {
        let rows = || Ok(HostFactor::Rows(host(&factor.rows()?, count)?));
        let (inputs, cotangents) = match factor {
            _ if matches!(self.contraction, Contraction::Rows) => return rows(),
            Factor::Embedding { ids, cotangents, .. } => {
                let (_, tokens, width) = cotangents.dims3()?;
                let (ids, cotangents) = (host(ids, count)?, host(cotangents, count)?);
                let rows = EmbeddingRows::of_tokens(&ids, &cotangents, tokens, width);
                return Ok(HostFactor::Embedding(rows));
            }
            Factor::Dense { inputs, cotangents, .. } | Factor::Conv { inputs, cotangents, .. } => {
                (host(inputs, count)?, host(cotangents, count)?)
            }
            _ => return rows(),
        };
        Ok(match (&self.contraction, self.layer.shape) {
            (Contraction::Pixels(_), FactorShape::Conv(g)) => HostFactor::Pair {
                inputs: pixels_first(&inputs, g.channels, g.input_pixels()),
                cotangents: pixels_first(&cotangents, g.filters, g.output_pixels()),
            },
            _ => HostFactor::Pair { inputs, cotangents },
        })
    }
}

/// A factor of some examples as it is kept, example by example.
enum HostFactor<T> {
    Rows(Vec<T>),
    Pair { inputs: Vec<T>, cotangents: Vec<T> },
    Embedding(EmbeddingRows<T>),
}

/// The wanted factors of a micro-batch, for each row of the kernel that an example has, and the
/// number of examples.
type HostBatch<T> = (Vec<Vec<HostFactor<T>>>, usize);

/// Gradients of a data set, of all layers or of some.
#[derive(Debug)]
pub(crate) struct KeptFactors<T> {
    /// Jacobian rows of all layers whose rows are short, side by side: one product.
    pub(crate) rows: Rows<T>,
    /// Inputs and cotangents of the layers that have them, in the order of the backward sweep.
    pub(crate) pairs: Vec<FactorPair<T>>,
    /// How each of them is contracted.
    pub(crate) contractions: Vec<Contraction>,
    /// Gradients of embeddings, in the order of the backward sweep.
    pub(crate) embeddings: Vec<EmbeddingRows<T>>,
}

impl<T: Real> KeptFactors<T> {
    /// One forward and backward sweep over `inputs`; the factors of a group of layers are kept, or
    /// of all.
    ///
    /// So many micro-batches are swept side by side, and joined in their order.
    pub(crate) fn collect(
        ntk: &Ntk<'_>,
        inputs: &Tensor,
        layers: &OnceLock<Vec<CpuLayer>>,
        group: Option<&[usize]>,
        side_by_side: usize,
    ) -> Result<Self> {
        let n = inputs.dim(0)?;
        let size = ntk.micro_batch(n);
        let starts: Vec<usize> = (0..n).step_by(size).collect();
        // Made once the first sweeps are over, so that it takes the memory that they have freed.
        let mut kept = None;
        for starts in starts.chunks(side_by_side.max(1)) {
            ntk.check_stop()?;
            let batch = |start: &usize| {
                let batch = inputs.narrow(0, *start, size.min(n - start))?;
                host_batch(ntk, &batch, layers, group)
            };
            let batches: Vec<_> = starts.par_iter().map(batch).collect::<Result<_>>()?;
            let mut all = match kept.take() {
                Some(kept) => kept,
                None => Self::empty(CpuLayer::all(ntk, layers)?, group, ntk.rows_of(inputs)?)?,
            };
            // Each batch is freed as it is appended.
            batches.into_iter().for_each(|batch| all.push(&batch));
            kept = Some(all);
        }
        let mut kept = kept.map_or_else(|| Self::empty(&[], None, 0), Ok)?;
        kept.rows.pad();
        kept.pairs.iter_mut().for_each(FactorPair::pad);
        Ok(kept)
    }

    /// No rows yet, and memory for `count`.
    fn empty(layers: &[CpuLayer], group: Option<&[usize]>, count: usize) -> Result<Self> {
        let mut kept = Self {
            rows: Rows::default(),
            pairs: Vec::new(),
            contractions: Vec::new(),
            embeddings: Vec::new(),
        };
        let mut width = 0;
        for (_, layer) in layers.iter().enumerate().filter(|(at, _)| is_in(group, *at)) {
            let widths = match (&layer.contraction, layer.layer.shape) {
                (Contraction::Rows, _) | (_, FactorShape::Rows { .. }) => {
                    width += layer.kept();
                    continue;
                }
                (_, FactorShape::Embedding { tokens, width, .. }) => {
                    kept.embeddings.push(EmbeddingRows::with_capacity(count, tokens, width)?);
                    continue;
                }
                (_, FactorShape::Dense { inputs, outputs }) => [inputs, outputs],
                (_, FactorShape::Tokens(TokenSizes { tokens, inputs, outputs })) => {
                    [tokens * inputs, tokens * outputs]
                }
                (_, FactorShape::Conv(g)) => [g.input_len(), g.output_len()],
            };
            kept.pairs.push(FactorPair::with_capacity(count, widths)?);
            kept.contractions.push(layer.contraction.clone());
        }
        Ok(Self { rows: Rows::with_capacity(count, width)?, ..kept })
    }

    /// Appends the rows of a micro-batch, those of one example side by side.
    fn push(&mut self, (outputs, count): &HostBatch<T>) {
        let row = |values: &[T], example: usize| {
            let width = values.len() / count;
            example * width..(example + 1) * width
        };
        for example in 0..*count {
            for factors in outputs {
                let (mut pairs, mut embeddings) =
                    (self.pairs.iter_mut(), self.embeddings.iter_mut());
                for factor in factors {
                    match factor {
                        HostFactor::Rows(rows) => self.rows.extend(&rows[row(rows, example)]),
                        HostFactor::Pair { inputs: a, cotangents: d } => {
                            if let Some(pair) = pairs.next() {
                                pair.inputs.extend(&a[row(a, example)]);
                                pair.cotangents.extend(&d[row(d, example)]);
                            }
                        }
                        HostFactor::Embedding(rows) => {
                            if let Some(embedding) = embeddings.next() {
                                embedding.push(rows, example);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The dense layers, one an output, whose inputs are those of the model.
    pub(crate) fn first_layers(&self, inputs: &Tensor) -> Result<Vec<usize>> {
        let (n, mut start) = (inputs.dim(0)?, 0);
        let dense = |at: &usize| matches!(self.contractions[*at], Contraction::Hadamard { .. });
        let mut first: Vec<usize> = (0..self.pairs.len()).filter(dense).collect();
        while start < n && !first.is_empty() {
            let count = COMPARED.min(n - start);
            let block = host::<T>(&inputs.narrow(0, start, count)?, count)?;
            first.retain(|&at| self.pairs[at].inputs.part(&(start..start + count)) == block);
            start += count;
        }
        Ok(first)
    }
}

/// Sweeps one micro-batch.
fn host_batch<T: Real>(
    ntk: &Ntk<'_>,
    batch: &Tensor,
    layers: &OnceLock<Vec<CpuLayer>>,
    group: Option<&[usize]>,
) -> Result<HostBatch<T>> {
    let count = batch.dim(0)?;
    let (mut rows, mut at) = (Vec::new(), 0);
    ntk.sweep(batch, &mut |row, factors| {
        let layers = CpuLayer::all(ntk, layers)?;
        if row == rows.len() {
            rows.push(Vec::new());
            at = 0;
        }
        // One after the other, so that the tensors of each are freed before the next is copied.
        for factor in factors {
            for part in parts(factor, layers.get(at))? {
                if let Some(layer) = layers.get(at).filter(|_| is_in(group, at)) {
                    rows[row].push(layer.to_host(&part, count)?);
                }
                at += 1;
            }
        }
        Ok(())
    })?;
    Ok((rows, count))
}

/// Whether a layer belongs to a group, ascending, or to all.
fn is_in(group: Option<&[usize]>, layer: usize) -> bool {
    group.is_none_or(|group| group.binary_search(&layer).is_ok())
}

/// A factor in the parts in which its layer is contracted, of which `first` is the first.
fn parts(factor: Factor, first: Option<&CpuLayer>) -> Result<Vec<Factor>> {
    let is_whole = first.is_none_or(|first| first.layer.names.len() == factor.names().len());
    if is_whole {
        return Ok(vec![factor]);
    }
    let (weight, bias) = factor.split_bias()?;
    Ok(bias.into_iter().chain([weight]).collect())
}

/// Images (N, C, H W) as (N, H W, C).
fn pixels_first<T: Real>(images: &[T], channels: usize, pixels: usize) -> Vec<T> {
    let mut result = Vec::with_capacity(images.len());
    for image in images.chunks_exact(channels * pixels) {
        for pixel in 0..pixels {
            result.extend(image[pixel..].iter().step_by(pixels));
        }
    }
    result
}

/// The first `count` rows of a tensor whose first axis is the batch.
fn host<T: WithDType>(tensor: &Tensor, count: usize) -> Result<Vec<T>> {
    Ok(tensor.narrow(0, 0, count)?.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<T>()?)
}
