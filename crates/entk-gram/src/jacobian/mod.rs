//! [`JacobianOperator`]: a model, parameters and examples come in, products with the Jacobian and
//! its transpose go out, many columns at a time. Eigensolvers call it where a kernel is not formed.

mod block;
mod columns;
mod exact;

use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::{Device, Tensor};
use entk_device::InputSource;
use entk_models::{Factor, InputKind, Model, ModelError, Params};
use entk_spectral::{EntryType, LinearOperator, SpectralError, check_images};
use rayon::prelude::*;

use crate::{
    config::{GramConfig, Outputs},
    error::{GramError, Result, operator_error},
    factors::form::{FactorShape, FactorSizes},
    jacobian::{
        block::LayerBlock,
        columns::{CHUNK, ColumnChunk, ColumnLayout},
    },
    ntk::{Ntk, as_read, check_inputs, entry_type},
    progress::Observer,
};

/// Examples on which a model is checked before the first product.
const CHECKED: usize = 64;
/// Most examples whose gradients are at hand at a time, and the bytes that these take.
const GROUP: usize = 512;
const GROUP_BYTES: usize = 256 << 20;

/// The Jacobian J of a model over a data set of any size, as an operator that is never formed: its
/// Gram J J^T ([`RowGram`](entk_spectral::RowGram)) is the kernel that [`gram`](crate::gram())
/// assembles with the same [`GramConfig`].
///
/// A row is a row of the kernel. A column is a parameter: layer after layer in the order of the
/// backward pass, without those whose gradient is exactly zero; [`to_params`](Self::to_params)
/// names them. For [`Outputs::Trace`] of C outputs, the rows of all outputs of an example are side
/// by side, and a layer has C times its parameters.
///
/// Inputs but ids are converted to the type of the parameters. A product passes over the examples:
/// each group is read, swept forward and backward once for all columns, and its gradients
/// multiplied by them, dense layers as inputs and cotangents. J is what the sweeps in the type of
/// the parameters give, the same bits in each of them; all sums are in f64, so that J J^T is
/// symmetric to round-off of f64 and eigenpairs can be certified to 1e-10 of the largest, also for
/// parameters in f32. Bits do not depend on the number of threads.
///
/// Cost of c columns: a sweep and 2 P c multiply-adds an example, twice that for J^T J
/// ([`apply_column_gram`](LinearOperator::apply_column_gram), in one pass). Memory:
/// [`bytes`](Self::bytes).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{GramConfig, JacobianOperator, gram};
/// use entk_models::{MlpConfig, Model};
/// use entk_spectral::{EigshConfig, eigsh_row_gram};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::rand(0.0, 1.0, (20, 1, 4, 4), &Device::Cpu)?;
/// let config = GramConfig::default();
/// let jacobian = JacobianOperator::new(&network, &theta, &x, &config)?;
/// let top = eigsh_row_gram(&jacobian, 3, &EigshConfig::default())?;
///
/// let kernel = gram(&network, &theta, &x, &config)?;
/// let image = kernel.matvec(top.pairs.vector(0))?;
/// let first = top.pairs.values()[0] * top.pairs.vector(0)[7];
/// assert!((image[7] - first).abs() < 1e-9 * top.pairs.values()[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JacobianOperator<'a> {
    ntk: Ntk<'a>,
    source: &'a dyn InputSource,
    /// Examples of the source whose rows this operator has.
    examples: Range<usize>,
    layers: Vec<FactorSizes>,
    layout: ColumnLayout,
    /// Rows of the kernel that an example has.
    per: usize,
    /// Examples whose gradients are at hand at a time.
    group: usize,
    observe: &'a Observer<'a>,
}

/// What a pass over the examples computes.
enum Pass<'c> {
    /// J v, in whole columns y.
    Forward { v: &'c [ColumnChunk], y: &'c mut [f64] },
    /// J^T u, for whole columns u.
    Adjoint { u: &'c [f64], g: &'c mut [ColumnChunk] },
    /// J^T J v.
    Both { v: &'c [ColumnChunk], g: &'c mut [ColumnChunk] },
    /// J^T u, and the squared norms of the rows of J.
    Norms { u: &'c [f64], g: &'c mut [ColumnChunk], norms: &'c mut [f64] },
}

