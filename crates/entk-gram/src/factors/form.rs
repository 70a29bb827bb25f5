//! The one place that decides how a layer's gradients are kept and contracted, from the sizes of
//! the layer and from what an engine's products cost; plans print what it says.

use std::iter;

use entk_models::{Factor, Geometry};
use serde::Serialize;

use crate::{config::Strategy, error::Result};

/// The form in which a layer's gradients are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Form {
    /// Rows of the Jacobian, in one product with those of other layers.
    Rows,
    /// Inputs and cotangents of a dense layer: `(a a'^T + 1) * (d d'^T)`.
    Dense,
    /// Inputs and cotangents of a layer, from which rows are expanded in parts.
    Expanded,
    /// Inputs and cotangents on few pixels or tokens, multiplied pixel by pixel.
    Pixels,
    /// Ids and cotangents of an embedding: those of equal ids are multiplied.
    Embedding,
}

/// How the parameters of one layer are contracted; numbers are for one row of the kernel. A trace
/// over outputs has the factors of several outputs side by side, as a layer of so many times the
/// outputs and parameters; rows of the full kernel share the inputs of their example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerPlan {
    /// The layer's parameters.
    pub names: Vec<String>,
    /// Number of parameters, P_l.
    pub parameters: usize,
    /// Form of its gradients.
    pub form: Form,
    /// Numbers kept.
    pub kept: usize,
    /// Columns of the products of each pair of rows.
    pub columns: usize,
}

/// What an engine's products cost, and which forms it has.
pub(crate) struct FormCosts {
    /// Multiply-adds of a large matrix product in the time of one addition to the sum of a pair of
    /// output pixels.
    pub(crate) addition: usize,
    /// Whether all pairs of input pixels are multiplied, also those that no tap reads, and all
    /// pairs of tokens, also those of different ids.
    pub(crate) all_pixel_pairs: bool,
    /// Whether rows may be expanded from kept factors under
    /// [`Strategy::JacobianContraction`] too.
    pub(crate) expands_jacobian: bool,
    /// Whether a bias has rows of its own, apart from those of a weight in this form.
    pub(crate) bias_is_separate: fn(Form) -> bool,
    /// Whether the rows of several outputs of an example have its inputs once, and their products.
    pub(crate) shares_inputs: bool,
}

/// The parameters and sizes of a [`Factor`], without its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FactorSizes {
    /// Weight and bias, or the one parameter.
    pub(crate) names: Vec<String>,
    pub(crate) shape: FactorShape,
    /// The group of outputs that it belongs to, of a trace; else the first.
    pub(crate) group: usize,
    /// Rows of the kernel that have the same inputs: those of an example.
    pub(crate) shared_by: usize,
}

/// Sizes by the kind of a [`Factor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FactorShape {
    Dense { inputs: usize, outputs: usize },
    Tokens(TokenSizes),
    Conv(Geometry),
    Embedding { tokens: usize, vocabulary: usize, width: usize },
    Rows { columns: usize },
}

/// Sizes of a dense layer over several tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenSizes {
    pub(crate) tokens: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl TokenSizes {
    /// The convolution with kernels of one tap of which the tokens are the pixels.
    pub(crate) fn geometry(&self) -> Geometry {
        let pixels = [self.tokens, 1];
        Geometry {
            channels: self.inputs,
            filters: self.outputs,
            input: pixels,
            output: pixels,
            kernel: [1, 1],
            stride: [1, 1],
            before: [0, 0],
            dilation: [1, 1],
        }
    }
}

