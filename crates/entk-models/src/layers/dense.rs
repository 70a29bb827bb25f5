//! Dense layer: names a weight and a bias, and writes an [`Affine`](crate::Affine).

use entk_device::Function;

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::linear::{Affine, AffineTransposed},
    params::{init::InitialLaw, spec::ParamSpec},
};

/// y = x W^T + b over the last axis, W (out, in).
#[derive(Debug, Clone)]
pub struct Dense {
    name: String,
    bias: bool,
    inputs: usize,
    outputs: usize,
    law: InitialLaw,
    transposed: bool,
}

impl Dense {
    /// A layer with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        let law = InitialLaw::default();
        Self { name: name.to_owned(), bias: true, inputs, outputs, law, transposed: false }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Stores the weight as (in, out), as GPT-2's files do.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { transposed: true, ..self }
    }

    /// Sets the initial law.
    #[must_use]
    pub fn with_law(self, law: InitialLaw) -> Self {
        Self { law, ..self }
    }
}

impl Layer for Dense {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let Self { name, inputs, outputs, law, .. } = self;
        let shape = if self.transposed { [*inputs, *outputs] } else { [*outputs, *inputs] };
        let init = law.weight(*inputs, *outputs);
        let weight = ParamSpec::trainable(format!("{name}.weight"), &shape, init);
        let mut values = vec![x, graph.parameter(weight)?];
        if self.bias {
            let init = law.bias(*inputs);
            let bias = ParamSpec::trainable(format!("{name}.bias"), &[*outputs], init);
            values.push(graph.parameter(bias)?);
        }
        scale(graph, &mut values, law.scales(*inputs))?;
        match self.transposed {
            true => graph.apply(AffineTransposed, &values),
            false => graph.apply(Affine, &values),
        }
    }
}

/// Scales the input and the bias of a layer where its law says so; `values` are those two and, in
/// between, the weight.
pub(super) fn scale(
    graph: &mut Graph,
    values: &mut [Value],
    scales: Option<[f64; 2]>,
) -> Result<()> {
    for (value, scale) in values.iter_mut().step_by(2).zip(scales.into_iter().flatten()) {
        *value = graph.apply(Function::scale(scale), &[*value])?;
    }
    Ok(())
}