impl<'a> JacobianOperator<'a> {
    /// Checks the settings, and on the first examples that gradients which the model leaves out as
    /// exactly zero are so. Of the settings `outputs`, `layers` and `micro_batch` count.
    ///
    /// # Errors
    /// As [`Assembly::new`](crate::Assembly::new), for the first 64 examples; all others are
    /// checked for NaN and infinity as they are read.
    pub fn new(
        model: &'a dyn Model,
        params: &Params,
        source: &'a dyn InputSource,
        config: &GramConfig,
    ) -> Result<Self> {
        if source.examples() == 0 {
            return Err(GramError::Setting { field: "number of examples", got: 0, least: 1 });
        }
        let first = as_taken(&source.read(0..CHECKED.min(source.examples()))?, model, params)?;
        let ntk = Ntk::new(model, params, &first, config)?;
        let layers = ntk.layers()?.to_vec();
        let (layout, per) = (ColumnLayout::new(&layers), ntk.rows_per_example());
        let rows = source.examples().checked_mul(per);
        rows.ok_or(GramError::TooLarge { rows: source.examples(), cols: per })?;
        let numbers: usize = layers.iter().map(|layer| numbers(layer, per)).sum();
        let group = (GROUP_BYTES / (8 * numbers).max(1)).clamp(1, GROUP);
        let examples = 0..source.examples();
        Ok(Self { ntk, source, examples, layers, layout, per, group, observe: &|_, _| {} })
    }

    /// The rows of J of some of its examples, counted from its first one, without checking anything
    /// again: what one of several processes multiplies
    /// ([`DistributedRowGram`](entk_spectral::DistributedRowGram)).
    ///
    /// # Errors
    /// [`GramError::Setting`] for no examples, or more than there are.
    pub fn of_examples(&self, examples: Range<usize>) -> Result<Self> {
        let (count, end) = (examples.len(), self.examples.start.saturating_add(examples.end));
        if count == 0 || end > self.examples.end {
            let (field, got) = ("number of examples of a part", count);
            return Err(GramError::Setting { field, got, least: 1 });
        }
        let examples = self.examples.start + examples.start..end;
        let (ntk, layers, layout) = (self.ntk.clone(), self.layers.clone(), self.layout.clone());
        Ok(Self { ntk, examples, layers, layout, ..*self })
    }

    /// Rows of the kernel that an example has.
    pub fn rows_per_example(&self) -> usize {
        self.per
    }

    /// Tells `observe` after every group of examples how many of a product's pass are done.
    #[must_use]
    pub fn observed(self, observe: &'a Observer<'a>) -> Self {
        Self { observe, ..self }
    }

    /// Ends a product with an error soon after `stop` becomes true.
    #[must_use]
    pub fn stoppable(mut self, stop: &'a AtomicBool) -> Self {
        self.ntk.stop = Some(stop);
        self
    }

    /// Memory that a product with so many columns takes at most, in bytes: their numbers and those
    /// of their images twice, and the gradients of a group of examples with the tensors that they
    /// are made of.
    #[must_use]
    pub fn bytes(&self, columns: usize) -> u64 {
        let numbers = 4 * (self.layout.len as u64).saturating_mul(columns as u64);
        numbers.saturating_mul(8).saturating_add(2 * GROUP_BYTES as u64)
    }

