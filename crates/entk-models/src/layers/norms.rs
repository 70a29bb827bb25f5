//! Normalisations of each example by itself as layers: name a weight and maybe a bias, and write a
//! [`Normalize`](crate::Normalize).

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::{norm::Normalize, shape::Permute},
    params::{init::Initializer, spec::ParamSpec},
};

/// The parameters of a normalisation: `NAME.weight`, ones at first, and maybe `NAME.bias`, zeros.
#[derive(Debug, Clone)]
struct Scaled {
    name: String,
    shape: Vec<usize>,
    bias: bool,
    normalize: Normalize,
}

impl Scaled {
    fn new(name: &str, shape: &[usize], normalize: Normalize) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), bias: true, normalize }
    }

    fn with_eps(self, eps: f64) -> Self {
        Self { normalize: self.normalize.with_eps(eps), ..self }
    }

    fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let spec = |part: &str, init| {
            ParamSpec::trainable(format!("{}.{part}", self.name), &self.shape, init)
        };
        let mut values = vec![x, graph.parameter(spec("weight", Initializer::Ones))?];
        if self.bias {
            values.push(graph.parameter(spec("bias", Initializer::Zeros))?);
        }
        graph.apply(self.normalize, &values)
    }
}

/// Layer norm over the last axes, as `torch.nn.LayerNorm`, with eps 1e-5 unless another is chosen.
/// Without weight and bias it is the operation [`Normalize::layer`].
#[derive(Debug, Clone)]
pub struct LayerNorm {
    scaled: Scaled,
    over_channels: bool,
}

impl LayerNorm {
    /// Over the last axes of this shape; `NAME.weight` and `NAME.bias` have it too.
    pub fn new(name: &str, shape: &[usize]) -> Self {
        let scaled = Scaled::new(name, shape, Normalize::layer(shape.len()));
        Self { scaled, over_channels: false }
    }

    /// Over the channels of each pixel of images (C, ...) in place of the last axis, as ConvNeXt's.
    pub fn over_channels(name: &str, channels: usize) -> Self {
        Self { over_channels: true, ..Self::new(name, &[channels]) }
    }

    /// Adds another number to variances.
    #[must_use]
    pub fn with_eps(self, eps: f64) -> Self {
        Self { scaled: self.scaled.with_eps(eps), ..self }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { scaled: self.scaled.without_bias(), ..self }
    }
}

impl Layer for LayerNorm {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        if !self.over_channels {
            return self.scaled.add_to(graph, x);
        }
        let last = graph.shape(x)?.len().saturating_sub(1);
        let behind: Vec<usize> = (1..=last).chain([0]).collect();
        let before: Vec<usize> = std::iter::once(last).chain(0..last).collect();
        let x = graph.apply(Permute::new(&behind), &[x])?;
        let y = self.scaled.add_to(graph, x)?;
        graph.apply(Permute::new(&before), &[y])
    }
}

/// RMS norm over the last axis, as `torch.nn.RMSNorm`: a weight and no bias.
#[derive(Debug, Clone)]
pub struct RmsNorm(Scaled);

impl RmsNorm {
    /// Over a last axis of this length, with parameter `NAME.weight`. eps is the distance from 1
    /// to the next number of the element type, as in PyTorch.
    pub fn new(name: &str, width: usize) -> Self {
        Self(Scaled::new(name, &[width], Normalize::rms()).without_bias())
    }

    /// Adds another number to mean squares; Llama's is 1e-5 or 1e-6.
    #[must_use]
    pub fn with_eps(self, eps: f64) -> Self {
        Self(self.0.with_eps(eps))
    }
}

impl Layer for RmsNorm {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        self.0.add_to(graph, x)
    }
}

/// Group norm of (C, ...), as `torch.nn.GroupNorm`, with eps 1e-5 unless another is chosen.
#[derive(Debug, Clone)]
pub struct GroupNorm(Scaled);

impl GroupNorm {
    /// So many groups of neighbouring channels, with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, groups: usize, channels: usize) -> Self {
        Self(Scaled::new(name, &[channels], Normalize::groups(groups)))
    }

    /// Adds another number to variances.
    #[must_use]
    pub fn with_eps(self, eps: f64) -> Self {
        Self(self.0.with_eps(eps))
    }
}

impl Layer for GroupNorm {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        self.0.add_to(graph, x)
    }
}

/// Instance norm of (C, ...), as `torch.nn.InstanceNorm2d` and its like with `affine=True`, with
/// eps 1e-5. Without weight and bias, as is PyTorch's default, it is the operation
/// [`Normalize::instance`].
#[derive(Debug, Clone)]
pub struct InstanceNorm(Scaled);

impl InstanceNorm {
    /// Each channel by itself, with parameters `NAME.weight` and `NAME.bias`.
    pub fn new(name: &str, channels: usize) -> Self {
        Self(Scaled::new(name, &[channels], Normalize::instance()))
    }

    /// Adds another number to variances.
    #[must_use]
    pub fn with_eps(self, eps: f64) -> Self {
        Self(self.0.with_eps(eps))
    }
}

impl Layer for InstanceNorm {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        self.0.add_to(graph, x)
    }
}
