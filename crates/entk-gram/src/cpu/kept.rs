//! The gradient factors of a data set on the host, layer by layer in the form in which tiles are
//! products of them: made by the engine, read by [`tile`](super::tile).

use std::sync::OnceLock;

use candle_core::Tensor;
use entk_models::{Factor, Real};
use rayon::prelude::*;

use crate::{
    config::Outputs,
    cpu::{
        embedding::EmbeddingRows,
        expansion::Expansion,
        host::{append, host, pixels_first},
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
    shares_inputs: true,
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
        self.layer.kept(self.form, &COSTS)
    }

    /// Rows of the kernel that have the inputs of this layer once.
    fn sharing(&self) -> usize {
        if self.form == Form::Embedding { 1 } else { self.layer.shared_by }
    }

    /// Adds what is kept of the factors of some outputs for `count` examples.
    fn keep<T: Real>(
        &self,
        factors: &[Factor],
        count: usize,
        group: &mut HostGroup<T>,
    ) -> Result<()> {
        let Some(first) = factors.first() else { return Ok(()) };
        match (&self.contraction, first) {
            (Contraction::Rows, _) | (_, Factor::Rows { .. }) => {
                let rows = match factors {
                    [factor] => factor.rows()?,
                    factors => Factor::rows_of_outputs(factors)?,
                };
                group.rows.push(host(&rows, count)?);
            }
            (_, Factor::Embedding { .. }) => {
                let of = |factor| embedding_rows(factor, count);
                group.embeddings.push(factors.iter().map(of).collect::<Result<_>>()?);
            }
            _ => group.pairs.push(self.pair::<T>(factors, count)?),
        }
        Ok(())
    }

    /// Inputs, once where outputs share them, and cotangents of all outputs of an example side by
    /// side.
    fn pair<T: Real>(&self, factors: &[Factor], count: usize) -> Result<[Tensor; 2]> {
        let by_pixel = matches!(
            (&self.contraction, self.layer.shape),
            (Contraction::Pixels(_), FactorShape::Conv(_))
        );
        let side = |at: usize, factors: &[Factor]| {
            let tensors = factors.iter().map(|factor| factor.tensors()[at].narrow(0, 0, count));
            let mut tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
            let all = match tensors.len() {
                1 => tensors.swap_remove(0),
                _ => Tensor::stack(&tensors, 1)?.flatten(0, 1)?,
            };
            let all = host(&all, all.dim(0)?)?;
            if by_pixel { pixels_first::<T>(&all) } else { Ok(all) }
        };
        let inputs = if self.sharing() > 1 { &factors[..1] } else { factors };
        Ok([side(0, inputs)?, side(1, factors)?])
    }
}

/// What is kept of an embedding for one output.
fn embedding_rows<T: Real>(factor: &Factor, count: usize) -> Result<EmbeddingRows<T>> {
    let Factor::Embedding { ids, cotangents, .. } = factor else {
        return Err(candle_core::Error::Msg("factor: of no embedding".into()).into());
    };
    let (_, tokens, width) = cotangents.dims3()?;
    let ids = host(ids, count)?.flatten_all()?.to_vec1()?;
    let cotangents = host(cotangents, count)?.flatten_all()?.to_vec1()?;
    Ok(EmbeddingRows::of_tokens(&ids, &cotangents, tokens, width))
}

/// Factors of some examples as they are kept, of a group of outputs: for each example the rows of
/// all outputs side by side.
struct HostGroup<T> {
    /// Rows of the kernel that an example has of this group.
    outputs: usize,
    rows: Vec<Tensor>,
    pairs: Vec<[Tensor; 2]>,
    embeddings: Vec<Vec<EmbeddingRows<T>>>,
}

impl<T> HostGroup<T> {
    fn new(outputs: usize) -> Self {
        Self { outputs, rows: Vec::new(), pairs: Vec::new(), embeddings: Vec::new() }
    }
}