    /// A column of J, or a combination of columns, by the names of the parameters: parameters whose
    /// gradient is exactly zero have 0.
    ///
    /// # Errors
    /// [`GramError::Setting`] for another length, or for a trace over several outputs, whose
    /// columns are more than the parameters.
    pub fn to_params(&self, column: &[f64]) -> Result<Params> {
        let (least, got) = (self.layout.len, column.len());
        let is_trace = self.ntk.config.outputs == Outputs::Trace;
        if got != least || is_trace && self.ntk.model.outputs() > 1 {
            return Err(GramError::Setting { field: "length of a column", got, least });
        }
        let (mut start, mut named) = (0, Vec::new());
        for name in self.layers.iter().flat_map(|layer| &layer.names) {
            let like = self.ntk.params.get(name)?;
            let end = start + like.elem_count();
            let part = Tensor::from_slice(&column[start..end], like.shape(), &Device::Cpu)?;
            named.push((name.clone(), part.to_dtype(like.dtype())?.to_device(like.device())?));
            start = end;
        }
        Ok(self.ntk.params.gradient_from(named)?)
    }

    /// Passes over all examples, group by group in their order.
    fn pass(&self, mut pass: Pass<'_>) -> Result<()> {
        let (first, n) = (self.examples.start, self.examples.len());
        for start in (0..n).step_by(self.group) {
            self.ntk.check_stop()?;
            let range = start..n.min(start + self.group);
            let blocks = self.blocks(first + range.start..first + range.end)?;
            self.contract(&blocks, range.start * self.per..range.end * self.per, &mut pass);
            (self.observe)(range.end, n);
        }
        Ok(())
    }

    /// Contracts the gradients behind some rows with all columns, a chunk of them a task.
    fn contract(&self, blocks: &[LayerBlock], rows: Range<usize>, pass: &mut Pass<'_>) {
        let all = self.examples.len() * self.per;
        let forward = |v: &ColumnChunk| {
            let mut y = vec![0.0; rows.len() * v.count];
            for (block, v_l) in blocks.iter().zip(&v.layers) {
                block.add_forward(v_l, &mut y, v.count);
            }
            y
        };
        let adjoint = |u: &[f64], g: &mut ColumnChunk| {
            for (block, g_l) in blocks.iter().zip(&mut g.layers) {
                block.add_adjoint(u, g_l, g.count);
            }
        };
        match pass {
            Pass::Forward { v, y } => {
                v.par_iter().zip(y.par_chunks_mut(CHUNK * all)).for_each(|(v, y)| {
                    let part = forward(v);
                    for (c, y) in y.chunks_exact_mut(all).enumerate() {
                        let of_column = part.iter().skip(c).step_by(v.count);
                        y[rows.clone()].iter_mut().zip(of_column).for_each(|(y, part)| *y = *part);
                    }
                });
            }
            Pass::Norms { u, g, norms } => {
                let layers: Vec<_> = blocks.par_iter().map(LayerBlock::squared_norms).collect();
                for layer in layers {
                    norms[rows.clone()].iter_mut().zip(layer).for_each(|(sum, x)| *sum += x);
                }
                self.contract(blocks, rows, &mut Pass::Adjoint { u, g });
            }
            Pass::Adjoint { u, g } => {
                u.par_chunks(CHUNK * all).zip(g.par_iter_mut()).for_each(|(u, g)| {
                    let row = |row: usize| u.iter().skip(row).step_by(all).copied();
                    adjoint(&rows.clone().flat_map(row).collect::<Vec<_>>(), g);
                });
            }
            Pass::Both { v, g } => {
                v.par_iter().zip(g.par_iter_mut()).for_each(|(v, g)| adjoint(&forward(v), g));
            }
        }
    }

    /// Some examples, where and as the model takes them.
    fn read(&self, range: Range<usize>) -> Result<Tensor> {
        as_taken(&self.source.read(range)?, self.ntk.model, &self.ntk.params)
    }