impl FactorSizes {
    pub(crate) fn of(factor: &Factor) -> Self {
        let names = factor.names().into_iter().map(str::to_owned).collect();
        let rows = FactorShape::Rows { columns: factor.width() };
        let shape = match factor {
            Factor::Dense { inputs, cotangents, .. } => match (inputs.dims(), cotangents.dims()) {
                (&[_, inputs], &[_, outputs]) => FactorShape::Dense { inputs, outputs },
                (&[_, tokens, inputs], &[.., outputs]) => {
                    FactorShape::Tokens(TokenSizes { tokens, inputs, outputs })
                }
                _ => rows,
            },
            Factor::Conv { geometry, .. } => FactorShape::Conv(*geometry),
            Factor::Embedding { cotangents, vocabulary, .. } => match *cotangents.dims() {
                [_, tokens, width] => {
                    FactorShape::Embedding { tokens, vocabulary: *vocabulary, width }
                }
                _ => rows,
            },
            _ => rows,
        };
        Self { names, shape, group: 0, shared_by: 1 }
    }

    /// Sizes of the factors of so many outputs side by side, as
    /// [`Factor::side_by_side`] puts them.
    pub(crate) fn wide(mut self, count: usize) -> Self {
        match &mut self.shape {
            FactorShape::Dense { outputs, .. }
            | FactorShape::Tokens(TokenSizes { outputs, .. })
            | FactorShape::Embedding { width: outputs, .. }
            | FactorShape::Rows { columns: outputs } => *outputs *= count,
            FactorShape::Conv(g) => g.filters *= count,
        }
        self
    }

    /// Whether there is a bias beside the weight.
    pub(crate) fn bias(&self) -> bool {
        self.names.len() > 1
    }

    /// Number of parameters, P_l.
    pub(crate) fn parameters(&self) -> usize {
        self.weights() + if self.bias() { self.outputs() } else { 0 }
    }

    /// Number of those but for the bias.
    fn weights(&self) -> usize {
        match self.shape {
            FactorShape::Dense { inputs, outputs }
            | FactorShape::Tokens(TokenSizes { inputs, outputs, .. }) => inputs * outputs,
            FactorShape::Conv(g) => g.patch() * g.filters,
            FactorShape::Embedding { vocabulary, width, .. } => vocabulary * width,
            FactorShape::Rows { columns } => columns,
        }
    }

    /// Outputs of a token or pixel: numbers of a bias.
    fn outputs(&self) -> usize {
        match self.shape {
            FactorShape::Dense { outputs, .. }
            | FactorShape::Tokens(TokenSizes { outputs, .. })
            | FactorShape::Embedding { width: outputs, .. } => outputs,
            FactorShape::Conv(g) => g.filters,
            FactorShape::Rows { .. } => 0,
        }
    }

    /// Numbers of inputs and cotangents of one example.
    pub(crate) fn factor_len(&self) -> usize {
        let [inputs, cotangents] = self.lengths();
        inputs + cotangents
    }

    /// Numbers of inputs, and of cotangents or rows, of one example.
    pub(crate) fn lengths(&self) -> [usize; 2] {
        match self.shape {
            FactorShape::Dense { inputs, outputs } => [inputs, outputs],
            FactorShape::Tokens(t) => [t.tokens * t.inputs, t.tokens * t.outputs],
            FactorShape::Conv(g) => [g.input_len(), g.output_len()],
            FactorShape::Embedding { tokens, width, .. } => [tokens, tokens * width],
            FactorShape::Rows { columns } => [0, columns],
        }
    }

    /// Numbers of the patches of one example, from which rows are made.
    pub(crate) fn patches(&self) -> usize {
        match self.shape {
            FactorShape::Conv(g) => g.patch() * g.output_pixels(),
            _ => 0,
        }
    }

    /// Equal parts in which rows may be expanded: inputs, input channels, or columns of a table.
    pub(crate) fn channels(&self) -> usize {
        match self.shape {
            FactorShape::Dense { inputs, .. } | FactorShape::Tokens(TokenSizes { inputs, .. }) => {
                inputs
            }
            FactorShape::Conv(g) => g.channels,
            FactorShape::Embedding { width, .. } => width,
            FactorShape::Rows { columns } => columns,
        }
    }

