//! What a layer is: something that writes operations and parameters into a graph. Held by
//! [`Sequential`](crate::Sequential) and [`Residual`](crate::Residual).

use std::fmt::Debug;

use crate::{
    error::Result,
    graph::{Graph, Value},
    operation::Operation,
};

/// A way to write a part of a [`Graph`] that has one input and one result.
///
/// A layer holds sizes and the full names of its parameters, never their values. Every
/// [`Operation`] of one input is a layer.
pub trait Layer: Debug + Send + Sync {
    /// Writes the layer on top of `x`, and gives its result.
    ///
    /// # Errors
    /// A value that the layer cannot take, or a parameter's name that is taken.
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value>;
}

impl<O: Operation + Clone> Layer for O {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        graph.apply(self.clone(), &[x])
    }
}

impl Graph {
    /// Writes a layer on top of a value, and gives its result.
    ///
    /// # Errors
    /// As [`Layer::add_to`].
    pub fn add(&mut self, layer: &dyn Layer, x: Value) -> Result<Value> {
        layer.add_to(self, x)
    }
}
