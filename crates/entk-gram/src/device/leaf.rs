use std::ops::Range;

use candle_core::Tensor;
use entk_models::{Factor, Geometry};

use crate::{
    config::Strategy,
    error::Result,
    factors::form::{Form, LayerPlan, pair_is_cheaper, pixel_columns, pixels_are_cheaper},
};

/// The gradients of one layer for some rows of the kernel, as a device keeps them between the sweep
/// and the products: its factor, without the bias that has rows of its own.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) factor: Factor,
    pub(crate) form: Form,
}

/// What planning needs to know of a leaf; numbers are per row of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeafSize {
    /// Name, form, numbers kept and columns of the products.
    pub(crate) layer: LayerPlan,
    /// Numbers in the products' operands.
    pub(crate) width: usize,
    /// Equal parts in which its rows may be formed, one after the other; 1 if not at all.
    pub(crate) channels: usize,
}

impl Leaf {
    /// The leaves of one factor: a bias, where it has rows of its own, and a weight.
    pub(crate) fn of(factor: Factor, strategy: Strategy) -> Result<Vec<Self>> {
        let structured = strategy == Strategy::Structured;
        let form = match &factor {
            Factor::Rows { .. } => Form::Rows,
            Factor::Dense { inputs, cotangents, .. } if structured => {
                if pair_is_cheaper(inputs, cotangents) { Form::Dense } else { Form::Rows }
            }
            Factor::Conv { geometry, .. } if structured && pixels_are_cheaper(geometry) => {
                Form::Pixels
            }
            Factor::Dense { .. } | Factor::Conv { .. } => Form::Conv,
        };
        if form == Form::Dense {
            return Ok(vec![Self { factor, form }]);
        }
        let (factor, bias) = without_bias(factor)?;
        Ok(bias.into_iter().chain([Self { factor, form }]).collect())
    }

    /// The same, as rows of the Jacobian where those are what is kept: where they are shorter than
    /// the factor.
    pub(crate) fn settled(self) -> Result<Self> {
        let short = self.form == Form::Conv && self.parameters() <= self.kept();
        if short || self.form == Form::Rows {
            let name = self.factor.names().concat();
            let factor = Factor::Rows { name, rows: self.factor.rows()? };
            return Ok(Self { factor, form: Form::Rows });
        }
        Ok(self)
    }

    /// Rows of the kernel.
    pub(crate) fn count(&self) -> usize {
        self.tensors()[0].dims()[0]
    }

    /// Some rows, contiguous.
    pub(crate) fn narrow(&self, rows: &Range<usize>) -> Result<Self> {
        self.map(|t| Ok(t.narrow(0, rows.start, rows.len())?.contiguous()?))
    }

    /// The leaves of consecutive rows as one.
    pub(crate) fn joined(parts: &[Self]) -> Result<Self> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(candle_core::Error::Msg("no rows to join".into()).into());
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let tensors = parts.iter().map(Self::tensors).collect::<Vec<_>>();
        let mut at = 0;
        first.map(|_| {
            let column: Vec<_> = tensors.iter().map(|tensors| tensors[at]).collect();
            at += 1;
            Ok(Tensor::cat(&column, 0)?)
        })
    }

    /// The rows of some input channels, (rows, columns): all if `channels` are all.
    pub(crate) fn rows(&self, channels: &Range<usize>) -> Result<Tensor> {
        let part = |t: &Tensor| t.narrow(1, channels.start, channels.len())?.contiguous();
        Ok(match self.factor.clone() {
            Factor::Rows { rows, .. } => part(&rows)?,
            Factor::Dense { weight, inputs, cotangents, .. } => {
                Factor::Dense { weight, bias: None, inputs: part(&inputs)?, cotangents }.rows()?
            }
            Factor::Conv { weight, inputs, cotangents, geometry, .. } => {
                let geometry = Geometry { channels: channels.len(), ..geometry };
                let inputs = part(&inputs)?;
                Factor::Conv { weight, bias: None, inputs, cotangents, geometry }.rows()?
            }
        })
    }

    /// Sizes per row.
    pub(crate) fn size(&self) -> LeafSize {
        let (parameters, kept) = (self.parameters(), self.kept());
        let columns = match (&self.factor, self.form) {
            (Factor::Conv { geometry, .. }, Form::Pixels) => pixel_columns(geometry),
            (_, Form::Rows | Form::Conv) => parameters,
            _ => kept,
        };
        let expands = matches!(self.form, Form::Rows | Form::Conv);
        let names = self.factor.names().into_iter().map(str::to_owned).collect();
        LeafSize {
            width: if expands { parameters } else { kept },
            channels: if expands { self.tensors()[0].dims()[1] } else { 1 },
            layer: LayerPlan { names, parameters, form: self.form, kept, columns },
        }
    }

    fn parameters(&self) -> usize {
        self.factor.width()
    }

    /// Numbers per row.
    fn kept(&self) -> usize {
        let per_row = |t: &&Tensor| t.elem_count() / t.dims()[0].max(1);
        self.tensors().iter().map(per_row).sum()
    }

    /// Inputs and cotangents, or rows.
    fn tensors(&self) -> Vec<&Tensor> {
        match &self.factor {
            Factor::Dense { inputs, cotangents, .. } | Factor::Conv { inputs, cotangents, .. } => {
                vec![inputs, cotangents]
            }
            Factor::Rows { rows, .. } => vec![rows],
        }
    }

    /// The same leaf of other rows; `f` sees the tensors in the order of
    /// [`tensors`](Self::tensors).
    fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut factor = self.factor.clone();
        match &mut factor {
            Factor::Dense { inputs, cotangents, .. } | Factor::Conv { inputs, cotangents, .. } => {
                *inputs = f(inputs)?;
                *cotangents = f(cotangents)?;
            }
            Factor::Rows { rows, .. } => *rows = f(rows)?,
        }
        Ok(Self { factor, form: self.form })
    }

    /// Leaves of the same layer for several outputs, the rows of one example side by side.
    pub(crate) fn interleaved(outputs: &[Self]) -> Result<Self> {
        let Some((first, rest)) = outputs.split_first() else {
            return Err(candle_core::Error::Msg("no outputs to interleave".into()).into());
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let tensors = outputs.iter().map(Self::tensors).collect::<Vec<_>>();
        let mut at = 0;
        first.map(|_| {
            let each: Vec<_> = tensors.iter().map(|tensors| tensors[at]).collect();
            at += 1;
            Ok(Tensor::stack(&each, 1)?.flatten(0, 1)?)
        })
    }
}

/// The gradients of a bias, as rows, apart from those of the weight.
fn without_bias(mut factor: Factor) -> Result<(Factor, Option<Leaf>)> {
    let (name, rows) = match &mut factor {
        Factor::Dense { bias, cotangents, .. } => (bias.take(), cotangents.clone()),
        Factor::Conv { bias, cotangents, .. } => match bias.take() {
            Some(name) => (Some(name), cotangents.sum((2, 3))?),
            None => (None, cotangents.clone()),
        },
        Factor::Rows { .. } => return Ok((factor, None)),
    };
    let leaf = |name| Leaf { factor: Factor::Rows { name, rows }, form: Form::Rows };
    Ok((factor, name.map(leaf)))
}
