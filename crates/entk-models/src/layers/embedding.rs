//! Embedding of tokens: names a table and writes an [`Embed`](crate::Embed).

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::shape::Embed,
    params::{init::Initializer, spec::ParamSpec},
};

/// A row of a table (V, D) for every id: (N, ..) of ids below V -> (N, .., D).
#[derive(Debug, Clone)]
pub struct Embedding {
    name: String,
    rows: usize,
    width: usize,
    init: Initializer,
}

impl Embedding {
    /// A table `NAME.weight` of `rows` rows, standard normal at first, as in PyTorch.
    pub fn new(name: &str, rows: usize, width: usize) -> Self {
        Self { name: name.to_owned(), rows, width, init: Initializer::Normal }
    }

    /// Sets the initial law.
    #[must_use]
    pub fn with_init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }
}

impl Layer for Embedding {
    fn add_to(&self, graph: &mut Graph, ids: Value) -> Result<Value> {
        let (name, shape) = (format!("{}.weight", self.name), [self.rows, self.width]);
        let table = graph.parameter(ParamSpec::trainable(name, &shape, self.init))?;
        graph.apply(Embed::default(), &[ids, table])
    }
}
