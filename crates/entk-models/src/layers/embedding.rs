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
}

impl Embedding {
    /// A table `NAME.weight` of `rows` rows, standard normal at first, as in PyTorch.
    pub fn new(name: &str, rows: usize, width: usize) -> Self {
        Self { name: name.to_owned(), rows, width }
    }
}

impl Layer for Embedding {
    fn add_to(&self, graph: &mut Graph, ids: Value) -> Result<Value> {
        let (name, shape) = (format!("{}.weight", self.name), [self.rows, self.width]);
        let table = graph.parameter(ParamSpec::trainable(name, &shape, Initializer::Normal))?;
        graph.apply(Embed, &[ids, table])
    }
}