    /// Numbers that are kept in a form for a row of the kernel.
    pub(crate) fn kept(&self, form: Form, costs: &FormCosts) -> usize {
        match form {
            Form::Rows => self.parameters(),
            Form::Embedding => self.factor_len(),
            _ => {
                let [inputs, cotangents] = self.lengths();
                inputs.div_ceil(self.sharing(costs)) + cotangents
            }
        }
    }

    /// Rows of the kernel that have their inputs once.
    fn sharing(&self, costs: &FormCosts) -> usize {
        if costs.shares_inputs { self.shared_by } else { 1 }
    }

    /// The cheapest form.
    pub(crate) fn form(&self, strategy: Strategy, costs: &FormCosts) -> Form {
        let structured = strategy == Strategy::Structured;
        match if structured { self.shorter_form(costs) } else { None } {
            Some(form) => form,
            None if self.expands(structured, costs) && self.factor_len() < self.weights() => {
                Form::Expanded
            }
            None => Form::Rows,
        }
    }

    /// The form without rows, where its products are cheaper.
    fn shorter_form(&self, costs: &FormCosts) -> Option<Form> {
        let (form, is_cheaper) = match self.shape {
            FactorShape::Dense { inputs, outputs } => {
                (Form::Dense, inputs + outputs + 2 < inputs * outputs)
            }
            FactorShape::Tokens(t) => (Form::Pixels, tokens_are_cheaper(&t, costs)),
            FactorShape::Conv(g) => (Form::Pixels, pixels_are_cheaper(&g, costs)),
            FactorShape::Embedding { tokens, vocabulary, .. } => {
                (Form::Embedding, token_pairs(tokens, costs) < vocabulary)
            }
            FactorShape::Rows { .. } => return None,
        };
        is_cheaper.then_some(form)
    }

    /// Whether rows may be expanded from what is kept.
    fn expands(&self, structured: bool, costs: &FormCosts) -> bool {
        match self.shape {
            FactorShape::Tokens(_) | FactorShape::Conv(_) => structured || costs.expands_jacobian,
            FactorShape::Dense { .. } => !structured && costs.expands_jacobian,
            FactorShape::Embedding { .. } => costs.expands_jacobian,
            FactorShape::Rows { .. } => false,
        }
    }

    /// The parts that are contracted by themselves: a bias with rows of its own, and the rest.
    pub(crate) fn parts(&self, form: Form, costs: &FormCosts) -> Vec<(Self, Form)> {
        match self.names.as_slice() {
            [weight, name] if (costs.bias_is_separate)(form) => {
                let shape = FactorShape::Rows { columns: self.outputs() };
                let bias =
                    Self { names: vec![name.clone()], shape, group: self.group, shared_by: 1 };
                vec![
                    (bias, Form::Rows),
                    (Self { names: vec![weight.clone()], ..self.clone() }, form),
                ]
            }
            _ => vec![(self.clone(), form)],
        }
    }

    /// Columns of the products of each pair of rows of the kernel.
    fn columns(&self, form: Form, costs: &FormCosts) -> usize {
        // Products of inputs serve all pairs of outputs.
        let pairs = self.sharing(costs).pow(2);
        match (form, self.shape) {
            (Form::Dense, FactorShape::Dense { inputs, outputs }) => {
                inputs.div_ceil(pairs) + outputs
            }
            (Form::Pixels, FactorShape::Conv(g)) => {
                let outputs = g.filters * g.output_pixels().pow(2);
                let inputs = pixel_columns(&g, pixel_pairs(&g).0, costs) - outputs;
                inputs.div_ceil(pairs) + outputs
            }
            (Form::Pixels, FactorShape::Tokens(t)) => {
                let both = [t.inputs, t.outputs].map(|width| t.tokens.pow(2) * width);
                both[0].div_ceil(pairs) + both[1]
            }
            (Form::Embedding, FactorShape::Embedding { tokens, width, .. }) => {
                token_pairs(tokens, costs) * width
            }
            _ => self.parameters(),
        }
    }