    /// Sweeps some examples, their micro-batches side by side, and puts the gradients of each layer
    /// one after the other.
    fn blocks(&self, range: Range<usize>) -> Result<Vec<LayerBlock>> {
        let inputs = self.read(range.clone())?;
        check_inputs(&inputs).map_err(|error| at_example(error, range.start))?;
        let (n, size) = (range.len(), self.ntk.micro_batch(range.len()));
        let starts: Vec<usize> = (0..n).step_by(size).collect();
        let batch =
            |start: &usize| self.blocks_of_batch(&inputs.narrow(0, *start, size.min(n - start))?);
        let batches: Vec<_> = match self.ntk.params.device().is_cpu() {
            true => starts.par_iter().map(batch).collect::<Result<_>>()?,
            // One thread talks to a device.
            false => starts.iter().map(batch).collect::<Result<_>>()?,
        };
        let mut batches = batches.into_iter();
        let mut blocks = batches.next().unwrap_or_default();
        let rest: Vec<_> = batches.collect();
        blocks.par_iter_mut().enumerate().for_each(|(layer, block)| {
            rest.iter().filter_map(|batch| batch.get(layer)).for_each(|other| block.extend(other));
        });
        Ok(blocks)
    }

    /// The gradients of a micro-batch, layer by layer.
    fn blocks_of_batch(&self, batch: &Tensor) -> Result<Vec<LayerBlock>> {
        let is_full = self.ntk.config.outputs == Outputs::Full;
        let mut layers: Vec<Vec<Factor>> = Vec::new();
        self.ntk.sweep(batch, None, &mut |_, swept| {
            if is_full && !layers.is_empty() {
                layers.iter_mut().zip(swept).for_each(|(layer, more)| layer.extend(more));
            } else {
                layers.extend(swept);
            }
            Ok(())
        })?;
        layers.iter().map(|factors| LayerBlock::of_outputs(factors)).collect()
    }

    /// Runs a pass for a solver.
    fn product(&self, pass: Pass<'_>) -> std::result::Result<(), SpectralError> {
        self.pass(pass).map_err(|error| operator_error(&error))
    }
}

impl LinearOperator for JacobianOperator<'_> {
    fn rows(&self) -> usize {
        self.examples.len() * self.per
    }

    fn cols(&self) -> usize {
        self.layout.len
    }

    fn entry_type(&self) -> EntryType {
        entry_type(self.ntk.params.dtype())
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> std::result::Result<(), SpectralError> {
        check_images(columns, self.cols(), images, self.rows())?;
        let v = self.layout.pack(columns);
        self.product(Pass::Forward { v: &v, y: images })
    }

    fn apply_transposed(
        &self,
        columns: &[f64],
        images: &mut [f64],
    ) -> std::result::Result<(), SpectralError> {
        let count = check_images(columns, self.rows(), images, self.cols())?;
        let mut g = self.layout.zeros(count);
        self.product(Pass::Adjoint { u: columns, g: &mut g })?;
        self.layout.unpack(&g, images);
        Ok(())
    }

    fn apply_column_gram(
        &self,
        columns: &[f64],
        images: &mut [f64],
    ) -> std::result::Result<(), SpectralError> {
        let count = check_images(columns, self.cols(), images, self.cols())?;
        let (v, mut g) = (self.layout.pack(columns), self.layout.zeros(count));
        self.product(Pass::Both { v: &v, g: &mut g })?;
        self.layout.unpack(&g, images);
        Ok(())
    }
}

/// Ids as they are read, numbers in the type of the parameters; both on their device.
pub(crate) fn as_taken(inputs: &Tensor, model: &dyn Model, params: &Params) -> Result<Tensor> {
    let reads_ids = model.network().input_kind() == InputKind::Ids;
    let dtype = if reads_ids { inputs.dtype() } else { params.dtype() };
    as_read(&inputs.to_dtype(dtype)?.to_device(params.device())?, model)
}

/// Numbers of the gradients of one layer for an example, as they are contracted.
fn numbers(layer: &FactorSizes, per: usize) -> usize {
    let [inputs, cotangents] = layer.lengths();
    match layer.shape {
        FactorShape::Dense { .. } | FactorShape::Embedding { .. } => inputs + per * cotangents,
        _ => per * layer.parameters(),
    }
}

/// An error about examples of a group, counted from the first of all.
fn at_example(error: GramError, first: usize) -> GramError {
    match error {
        GramError::Model(ModelError::NonFinite { what, index, value }) => {
            let what = format!("{what}, counted from example {first} on,");
            GramError::Model(ModelError::NonFinite { what, index, value })
        }
        other => other,
    }
}
