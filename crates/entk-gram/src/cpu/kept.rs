use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use entk_models::{Factor, Model, Params, Real};
use rayon::prelude::*;

use crate::{
    config::{GramConfig, Strategy},
    cpu::{
        pair::{Pair, PairForm},
        rows::Rows,
    },
    error::{GramError, Result},
    factors::{Swept, factors_from, form::pair_is_cheaper, rows_per_example},
};

/// Examples compared at a time.
const COMPARED: usize = 1024;

/// All gradients of a data set in the form in which tiles of K are products of them.
#[derive(Debug)]
pub(crate) struct Features<T> {
    /// Jacobian rows of all layers whose rows are short, side by side: one product.
    pub(crate) rows: Rows<T>,
    /// Inputs and cotangents of all other layers, in the order of the backward sweep.
    pub(crate) pairs: Vec<Pair<T>>,
    /// Number of rows of the kernel: examples, or examples times outputs.
    pub(crate) count: usize,
}

/// What one factor of one micro-batch contributes; matrices with one row per example.
pub(crate) enum Piece<T> {
    Rows(Vec<T>),
    Pair { inputs: Vec<T>, cotangents: Vec<T>, form: PairForm },
}

impl<T: Real> Features<T> {
    /// One forward and backward sweep over `inputs`; every factor is computed once.
    ///
    /// Micro-batches are swept side by side, one a thread, and joined in their order.
    pub(crate) fn collect(
        model: &dyn Model,
        params: &Params,
        inputs: &Tensor,
        config: &GramConfig,
        stop: Option<&AtomicBool>,
    ) -> Result<Self> {
        let (n, per) = (inputs.dim(0)?, rows_per_example(model, config));
        let rows = n.checked_mul(per).ok_or(GramError::TooLarge { rows: n, cols: per })?;
        let starts: Vec<usize> = (0..n).step_by(config.micro_batch).collect();
        let mut features: Option<Self> = None;
        for group in starts.chunks(rayon::current_num_threads().max(1)) {
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(GramError::Stopped);
            }
            let swept: Vec<_> = (group.par_iter())
                .map(|&start| {
                    let Swept { groups, count } =
                        factors_from(model, params, inputs, config, start)?;
                    let pieces = groups.into_iter().map(|g| pieces(g, count, config.strategy));
                    Ok((pieces.collect::<Result<Vec<_>>>()?, count))
                })
                .collect::<Result<_>>()?;
            for (groups, count) in swept {
                if features.is_none() {
                    features = Some(Self::like(&groups[0], count, rows)?);
                }
                features.iter_mut().for_each(|features| features.push(&groups, count));
            }
        }
        let features = features.map_or_else(|| Self::like(&[], 1, rows), Ok)?;
        Ok(features.finished())
    }

    /// Empty features with memory for `n` examples, from the pieces of `count`.
    fn like(pieces: &[Piece<T>], count: usize, n: usize) -> Result<Self> {
        let (mut width, mut pairs) = (0, Vec::new());
        for piece in pieces {
            match piece {
                Piece::Rows(rows) => width += rows.len() / count,
                Piece::Pair { inputs, cotangents, form } => {
                    let widths = [inputs.len() / count, cotangents.len() / count];
                    pairs.push(Pair::with_capacity(n, widths, form)?);
                }
            }
        }
        Ok(Self { rows: Rows::with_capacity(n, width)?, pairs, count: n })
    }

    /// Appends the rows of a micro-batch, those of one example side by side.
    fn push(&mut self, groups: &[Vec<Piece<T>>], count: usize) {
        let row = |values: &[T], example: usize| {
            let width = values.len() / count;
            example * width..(example + 1) * width
        };
        for example in 0..count {
            for pieces in groups {
                let mut pairs = self.pairs.iter_mut();
                for piece in pieces {
                    match piece {
                        Piece::Rows(rows) => self.rows.extend(&rows[row(rows, example)]),
                        Piece::Pair { inputs: a, cotangents: d, .. } => {
                            if let Some(pair) = pairs.next() {
                                pair.inputs.extend(&a[row(a, example)]);
                                pair.cotangents.extend(&d[row(d, example)]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The dense pairs, one an output, whose inputs are those of the model.
    pub(crate) fn first_of(&self, inputs: &Tensor) -> Result<Vec<usize>> {
        let (n, mut start) = (inputs.dim(0)?, 0);
        let mut pairs: Vec<usize> = (0..self.pairs.len()).collect();
        while start < n && !pairs.is_empty() {
            let count = COMPARED.min(n - start);
            let block = host::<T>(&inputs.narrow(0, start, count)?, count)?;
            pairs.retain(|&at| {
                let Pair { inputs, form, .. } = &self.pairs[at];
                let dense = matches!(form, PairForm::Hadamard { .. });
                dense && inputs.part(&(start..start + count)) == block
            });
            start += count;
        }
        if pairs.is_empty() {
            let reason = "products of inputs serve models whose first layer is dense, contracted by \
                          Strategy::Structured; this is another";
            return Err(GramError::Unsupported(reason));
        }
        Ok(pairs)
    }

    fn finished(self) -> Self {
        Self {
            rows: self.rows.padded(),
            pairs: self.pairs.into_iter().map(Pair::padded).collect(),
            count: self.count,
        }
    }
}

/// Sorts the factors of a micro-batch into the forms of [`Features`].
pub(crate) fn pieces<T: Real>(
    factors: Vec<Factor>,
    count: usize,
    strategy: Strategy,
) -> Result<Vec<Piece<T>>> {
    let mut pieces = Vec::new();
    for factor in factors {
        match (form(&factor, strategy), factor) {
            (Some(form), Factor::Dense { inputs, cotangents, .. }) => {
                let (inputs, cotangents) = (host(&inputs, count)?, host(&cotangents, count)?);
                pieces.push(Piece::Pair { inputs, cotangents, form });
            }
            (Some(form), Factor::Conv { inputs, cotangents, bias, geometry: g, .. }) => {
                if bias.is_some() {
                    pieces.push(Piece::Rows(host(&cotangents.sum((2, 3))?, count)?));
                }
                let (inputs, cotangents) = (host(&inputs, count)?, host(&cotangents, count)?);
                pieces.push(match form {
                    PairForm::Pixels(_) => Piece::Pair {
                        inputs: by_pixel(&inputs, g.channels, g.input_pixels()),
                        cotangents: by_pixel(&cotangents, g.filters, g.output_pixels()),
                        form,
                    },
                    form => Piece::Pair { inputs, cotangents, form },
                });
            }
            (_, factor) => pieces.push(Piece::Rows(host(&factor.rows()?, count)?)),
        }
    }
    Ok(pieces)
}

/// The form in which a factor is kept; `None` for rows.
fn form(factor: &Factor, strategy: Strategy) -> Option<PairForm> {
    match factor {
        _ if strategy != Strategy::Structured => None,
        Factor::Dense { inputs, cotangents, bias, .. } => {
            let form = PairForm::Hadamard { bias: bias.is_some() };
            pair_is_cheaper(inputs, cotangents).then_some(form)
        }
        Factor::Conv { geometry, .. } => PairForm::of_conv(*geometry),
        Factor::Rows { .. } => None,
    }
}

/// Images (N, C, H W) as (N, H W, C).
fn by_pixel<T: Real>(images: &[T], channels: usize, pixels: usize) -> Vec<T> {
    let mut result = Vec::with_capacity(images.len());
    for image in images.chunks_exact(channels * pixels) {
        for pixel in 0..pixels {
            result.extend(image[pixel..].iter().step_by(pixels));
        }
    }
    result
}

/// The first `count` rows of a tensor whose first axis is the batch.
fn host<T: Real>(tensor: &Tensor, count: usize) -> Result<Vec<T>> {
    Ok(tensor.narrow(0, 0, count)?.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<T>()?)
}
