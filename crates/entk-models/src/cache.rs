//! What the forward pass of a layer hands to its derivatives: tensors, and the caches of the layers
//! inside. Made by [`Layer::forward`](crate::Layer::forward), read by everything after it.

use candle_core::Tensor;

use crate::error::{ModelError, Result};

/// What a layer's forward pass keeps for its derivatives.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// Tensors of this layer.
    pub tensors: Vec<Tensor>,
    /// Caches of the layers inside this one.
    pub children: Vec<Cache>,
    /// Whether the output is exactly constant in the input at these parameters: tangents do not
    /// pass and cotangents are exactly zero below, so neither is computed. See
    /// [`Layer::stops`](crate::Layer::stops).
    pub stops: bool,
}

impl Cache {
    /// A cache of tensors only.
    pub fn of(tensors: impl IntoIterator<Item = Tensor>) -> Self {
        Self { tensors: tensors.into_iter().collect(), ..Self::default() }
    }

    /// The tensor kept first: by convention the input of the layer.
    ///
    /// # Errors
    /// [`ModelError::Cache`] where none was kept.
    pub fn input(&self) -> Result<&Tensor> {
        self.tensors.first().ok_or(ModelError::Cache { what: "input" })
    }

    /// The cache of the layer of this index inside.
    ///
    /// # Errors
    /// [`ModelError::Cache`] where there is none.
    pub fn child(&self, index: usize) -> Result<&Self> {
        self.children.get(index).ok_or(ModelError::Cache { what: "layer inside" })
    }

    /// Marks whether the layer [`stops`](crate::Layer::stops).
    #[must_use]
    pub fn stopping(self, stops: bool) -> Self {
        Self { stops, ..self }
    }

    /// Clears `stops` here and inside, so that derivatives are computed everywhere.
    pub(crate) fn enter_all(&mut self) {
        self.stops = false;
        self.children.iter_mut().for_each(Self::enter_all);
    }
}
