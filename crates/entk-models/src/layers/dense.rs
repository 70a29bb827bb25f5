//! Dense layer: names a weight and a bias, and writes an [`Affine`](crate::Affine).

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::linear::Affine,
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
}

impl Dense {
    /// A layer with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        Self { name: name.to_owned(), bias: true, inputs, outputs, law: InitialLaw::default() }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Sets the initial law.
    #[must_use]
    pub fn with_law(self, law: InitialLaw) -> Self {
        Self { law, ..self }
    }
}

impl Layer for Dense {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let Self { name, bias, inputs, outputs, law } = self;
        let init = law.weight(*inputs, *outputs);
        let weight = ParamSpec::trainable(format!("{name}.weight"), &[*outputs, *inputs], init);
        let mut values = vec![x, graph.parameter(weight)?];
        if *bias {
            let init = law.bias(*inputs);
            let bias = ParamSpec::trainable(format!("{name}.bias"), &[*outputs], init);
            values.push(graph.parameter(bias)?);
        }
        graph.apply(Affine, &values)
    }
}
