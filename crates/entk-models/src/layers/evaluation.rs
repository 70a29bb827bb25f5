//! Layers that act in a training which draws random numbers and are the identity elsewhere: they
//! write nothing into a graph.

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
};

/// Dropout as in evaluation: the identity, whatever its probability. Kernels, derivatives and the
/// trainings of this workspace are those of the function without noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropout;

impl Layer for Dropout {
    fn add_to(&self, _: &mut Graph, x: Value) -> Result<Value> {
        Ok(x)
    }
}

/// Stochastic depth, or drop path, as in evaluation: the identity, whatever its probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StochasticDepth;

impl Layer for StochasticDepth {
    fn add_to(&self, _: &mut Graph, x: Value) -> Result<Value> {
        Ok(x)
    }
}
