use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use entk_models::{Factor, Model, Params, Real};
use rayon::prelude::*;

use crate::{
    config::{GramConfig, Strategy},
    conv_pair::ConvPair,
    error::{GramError, Result},
    rows::Rows,
    sweeps::{Swept, factors_from, rows_per_example},
};

/// A dense layer's share of the kernel: `(a a'^T + bias) * (d d'^T)`.
#[derive(Debug)]
pub(crate) struct DensePair<T> {
    pub(crate) inputs: Rows<T>,
    pub(crate) cotangents: Rows<T>,
    pub(crate) bias: bool,
}

/// All gradients of a data set in the form in which tiles of K are products of them.
#[derive(Debug)]
pub(crate) struct Features<T> {
    /// Jacobian rows of all layers whose rows are short, side by side: one product.
    pub(crate) rows: Rows<T>,
    /// Factors of the dense layers whose rows are long.
    pub(crate) dense: Vec<DensePair<T>>,
    /// Factors of the convolutions whose rows are longer than they.
    pub(crate) conv: Vec<ConvPair<T>>,
    /// Number of rows of the kernel: examples, or examples times outputs.
    pub(crate) count: usize,
}

/// What one factor of one micro-batch contributes; matrices with one row per example.
pub(crate) enum Piece<T> {
    Rows(Vec<T>),
    Dense { inputs: Vec<T>, cotangents: Vec<T>, bias: bool },
    Conv { inputs: Vec<T>, cotangents: Vec<T>, pair: ConvPair<T> },
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
        let mut width = 0;
        let (mut dense, mut conv) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Rows(rows) => width += rows.len() / count,
                Piece::Dense { inputs, cotangents, bias } => dense.push(DensePair {
                    inputs: Rows::with_capacity(n, inputs.len() / count)?,
                    cotangents: Rows::with_capacity(n, cotangents.len() / count)?,
                    bias: *bias,
                }),
                Piece::Conv { pair, .. } => conv.push(pair.with_capacity(n)?),
            }
        }
        Ok(Self { rows: Rows::with_capacity(n, width)?, dense, conv, count: n })
    }

    /// Appends the rows of a micro-batch, those of one example side by side.
    fn push(&mut self, groups: &[Vec<Piece<T>>], count: usize) {
        let row = |values: &[T], example: usize| {
            let width = values.len() / count;
            example * width..(example + 1) * width
        };
        for example in 0..count {
            for pieces in groups {
                let (mut dense, mut conv) = (self.dense.iter_mut(), self.conv.iter_mut());
                for piece in pieces {
                    match piece {
                        Piece::Rows(rows) => self.rows.extend(&rows[row(rows, example)]),
                        Piece::Dense { inputs: a, cotangents: d, .. } => {
                            if let Some(pair) = dense.next() {
                                pair.inputs.extend(&a[row(a, example)]);
                                pair.cotangents.extend(&d[row(d, example)]);
                            }
                        }
                        Piece::Conv { inputs: a, cotangents: d, .. } => {
                            if let Some(pair) = conv.next() {
                                pair.extend(&a[row(a, example)], &d[row(d, example)]);
                            }
                        }
                    }
                }
            }
        }
    }

    fn finished(self) -> Self {
        let padded = |pair: DensePair<T>| DensePair {
            inputs: pair.inputs.padded(),
            cotangents: pair.cotangents.padded(),
            bias: pair.bias,
        };
        Self {
            rows: self.rows.padded(),
            dense: self.dense.into_iter().map(padded).collect(),
            conv: self.conv,
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
        match factor {
            Factor::Dense { inputs, cotangents, bias, .. }
                if strategy == Strategy::Structured && pair_is_cheaper(&inputs, &cotangents) =>
            {
                let (inputs, cotangents) = (host(&inputs, count)?, host(&cotangents, count)?);
                pieces.push(Piece::Dense { inputs, cotangents, bias: bias.is_some() });
            }
            Factor::Conv { inputs, cotangents, bias, geometry, .. }
                if strategy == Strategy::Structured && ConvPair::<T>::is_smaller(&geometry) =>
            {
                if bias.is_some() {
                    pieces.push(Piece::Rows(host(&cotangents.sum((2, 3))?, count)?));
                }
                let (inputs, cotangents) = (host(&inputs, count)?, host(&cotangents, count)?);
                let pair = ConvPair::new(geometry);
                pieces.push(Piece::Conv { inputs, cotangents, pair });
            }
            other => pieces.push(Piece::Rows(host(&other.rows()?, count)?)),
        }
    }
    Ok(pieces)
}

/// The first `count` rows of a tensor whose first axis is the batch.
fn host<T: Real>(tensor: &Tensor, count: usize) -> Result<Vec<T>> {
    Ok(tensor.narrow(0, 0, count)?.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<T>()?)
}

/// Whether two products of widths `in` and `out` cost less than one of width `in out`.
fn pair_is_cheaper(inputs: &Tensor, cotangents: &Tensor) -> bool {
    let (i, o) = (inputs.dims()[1], cotangents.dims()[1]);
    i + o + 2 < i * o
}
