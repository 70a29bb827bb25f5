//! The paper's LeNet5 as a configuration: sizes go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{Conv2d, Dense, Sequential},
    network::Network,
    operations::{pooling::AvgPool2d, shape::Flatten},
};

/// The paper's LeNet: two 5x5 SAME convolutions, each followed by the activation and 2x2 average
/// pooling, then three dense layers. Not the textbook LeNet5. Parameters `conv1`, `conv2`, `fc1`,
/// `fc2`, `fc3`, all with bias; 136,121 of them at its default.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LeNet5Config {
    /// Input shape (C, H, W); H and W are multiples of 4.
    pub input: [usize; 3],
    /// Filters of the two convolutions.
    pub filters: [usize; 2],
    /// Widths of the two hidden dense layers.
    pub hidden: [usize; 2],
    /// Number of outputs.
    pub outputs: usize,
    /// Activation after every layer but the last.
    pub activation: Activation,
}

impl Default for LeNet5Config {
    fn default() -> Self {
        Self {
            input: [3, 32, 32],
            filters: [6, 16],
            hidden: [120, 84],
            outputs: 1,
            activation: Activation::Relu,
        }
    }
}

impl LeNet5Config {
    /// Builds the network.
    ///
    /// # Errors
    /// A width of zero, or an input whose sides are no multiples of 4.
    pub fn network(&self) -> Result<Network> {
        let [channels, height, width] = self.input;
        let ([c1, c2], [h1, h2], act) = (self.filters, self.hidden, self.activation);
        if [channels, height, width, c1, c2, h1, h2, self.outputs].contains(&0) {
            return Err(ModelError::zero("lenet5 widths"));
        }
        if height % 4 + width % 4 > 0 {
            return Err(ModelError::shape(
                "lenet5 images",
                "(N, C, H, W) with H and W multiples of 4, which are pooled twice; pad or crop them",
                &self.input,
            ));
        }
        let layers = Sequential::new()
            .then(Conv2d::new("conv1", channels, c1, 5))
            .then(act)
            .then(AvgPool2d::new(2))
            .then(Conv2d::new("conv2", c1, c2, 5))
            .then(act)
            .then(AvgPool2d::new(2))
            .then(Flatten)
            .then(Dense::new("fc1", c2 * (height / 4) * (width / 4), h1))
            .then(act)
            .then(Dense::new("fc2", h1, h2))
            .then(act)
            .then(Dense::new("fc3", h2, self.outputs));
        Network::new(&self.input, layers)
    }
}
