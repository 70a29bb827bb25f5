//! Batch normalisation as a layer: names its tensors, and writes a
//! [`NormalizeBatch`](crate::NormalizeBatch).

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layer::Layer,
    operations::norm::NormalizeBatch,
    params::{init::Initializer, spec::ParamSpec},
};

/// Batch normalisation over channels and that many axes of pixels, with an optional activation
/// fused behind it.
///
/// Parameters `NAME.weight` and `NAME.bias`, statistics `NAME.running_mean` and
/// `NAME.running_var`.
#[derive(Debug, Clone)]
pub struct BatchNorm<const AXES: usize> {
    name: String,
    channels: usize,
    scale: Initializer,
    normalize: NormalizeBatch,
}

/// Batch normalisation of sequences (C, L), or of (C) alone.
pub type BatchNorm1d = BatchNorm<1>;
/// Batch normalisation of images (C, H, W).
pub type BatchNorm2d = BatchNorm<2>;

impl<const AXES: usize> BatchNorm<AXES> {
    /// A norm over `channels` channels that starts with scale 1.
    pub fn new(name: &str, channels: usize) -> Self {
        let (scale, normalize) = (Initializer::Ones, NormalizeBatch::default());
        Self { name: name.to_owned(), channels, scale, normalize }
    }

    /// Starts with scale 0.
    #[must_use]
    pub fn with_zero_scale(self) -> Self {
        Self { scale: Initializer::Zeros, ..self }
    }

    /// Puts an activation behind it: one pass over memory less each way than an operation of
    /// its own, and one activation less to keep.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { normalize: NormalizeBatch { activation: Some(activation) }, ..self }
    }
}

impl<const AXES: usize> Layer for BatchNorm<AXES> {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let axes = graph.shape(x)?.len();
        if axes != AXES + 1 && (AXES, axes) != (1, 1) {
            let expected = format!("(N, {}) and {AXES} axes of pixels", self.channels);
            return Err(ModelError::shape(&self.name, expected, graph.shape(x)?));
        }
        let (shape, name) = ([self.channels], |part| format!("{}.{part}", self.name));
        let values = [
            x,
            graph.parameter(ParamSpec::trainable(name("weight"), &shape, self.scale))?,
            graph.parameter(ParamSpec::trainable(name("bias"), &shape, Initializer::Zeros))?,
            graph.parameter(ParamSpec::statistic(
                name("running_mean"),
                &shape,
                Initializer::Zeros,
            ))?,
            graph.variance(ParamSpec::statistic(name("running_var"), &shape, Initializer::Ones))?,
        ];
        graph.apply(self.normalize, &values)
    }
}
