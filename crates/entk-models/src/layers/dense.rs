//! Dense layer: names a weight and a bias, and writes an [`Affine`](crate::Affine).

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::linear::Affine,
    params::{init::Initializer, spec::ParamSpec},
};

/// y = x W^T + b over the last axis, W (out, in).
#[derive(Debug, Clone)]
pub struct Dense {
    name: String,
    bias: bool,
    inputs: usize,
    outputs: usize,
}

impl Dense {
    /// A layer with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        Self { name: name.to_owned(), bias: true, inputs, outputs }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }
}

impl Layer for Dense {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let Self { name, bias, inputs, outputs } = self;
        let init = Initializer::LecunNormal { fan_in: *inputs };
        let weight = ParamSpec::trainable(format!("{name}.weight"), &[*outputs, *inputs], init);
        let mut values = vec![x, graph.parameter(weight)?];
        if *bias {
            let bias =
                ParamSpec::trainable(format!("{name}.bias"), &[*outputs], Initializer::Zeros);
            values.push(graph.parameter(bias)?);
        }
        graph.apply(Affine, &values)
    }
}
