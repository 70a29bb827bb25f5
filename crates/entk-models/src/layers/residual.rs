//! Two paths that are added, with an activation of the sum: the block of a ResNet.

use entk_device::Activation;

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    layers::sequential::Sequential,
    operations::entrywise::AddActivated,
};

/// Two paths from one input, added: `y = act(shortcut(x) + branch(x))`.
///
/// Shortcut and activation are the identity unless given. Parameters are those of the branch, then
/// those of the shortcut.
///
/// ```
/// # use entk_models::{Activation, BatchNorm2d, Conv2d, Residual, Sequential};
/// let branch = Sequential::new()
///     .then(Conv2d::new("conv1", 8, 8, 3).without_bias())
///     .then(BatchNorm2d::new("bn1", 8).with_activation(Activation::Relu))
///     .then(Conv2d::new("conv2", 8, 8, 3).without_bias())
///     .then(BatchNorm2d::new("bn2", 8).with_zero_scale());
/// let block = Residual::new(branch).with_activation(Activation::Relu);
/// ```
#[derive(Debug, Clone)]
pub struct Residual {
    branch: Sequential,
    shortcut: Sequential,
    activation: Option<Activation>,
}

impl Residual {
    /// `x + branch(x)`.
    pub fn new(branch: Sequential) -> Self {
        Self { branch, shortcut: Sequential::new(), activation: None }
    }

    /// Puts a path in place of the identity.
    #[must_use]
    pub fn with_shortcut(self, shortcut: Sequential) -> Self {
        Self { shortcut, ..self }
    }

    /// Sets the activation of the sum.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }
}

impl Layer for Residual {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let branch = self.branch.add_to(graph, x)?;
        let shortcut = self.shortcut.add_to(graph, x)?;
        graph.apply(AddActivated { activation: self.activation }, &[shortcut, branch])
    }
}
