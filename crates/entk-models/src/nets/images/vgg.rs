//! VGG networks as a configuration: stages of filters go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{BatchNorm2d, Conv2d, Dense, Sequential},
    network::Network,
    operations::{
        pooling::{AvgPool2d, MaxPool2d},
        shape::Flatten,
    },
    params::init::InitialLaw,
};

/// The networks of Simonyan and Zisserman: stages of 3x3 convolutions, each stage ending in 2x2
/// max pooling, then average pooling to a fixed size and three dense layers. The default is VGG16
/// with 138,357,544 parameters.
///
/// Names are torchvision's: `features.0`, `features.2`, ..., `classifier.0`, `classifier.3`,
/// `classifier.6`; a norm comes between a convolution and its activation.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct VggConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Filters of the convolutions of each stage.
    pub stages: Vec<Vec<usize>>,
    /// Whether a batch norm follows each convolution.
    pub batch_norm: bool,
    /// Side of the pooled images that the dense layers see.
    pub pooled: usize,
    /// Width of the two hidden dense layers.
    pub hidden: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Activation everywhere.
    pub activation: Activation,
}

impl Default for VggConfig {
    fn default() -> Self {
        Self {
            input: [3, 224, 224],
            stages: [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
                .map(|(convs, filters)| vec![filters; convs])
                .to_vec(),
            batch_norm: false,
            pooled: 7,
            hidden: 4096,
            outputs: 1000,
            activation: Activation::Relu,
        }
    }
}

impl VggConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, or more stages than the input can be halved.
    pub fn network(&self) -> Result<Network> {
        let sizes = [self.pooled, self.hidden, self.outputs];
        if self
            .input
            .iter()
            .chain(self.stages.iter().flatten())
            .chain(&sizes)
            .any(|size| *size == 0)
        {
            return Err(ModelError::zero("vgg sizes"));
        }
        let (mut layers, mut channels, mut at) = (Sequential::new(), self.input[0], 0);
        for stage in &self.stages {
            for &filters in stage {
                layers = self.convolution(layers, at, channels, filters);
                (channels, at) = (filters, at + if self.batch_norm { 3 } else { 2 });
            }
            layers = layers.then(MaxPool2d::new(2));
            at += 1;
        }
        let layers = layers.then(AvgPool2d::adaptive(self.pooled)).then(Flatten);
        let dense = |at: usize, inputs, outputs| {
            Dense::new(&format!("classifier.{at}"), inputs, outputs)
                .with_law(InitialLaw::Normal { std: 0.01 })
        };
        let layers = layers
            .then(dense(0, channels * self.pooled * self.pooled, self.hidden))
            .then(self.activation)
            .then(dense(3, self.hidden, self.hidden))
            .then(self.activation)
            .then(dense(6, self.hidden, self.outputs));
        Network::new(&self.input, layers)
    }

    /// A convolution at a place of `features`, maybe its norm, and the activation.
    fn convolution(
        &self,
        layers: Sequential,
        at: usize,
        channels: usize,
        filters: usize,
    ) -> Sequential {
        let conv = Conv2d::new(&format!("features.{at}"), channels, filters, 3);
        let layers = layers.then(conv.with_law(InitialLaw::HeFanOut));
        match self.batch_norm {
            true => {
                let norm = BatchNorm2d::new(&format!("features.{}", at + 1), filters);
                layers.then(norm.with_activation(self.activation))
            }
            false => layers.then(self.activation),
        }
    }
}
