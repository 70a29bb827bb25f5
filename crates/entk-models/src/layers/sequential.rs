//! Layers one after another: most networks, and each path of a residual block.

use std::sync::Arc;

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
};

/// Layers one after another.
#[derive(Debug, Clone, Default)]
pub struct Sequential {
    layers: Vec<Arc<dyn Layer>>,
}

impl Sequential {
    /// The identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer.
    #[must_use]
    pub fn then(mut self, layer: impl Layer + 'static) -> Self {
        self.push(layer);
        self
    }

    /// Appends a layer.
    pub fn push(&mut self, layer: impl Layer + 'static) {
        self.layers.push(Arc::new(layer));
    }
}

impl Extend<Arc<dyn Layer>> for Sequential {
    fn extend<I: IntoIterator<Item = Arc<dyn Layer>>>(&mut self, layers: I) {
        self.layers.extend(layers);
    }
}

impl FromIterator<Arc<dyn Layer>> for Sequential {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Layer>>>(layers: I) -> Self {
        Self { layers: layers.into_iter().collect() }
    }
}

impl Layer for Sequential {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        self.layers.iter().try_fold(x, |x, layer| layer.add_to(graph, x))
    }
}
