//! The gradient factors of a data set on the host, layer by layer in the form in which tiles are
//! products of them: made by the engine, read by [`tile`](super::tile).

use std::sync::OnceLock;

use candle_core::{Device, Layout, Storage, Tensor, WithDType};
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

    /// Adds what is kept of a factor of `count` examples.
    fn keep<T: Real>(&self, factor: &Factor, count: usize, row: &mut HostRow<T>) -> Result<()> {
        let in_rows = matches!(self.contraction, Contraction::Rows);
        let (inputs, cotangents) = match factor {
            Factor::Embedding { ids, cotangents, .. } if !in_rows => {
                let (_, tokens, width) = cotangents.dims3()?;
                let ids = host(ids, count)?.flatten_all()?.to_vec1()?;
                let cotangents = host(cotangents, count)?.flatten_all()?.to_vec1()?;
                let rows = EmbeddingRows::of_tokens(&ids, &cotangents, tokens, width);
                row.embeddings.push(rows);
                return Ok(());
            }
            Factor::Dense { inputs, cotangents, .. } | Factor::Conv { inputs, cotangents, .. }
                if !in_rows =>
            {
                (host(inputs, count)?, host(cotangents, count)?)
            }
            _ => {
                row.rows.push(host(&factor.rows()?, count)?);
                return Ok(());
            }
        };
        row.pairs.push(match (&self.contraction, self.layer.shape) {
            (Contraction::Pixels(_), FactorShape::Conv(_)) => {
                [pixels_first::<T>(&inputs)?, pixels_first::<T>(&cotangents)?]
            }
            _ => [inputs, cotangents],
        });
        Ok(())
    }
}

/// Factors of some examples as they are kept, with one row of each tensor an example.
struct HostRow<T> {
    rows: Vec<Tensor>,
    pairs: Vec<[Tensor; 2]>,
    embeddings: Vec<EmbeddingRows<T>>,
}

impl<T> Default for HostRow<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), pairs: Vec::new(), embeddings: Vec::new() }
    }
}

/// The wanted factors of a micro-batch, for each row of the kernel that an example has, and the
/// number of examples.
type HostBatch<T> = (Vec<HostRow<T>>, usize);

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
            batches.into_iter().try_for_each(|batch| all.push(&batch))?;
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

    /// Appends the rows of a micro-batch, those of one example side by side, layer by layer on all
    /// threads.
    fn push(&mut self, (outputs, count): &HostBatch<T>) -> Result<()> {
        let Self { rows, pairs, embeddings, .. } = self;
        let short: Vec<Vec<&Tensor>> =
            outputs.iter().map(|row| row.rows.iter().collect()).collect();
        append(rows, &short, *count)?;
        pairs.par_iter_mut().enumerate().try_for_each(|(at, pair)| {
            let side = |side: usize| -> Vec<Vec<&Tensor>> {
                outputs.iter().map(|row| vec![&row.pairs[at][side]]).collect()
            };
            append(&mut pair.inputs, &side(0), *count)?;
            append(&mut pair.cotangents, &side(1), *count)
        })?;
        for (at, embedding) in embeddings.iter_mut().enumerate() {
            for example in 0..*count {
                outputs.iter().for_each(|row| embedding.push(&row.embeddings[at], example));
            }
        }
        Ok(())
    }

    /// The dense layers, one an output, whose inputs are those of the model.
    pub(crate) fn first_layers(&self, inputs: &Tensor) -> Result<Vec<usize>> {
        let (n, mut start) = (inputs.dim(0)?, 0);
        let dense = |at: &usize| matches!(self.contractions[*at], Contraction::Hadamard { .. });
        let mut first: Vec<usize> = (0..self.pairs.len()).filter(dense).collect();
        while start < n && !first.is_empty() {
            let count = COMPARED.min(n - start);
            let block = inputs.narrow(0, start, count)?.flatten_all()?.to_vec1::<T>()?;
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
            rows.push(HostRow::default());
            at = 0;
        }
        // One after the other, so that the tensors of each are freed before the next is copied.
        for factor in factors {
            for part in parts(factor, layers.get(at))? {
                if let Some(layer) = layers.get(at).filter(|_| is_in(group, at)) {
                    layer.keep(&part, count, &mut rows[row])?;
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

/// Images (N, C, H, W) as (N, H W, C).
fn pixels_first<T: Real>(images: &Tensor) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let pixels = height * width;
    let mut result: Vec<T> = Vec::with_capacity(images.elem_count());
    let (storage, layout) = images.storage_and_layout();
    for image in host_slice::<T>(&storage, layout)?.chunks_exact(channels * pixels) {
        for pixel in 0..pixels {
            result.extend(image[pixel..].iter().step_by(pixels));
        }
    }
    Ok(Tensor::from_vec(result, (count, pixels, channels), &Device::Cpu)?)
}

/// Appends the rows of `count` examples: for each example those of all outputs, and for each of
/// these its row of every tensor.
fn append<T: Real>(rows: &mut Rows<T>, outputs: &[Vec<&Tensor>], count: usize) -> Result<()> {
    let tensors = outputs.iter().flatten();
    let guards: Vec<_> = tensors.map(|tensor| tensor.storage_and_layout()).collect();
    let slices = guards.iter().map(|(storage, layout)| host_slice::<T>(storage, layout));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    for example in 0..count {
        for slice in &slices {
            let width = slice.len() / count;
            rows.extend(&slice[example * width..(example + 1) * width]);
        }
    }
    Ok(())
}

/// The first `count` rows of a tensor whose first axis is the batch, contiguous on the host; no
/// copy where they are.
fn host(tensor: &Tensor, count: usize) -> Result<Tensor> {
    Ok(tensor.narrow(0, 0, count)?.to_device(&Device::Cpu)?.contiguous()?)
}

/// The entries of a contiguous tensor on the host.
fn host_slice<'s, T: WithDType>(storage: &'s Storage, layout: &Layout) -> Result<&'s [T]> {
    let (Storage::Cpu(storage), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        return Err(candle_core::Error::Msg("factor: not contiguous on the host".into()).into());
    };
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}
