//! The paper's multilayer perceptron as a configuration: widths go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{Dense, Sequential},
    network::Network,
    operations::shape::Flatten,
    params::init::InitialLaw,
};

/// The multilayer perceptron of the paper: flatten, then dense layers `fc1`, `fc2`, ... with an
/// activation between them, all with bias. 317,501 parameters at its default.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct MlpConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Number of outputs.
    pub outputs: usize,
    /// Activation after every hidden layer.
    pub activation: Activation,
    /// Initial law, the NTK parametrisation among them.
    pub law: InitialLaw,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            input: [3, 32, 32],
            hidden: vec![100, 100],
            outputs: 1,
            activation: Activation::Relu,
            law: InitialLaw::default(),
        }
    }
}

impl MlpConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A width of zero.
    pub fn network(&self) -> Result<Network> {
        // Beyond what can be counted `Flatten` is refused.
        let mut width = self.input.iter().fold(1, |n: usize, size| n.saturating_mul(*size));
        let mut layers = Sequential::new().then(Flatten);
        for (at, next) in self.hidden.iter().chain([&self.outputs]).enumerate() {
            if width == 0 || *next == 0 {
                return Err(ModelError::zero("mlp widths"));
            }
            if at > 0 {
                layers = layers.then(self.activation);
            }
            let dense = Dense::new(&format!("fc{}", at + 1), width, *next);
            layers = layers.then(dense.with_law(self.law));
            width = *next;
        }
        Network::new(&self.input, layers)
    }
}