/// The wanted factors of a micro-batch, for each group of rows that an example has in the kernel,
/// and the number of examples.
type HostBatch<T> = (Vec<HostGroup<T>>, usize);

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
            kept.pairs.push(FactorPair::with_capacity(count, widths, layer.sharing())?);
            kept.contractions.push(layer.contraction.clone());
        }
        Ok(Self { rows: Rows::with_capacity(count, width)?, ..kept })
    }

    /// Appends the rows of a micro-batch, those of one example side by side, layer by layer on all
    /// threads.
    fn push(&mut self, (all, count): &HostBatch<T>) -> Result<()> {
        let Self { rows, pairs, embeddings, .. } = self;
        let short: Vec<_> =
            all.iter().map(|group| (group.outputs, group.rows.iter().collect())).collect();
        append(rows, &short, *count)?;
        pairs.par_iter_mut().enumerate().try_for_each(|(at, pair)| {
            let side = |side: usize, groups: usize| -> Vec<(usize, Vec<&Tensor>)> {
                all[..groups].iter().map(|group| (1, vec![&group.pairs[at][side]])).collect()
            };
            let with_inputs = if pair.sharing > 1 { 1 } else { all.len() };
            append(&mut pair.inputs, &side(0, with_inputs), *count)?;
            append(&mut pair.cotangents, &side(1, all.len()), *count)
        })?;
        for (at, embedding) in embeddings.iter_mut().enumerate() {
            for example in 0..*count {
                let outputs = all.iter().flat_map(|group| &group.embeddings[at]);
                outputs.for_each(|rows| embedding.push(rows, example));
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

/// Sweeps one micro-batch, those outputs that have wanted layers.
fn host_batch<T: Real>(
    ntk: &Ntk<'_>,
    batch: &Tensor,
    layers: &OnceLock<Vec<CpuLayer>>,
    group: Option<&[usize]>,
) -> Result<HostBatch<T>> {
    let count = batch.dim(0)?;
    let is_full = ntk.config.outputs == Outputs::Full;
    let wanted = match group {
        Some(group) if !is_full => Some(outputs_of(group, CpuLayer::all(ntk, layers)?)),
        _ => None,
    };
    let mut groups: Vec<HostGroup<T>> = Vec::new();
    ntk.sweep(batch, wanted.as_deref(), &mut |outputs, swept| {
        let layers = CpuLayer::all(ntk, layers)?;
        if is_full || groups.is_empty() {
            groups.push(HostGroup::new(swept.first().map_or(1, Vec::len)));
        }
        let Some(kept) = groups.last_mut() else { return Ok(()) };
        let mut at = match is_full {
            true => 0,
            false => layers.partition_point(|layer| layer.layer.group < outputs),
        };
        // One after the other, so that the tensors of each are freed before the next is copied.
        for factors in swept {
            for part in parts(factors, layers.get(at))? {
                if let Some(layer) = layers.get(at).filter(|_| is_in(group, at)) {
                    layer.keep(&part, count, kept)?;
                }
                at += 1;
            }
        }
        Ok(())
    })?;
    Ok((groups, count))
}

/// The groups of outputs, of a trace, to which some layers belong.
fn outputs_of(layers: &[usize], all: &[CpuLayer]) -> Vec<usize> {
    let mut outputs: Vec<_> = layers.iter().map(|at| all[*at].layer.group).collect();
    outputs.dedup();
    outputs
}

/// Whether a layer belongs to a group, ascending, or to all.
fn is_in(group: Option<&[usize]>, layer: usize) -> bool {
    group.is_none_or(|group| group.binary_search(&layer).is_ok())
}

/// Factors of some outputs in the parts in which their layer is contracted, of which `first` is the
/// first.
fn parts(factors: Vec<Factor>, first: Option<&CpuLayer>) -> Result<Vec<Vec<Factor>>> {
    let names = factors.first().map_or(0, |factor| factor.names().len());
    if first.is_none_or(|first| first.layer.names.len() == names) {
        return Ok(vec![factors]);
    }
    let (mut biases, mut weights) = (Vec::new(), Vec::new());
    for factor in factors {
        let (weight, bias) = factor.split_bias()?;
        biases.extend(bias);
        weights.push(weight);
    }
    Ok(vec![biases, weights])
}
