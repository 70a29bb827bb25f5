use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use entk_models::{Factor, Model, Params, Real};
use rayon::prelude::*;

use crate::{
    config::{GramConfig, Strategy},
    conv_pair::ConvPair,
    error::{GramError, Result},
    rows::Rows,
    sweeps::factors_from,
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
    /// Number of examples.
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
        let n = inputs.dim(0)?;
        let starts: Vec<usize> = (0..n).step_by(config.micro_batch).collect();
        let mut features: Option<Self> = None;
        for group in starts.chunks(rayon::current_num_threads().max(1)) {
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(GramError::Stopped);
            }
            let swept: Vec<_> = (group.par_iter())
                .map(|&start| {
                    let (factors, count) = factors_from(model, params, inputs, config, start)?;
                    Ok((pieces(factors, count, config.strategy)?, count))
                })
                .collect::<Result<_>>()?;
            for (pieces, count) in swept {
                match &mut features {
                    Some(features) => features.push(&pieces, count),
                    None => {
                        let mut first = Self::like(&pieces, count, n)?;
                        first.push(&pieces, count);
                        features = Some(first);
                    }
                }
            }
        }
        let features = features.map_or_else(|| Self::like(&[], 1, n), Ok)?;
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

    fn push(&mut self, pieces: &[Piece<T>], count: usize) {
        for example in 0..count {
            for piece in pieces {
                if let Piece::Rows(rows) = piece {
                    let width = rows.len() / count;
                    self.rows.extend(&rows[example * width..(example + 1) * width]);
                }
            }
        }
        let (mut dense, mut conv) = (self.dense.iter_mut(), self.conv.iter_mut());
        for piece in pieces {
            match piece {
                Piece::Rows(_) => {}
                Piece::Dense { inputs, cotangents, .. } => {
                    if let Some(pair) = dense.next() {
                        pair.inputs.extend(inputs);
                        pair.cotangents.extend(cotangents);
                    }
                }
                Piece::Conv { inputs, cotangents, .. } => {
                    if let Some(pair) = conv.next() {
                        pair.extend(inputs, cotangents);
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
