//! Convolution as a layer: names a weight and a bias, and writes a
//! [`Convolve`](crate::Convolve).

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    loops::padding::Padding,
    operations::linear::Convolve,
    params::{init::InitialLaw, spec::ParamSpec},
};

/// Two-dimensional cross-correlation with weight (out, in, k, k).
#[derive(Debug, Clone)]
pub struct Conv2d {
    name: String,
    bias: bool,
    channels: usize,
    filters: usize,
    kernel: [usize; 2],
    convolve: Convolve,
    law: InitialLaw,
}

impl Conv2d {
    /// A square kernel, stride 1, `Padding::Same`, parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, channels: usize, filters: usize, kernel: usize) -> Self {
        Self {
            name: name.to_owned(),
            bias: true,
            channels,
            filters,
            kernel: [kernel; 2],
            convolve: Convolve::default(),
            law: InitialLaw::default(),
        }
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

    /// Sets the stride on both axes.
    #[must_use]
    pub fn with_stride(self, stride: usize) -> Self {
        Self { convolve: Convolve { stride: [stride; 2], ..self.convolve }, ..self }
    }

    /// Sets the padding.
    #[must_use]
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { convolve: Convolve { padding, ..self.convolve }, ..self }
    }
}

impl Layer for Conv2d {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let Self { name, channels, filters, kernel: [kh, kw], .. } = self;
        let fan_in = channels * kh * kw;
        let init = self.law.weight(fan_in, filters * kh * kw);
        let shape = [*filters, *channels, *kh, *kw];
        let weight = ParamSpec::trainable(format!("{name}.weight"), &shape, init);
        let mut values = vec![x, graph.parameter(weight)?];
        if self.bias {
            let init = self.law.bias(fan_in);
            let bias = ParamSpec::trainable(format!("{name}.bias"), &[*filters], init);
            values.push(graph.parameter(bias)?);
        }
        graph.apply(self.convolve, &values)
    }
}
