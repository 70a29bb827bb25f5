//! Gradient factors as a device keeps them between the sweep and the products. Made by the engine,
//! read by [`operand`](super::operand).

use std::ops::Range;

use candle_core::Tensor;
use entk_models::{Factor, Geometry};

use crate::{
    config::Strategy,
    error::Result,
    factors::form::{FactorSizes, Form, FormCosts},
    plan::workload::LayerSize,
};

/// One product serves all pairs of pixels or tokens; the additions of one pair of examples stay in
/// registers and caches.
pub(crate) static COSTS: FormCosts = FormCosts {
    addition: 1,
    all_pixel_pairs: true,
    expands_jacobian: true,
    bias_is_separate: |form| form != Form::Dense,
    shares_inputs: false,
};

/// The gradients of one layer for some rows of the kernel: its factor, without the bias that has
/// rows of its own.
#[derive(Debug, Clone)]
pub(crate) struct KeptFactor {
    pub(crate) factor: Factor,
    pub(crate) form: Form,
}

/// The sizes of all [`KeptFactor`]s of a kernel, last layer first.
pub(crate) fn layer_sizes(layers: &[FactorSizes], strategy: Strategy) -> Vec<LayerSize> {
    let parts = layers.iter().flat_map(|layer| layer.parts(layer.form(strategy, &COSTS), &COSTS));
    let size = |(layer, form): (FactorSizes, Form)| {
        let expands = matches!(form, Form::Rows | Form::Expanded);
        LayerSize {
            form,
            kept: layer.kept(form, &COSTS),
            width: if expands { layer.parameters() } else { layer.factor_len() },
            channels: match form {
                Form::Rows => layer.parameters(),
                Form::Expanded => layer.channels(),
                _ => 1,
            },
            factor: layer.factor_len(),
            inputs: layer.lengths()[0],
            patches: layer.patches(),
            lent: 0,
        }
    };
    parts.map(size).collect()
}

impl KeptFactor {
    /// A factor in the parts that are contracted by themselves: a bias, and a weight.
    pub(crate) fn of(factor: Factor, strategy: Strategy) -> Result<Vec<Self>> {
        let form = FactorSizes::of(&factor).form(strategy, &COSTS);
        if !(COSTS.bias_is_separate)(form) {
            return Ok(vec![Self { factor, form }]);
        }
        let (factor, bias) = factor.split_bias()?;
        let bias = bias.map(|factor| Self { factor, form: Form::Rows });
        Ok(bias.into_iter().chain([Self { factor, form }]).collect())
    }

    /// Forms the rows of the Jacobian if its form is [`Form::Rows`], where they are the shorter.
    pub(crate) fn in_shorter_form(self) -> Result<Self> {
        if self.form != Form::Rows {
            return Ok(self);
        }
        let name = self.factor.names().concat();
        let factor = Factor::Rows { name, rows: self.factor.rows()? };
        Ok(Self { factor, form: Form::Rows })
    }

    /// Rows of the kernel.
    pub(crate) fn count(&self) -> usize {
        self.factor.tensors()[0].dims()[0]
    }

    /// Some rows, contiguous.
    pub(crate) fn narrow(&self, rows: &Range<usize>) -> Result<Self> {
        self.map(|t| Ok(t.narrow(0, rows.start, rows.len())?.contiguous()?))
    }

    /// The factors of consecutive rows as one.
    pub(crate) fn concat(parts: &[Self]) -> Result<Self> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(candle_core::Error::Msg("no rows to concatenate".into()).into());
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let tensors = parts.iter().map(|part| part.factor.tensors()).collect::<Vec<_>>();
        let mut at = 0;
        first.map(|_| {
            let column: Vec<_> = tensors.iter().map(|tensors| tensors[at]).collect();
            at += 1;
            Ok(Tensor::cat(&column, 0)?)
        })
    }

    /// The rows of some input channels, or columns of a table, (rows, columns): all if `channels`
    /// are all.
    pub(crate) fn rows(&self, channels: &Range<usize>) -> Result<Tensor> {
        let part = |t: &Tensor, axis| t.narrow(axis, channels.start, channels.len())?.contiguous();
        Ok(match self.factor.clone() {
            Factor::Dense { weight, inputs, cotangents, .. } => {
                let inputs = part(&inputs, inputs.rank() - 1)?;
                Factor::Dense { weight, bias: None, inputs, cotangents }.rows()?
            }
            Factor::Conv { weight, inputs, cotangents, geometry, .. } => {
                let geometry = Geometry { channels: channels.len(), ..geometry };
                let inputs = part(&inputs, 1)?;
                Factor::Conv { weight, bias: None, inputs, cotangents, geometry }.rows()?
            }
            Factor::Embedding { weight, ids, cotangents, vocabulary } => {
                let cotangents = part(&cotangents, 2)?;
                Factor::Embedding { weight, ids, cotangents, vocabulary }.rows()?
            }
            factor => part(&factor.rows()?, 1)?,
        })
    }

    /// This layer for other rows; `f` sees the tensors of the factor.
    fn map(&self, f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { factor: self.factor.clone().map(f)?, form: self.form })
    }

    /// One layer for several outputs, the rows of one example side by side.
    pub(crate) fn interleaved(outputs: &[Self]) -> Result<Self> {
        let Some((first, rest)) = outputs.split_first() else {
            return Err(candle_core::Error::Msg("no outputs to interleave".into()).into());
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let tensors = outputs.iter().map(|output| output.factor.tensors()).collect::<Vec<_>>();
        let mut at = 0;
        first.map(|_| {
            let each: Vec<_> = tensors.iter().map(|tensors| tensors[at]).collect();
            at += 1;
            Ok(Tensor::stack(&each, 1)?.flatten(0, 1)?)
        })
    }
}
