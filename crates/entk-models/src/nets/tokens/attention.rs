//! Attention whose queries, keys and values are dense layers of their own: tokens go in, tokens
//! come out. Written by the encoder and by the decoder with grouped heads.

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    layers::Dense,
    operations::{
        attention::{Attend, Rotate},
        shape::{Permute, Reshape},
    },
};

/// Self-attention of tokens (T, D): dense maps to queries of H heads and to keys and values of
/// groups of heads, maybe rotary positions, [attention](Attend), and a dense map back.
#[derive(Debug, Clone)]
pub(super) struct SelfAttention {
    pub(super) query: Dense,
    pub(super) key: Dense,
    pub(super) value: Dense,
    pub(super) output: Dense,
    /// Width of a head.
    pub(super) head: usize,
    pub(super) rotate: Option<Rotate>,
    pub(super) attend: Attend,
}

impl SelfAttention {
    /// A dense map of the tokens, heads first: (H, T, width of a head).
    fn heads(&self, graph: &mut Graph, x: Value, dense: &Dense) -> Result<Value> {
        let y = graph.add(dense, x)?;
        let &[tokens, width] = graph.shape(y)? else { return Ok(y) };
        let y = graph.apply(Reshape::new(&[tokens, width / self.head, self.head]), &[y])?;
        graph.apply(Permute::new(&[1, 0, 2]), &[y])
    }
}

impl Layer for SelfAttention {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let mut query = self.heads(graph, x, &self.query)?;
        let mut key = self.heads(graph, x, &self.key)?;
        let value = self.heads(graph, x, &self.value)?;
        if let Some(rotate) = self.rotate {
            query = graph.apply(rotate, &[query])?;
            key = graph.apply(rotate, &[key])?;
        }
        let y = graph.apply(self.attend.clone(), &[query, key, value])?;
        let y = graph.apply(Permute::new(&[1, 0, 2]), &[y])?;
        let shape = graph.shape(y)?;
        let shape = [shape[0], shape[1..].iter().product()];
        let y = graph.apply(Reshape::new(&shape), &[y])?;
        graph.add(&self.output, y)
    }
}