    pub(crate) fn plan(&self, strategy: Strategy, costs: &FormCosts) -> LayerPlan {
        let form = self.form(strategy, costs);
        let parts = self.parts(form, costs);
        let sum = |of: fn(&Self, Form, &FormCosts) -> usize| {
            parts.iter().map(|(part, form)| of(part, *form, costs)).sum()
        };
        LayerPlan {
            names: self.names.clone(),
            parameters: self.parameters(),
            form,
            kept: sum(Self::kept),
            columns: sum(Self::columns),
        }
    }

    /// Operations of the backward sweep for one example: the input's cotangent, unless the layer is
    /// the first one, and the rows of a convolution.
    pub(crate) fn backward_operations(&self, form: Form, first: bool) -> f64 {
        let (cotangent, rows) = match self.shape {
            FactorShape::Dense { inputs, outputs } => (2.0 * (inputs * outputs) as f64, 0.0),
            FactorShape::Conv(g) if form == Form::Pixels => (g.operations(), 0.0),
            FactorShape::Conv(g) => (g.operations(), g.operations()),
            FactorShape::Tokens(t) => {
                let cotangent = t.geometry().operations();
                (cotangent, if form == Form::Pixels { 0.0 } else { cotangent })
            }
            FactorShape::Embedding { .. } | FactorShape::Rows { .. } => (0.0, 0.0),
        };
        rows + if first { 0.0 } else { cotangent }
    }
}

/// A factor as engines take it: a dense layer of one token has none.
pub(crate) fn without_single_token(factor: Factor) -> Result<Factor> {
    match &factor {
        Factor::Dense { inputs, .. } if inputs.rank() == 3 && inputs.dim(1)? == 1 => {
            Ok(factor.map(|t| t.squeeze(1))?)
        }
        _ => Ok(factor),
    }
}

/// The most products of tokens of equal ids of a pair of examples, where each has an id once; all
/// products of tokens for an engine that multiplies all.
fn token_pairs(tokens: usize, costs: &FormCosts) -> usize {
    if costs.all_pixel_pairs { tokens * tokens } else { tokens }
}

/// A pair of tokens is multiplied and added once.
fn tokens_are_cheaper(t: &TokenSizes, costs: &FormCosts) -> bool {
    let pairs = t.tokens * t.tokens;
    pairs * (t.inputs + t.outputs + 2 * costs.addition) < t.inputs * t.outputs
}

fn pixels_are_cheaper(g: &Geometry, costs: &FormCosts) -> bool {
    let (rows, outputs) = (g.patch() * g.filters, g.output_pixels().pow(2));
    // Most convolutions have far more pixels, and need not be counted out.
    if g.filters * outputs >= rows {
        return false;
    }
    let (pairs, additions) = pixel_pairs(g);
    pixel_columns(g, pairs, costs) + costs.addition * (outputs + additions) < rows
}

/// Multiply-adds of the pairs of input pixels and all pairs of output pixels.
fn pixel_columns(g: &Geometry, pairs: usize, costs: &FormCosts) -> usize {
    let pairs = if costs.all_pixel_pairs { g.input_pixels().pow(2) } else { pairs };
    g.channels * pairs + g.filters * g.output_pixels().pow(2)
}

/// The pairs of input pixels that two output pixels read through the same tap, and how often such
/// pairs are read.
fn pixel_pairs(g: &Geometry) -> (usize, usize) {
    let mut read = vec![false; g.input_pixels().pow(2)];
    let mut additions = 0;
    let (taps, outputs) = (g.kernel[0] * g.kernel[1], g.output_pixels());
    for (p, q) in (0..outputs).flat_map(|p| iter::repeat(p).zip(0..outputs)) {
        for tap in 0..taps {
            if let (Some(a), Some(b)) = (g.input_pixel(p, tap), g.input_pixel(q, tap)) {
                read[a * g.input_pixels() + b] = true;
                additions += 1;
            }
        }
    }
    (read.into_iter().filter(|read| *read).count(), additions)
}
