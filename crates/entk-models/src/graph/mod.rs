//! A network as a graph: inputs, parameters and results of operations, each a value, in an order in
//! which every operation comes after what it reads. Layers write it; networks pass over it.

pub(crate) mod backward;
pub(crate) mod flow;
pub(crate) mod forward;
pub(crate) mod mixed;
pub(crate) mod promise;
pub(crate) mod summary;
pub(crate) mod tangent;

use std::sync::Arc;

use crate::{
    error::{ModelError, Result},
    operation::{ErasedOperation, Operation},
    params::{
        init::Initializer,
        spec::{ParamKind, ParamSpec},
    },
};

/// A value of a [`Graph`]: an input, a parameter, or the result of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(pub(crate) usize);

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The input of this number.
    Input(usize),
    /// The parameter of this number.
    Parameter(usize),
    /// An operation on values.
    Result { operation: Arc<dyn ErasedOperation>, inputs: Vec<usize> },
}

/// One value of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) source: Source,
    /// Of one example.
    pub(crate) shape: Vec<usize>,
    /// Whether it follows from parameters alone, and so is one for all examples.
    pub(crate) shared: bool,
}

impl Node {
    /// Examples of the value among `batch`: one if it is shared.
    pub(crate) fn examples(&self, batch: usize) -> usize {
        if self.shared { 1 } else { batch }
    }
}

/// What kind of numbers an input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// Numbers of the parameters' element type.
    Real,
    /// Whole numbers, as of tokens.
    Ids,
}

/// What an input of an operation is, in a graph of it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A value of each example.
    Each(InputKind),
    /// One value for all examples, which moves.
    Parameter,
    /// One value for all examples, which does not.
    Constant,
}

/// A graph of operations, written node by node.
///
/// ```
/// # use entk_models::{Activation, AddActivated, Dense, Graph};
/// // Two branches that share their first layer: tanh(h) + dense(h).
/// let mut graph = Graph::new();
/// let x = graph.input(&[8]);
/// let h = graph.add(&Dense::new("first", 8, 4), x)?;
/// let left = graph.apply(Activation::Tanh, &[h])?;
/// let right = graph.add(&Dense::new("second", 4, 4), h)?;
/// let sum = graph.apply(AddActivated::default(), &[left, right])?;
/// let output = graph.add(&Dense::new("head", 4, 1), sum)?;
/// let network = graph.network(output)?;
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) specs: Vec<ParamSpec>,
    pub(crate) inputs: Vec<InputKind>,
    /// Statistics that may not be below zero, by number.
    pub(crate) variances: Vec<usize>,
}

/// Whether a value of this shape has no more numbers of f64 than a machine can address.
fn is_addressable(shape: &[usize]) -> bool {
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    count.is_some_and(|count| count <= isize::MAX as usize / size_of::<f64>())
}

impl Graph {
    /// No value yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input; `shape` is that of one example.
    pub fn input(&mut self, shape: &[usize]) -> Value {
        self.input_of(shape, InputKind::Real)
    }

    /// An input of whole numbers, as of tokens.
    pub fn ids(&mut self, shape: &[usize]) -> Value {
        self.input_of(shape, InputKind::Ids)
    }

    /// An input of this kind.
    pub fn input_of(&mut self, shape: &[usize], kind: InputKind) -> Value {
        self.inputs.push(kind);
        let source = Source::Input(self.inputs.len() - 1);
        self.push(Node { source, shape: shape.to_vec(), shared: false })
    }

    /// A parameter or statistic of its own name. To use one twice, use its value twice, or find it
    /// by [`existing`](Graph::existing).
    ///
    /// # Errors
    /// A name that another one has, a size of 0, or more numbers than can be addressed.
    pub fn parameter(&mut self, spec: ParamSpec) -> Result<Value> {
        if spec.shape.contains(&0) {
            return Err(ModelError::zero(format!("{}: sizes {:?}", spec.name, spec.shape)));
        }
        if !is_addressable(&spec.shape) {
            return Err(ModelError::TooLarge { name: spec.name, shape: spec.shape });
        }
        if self.specs.iter().any(|other| other.name == spec.name) {
            return Err(ModelError::DuplicateName { name: spec.name });
        }
        let node = Node {
            source: Source::Parameter(self.specs.len()),
            shape: spec.shape.clone(),
            shared: true,
        };
        self.specs.push(spec);
        Ok(self.push(node))
    }

    /// A running statistic that may not be below zero.
    ///
    /// # Errors
    /// A name that another parameter has.
    pub fn variance(&mut self, spec: ParamSpec) -> Result<Value> {
        let value = self.parameter(ParamSpec { kind: ParamKind::Statistic, ..spec })?;
        self.variances.push(self.specs.len() - 1);
        Ok(value)
    }

    /// The parameter of this name, to use it once more.
    ///
    /// # Errors
    /// [`ModelError::UnknownName`], listing the names there are.
    pub fn existing(&self, name: &str) -> Result<Value> {
        let found = self.nodes.iter().position(|node| match node.source {
            Source::Parameter(at) => self.specs[at].name == name,
            _ => false,
        });
        found.map(Value).ok_or_else(|| ModelError::UnknownName {
            name: name.to_owned(),
            known: self.specs.iter().map(|spec| spec.name.clone()).collect(),
        })
    }

    /// The result of an operation on values.
    ///
    /// # Errors
    /// Values of another graph, those that the operation refuses, a result of size 0, values of
    /// more numbers than can be addressed, or a structured weight that depends on an input.
    pub fn apply(&mut self, operation: impl Operation, inputs: &[Value]) -> Result<Value> {
        let inputs: Vec<usize> = inputs.iter().map(|value| value.0).collect();
        self.append(Arc::new(operation), inputs)
    }

    pub(crate) fn append(
        &mut self,
        operation: Arc<dyn ErasedOperation>,
        inputs: Vec<usize>,
    ) -> Result<Value> {
        if let Some(&asked) = inputs.iter().find(|at| **at >= self.nodes.len()) {
            return Err(ModelError::NoValue { asked, values: self.nodes.len() });
        }
        let depends =
            |(at, v): (usize, &usize)| operation.needs_shared(at) && !self.nodes[*v].shared;
        if inputs.iter().enumerate().any(depends) {
            return Err(ModelError::WeightOfInput { operation: format!("{operation:?}") });
        }
        let shapes = self.shapes(&inputs);
        if let Some(shape) = shapes.iter().find(|shape| !is_addressable(shape)) {
            let name = format!("{operation:?}: one of its inputs");
            return Err(ModelError::TooLarge { name, shape: shape.to_vec() });
        }
        let shape = operation.output_shape(&shapes)?;
        if shape.contains(&0) {
            return Err(ModelError::zero(format!("{operation:?}: sizes {shape:?} of its result")));
        }
        if !is_addressable(&shape) {
            let name = format!("{operation:?}: its result");
            return Err(ModelError::TooLarge { name, shape });
        }
        let shared = inputs.iter().all(|at| self.nodes[*at].shared);
        Ok(self.push(Node { source: Source::Result { operation, inputs }, shape, shared }))
    }

    /// Shape of one example of a value.
    ///
    /// # Errors
    /// A value of another graph.
    pub fn shape(&self, value: Value) -> Result<&[usize]> {
        let node = self.nodes.get(value.0);
        let values = self.nodes.len();
        node.map(|n| n.shape.as_slice()).ok_or(ModelError::NoValue { asked: value.0, values })
    }

    /// Whether a value follows from parameters alone, and so is one for all examples.
    pub fn is_shared(&self, value: Value) -> bool {
        self.nodes.get(value.0).is_some_and(|node| node.shared)
    }

    pub(crate) fn shapes(&self, values: &[usize]) -> Vec<&[usize]> {
        values.iter().map(|at| self.nodes[*at].shape.as_slice()).collect()
    }

    /// Names of values that are parameters; empty for others.
    pub(crate) fn names(&self, values: &[usize]) -> Vec<&str> {
        let name = |at: &usize| match self.nodes[*at].source {
            Source::Parameter(spec) => self.specs[spec].name.as_str(),
            _ => "",
        };
        values.iter().map(name).collect()
    }

    /// Operations of the matrix products of one example.
    pub(crate) fn operations(&self) -> f64 {
        let of = |node: &Node| match &node.source {
            Source::Result { operation, inputs } => operation.operations(&self.shapes(inputs)),
            _ => 0.0,
        };
        self.nodes.iter().map(of).sum()
    }

    /// The number of an operation's result, in a graph of it alone, for names, shapes and roles of
    /// its inputs.
    pub(crate) fn alone(
        operation: &Arc<dyn ErasedOperation>,
        inputs: &[(&str, Vec<usize>, Role)],
    ) -> Result<(Self, usize)> {
        let mut graph = Self::new();
        let mut values = Vec::with_capacity(inputs.len());
        for (name, shape, role) in inputs {
            let spec = ParamSpec::trainable(*name, shape, Initializer::Normal);
            values.push(match role {
                Role::Each(kind) => graph.input_of(shape, *kind).0,
                Role::Parameter => graph.parameter(spec)?.0,
                Role::Constant => graph.parameter(ParamSpec { kind: ParamKind::Frozen, ..spec })?.0,
            });
        }
        let output = graph.append(operation.clone(), values)?.0;
        Ok((graph, output))
    }

    /// The values that a value follows from at once.
    pub(crate) fn read_by(&self, at: usize) -> &[usize] {
        match &self.nodes[at].source {
            Source::Result { inputs, .. } => inputs,
            _ => &[],
        }
    }

    /// How often each value is read.
    pub(crate) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        for at in 0..self.nodes.len() {
            self.read_by(at).iter().for_each(|input| readers[*input] += 1);
        }
        readers
    }

    pub(crate) fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value(self.nodes.len() - 1)
    }

    /// The values that `output` follows from, numbered anew without the others, and the number of
    /// `output` among them.
    pub(crate) fn leading_to(&self, output: usize) -> (Self, usize) {
        let is_result = |node: &Node| matches!(node.source, Source::Result { .. });
        let mut read: Vec<bool> = self.nodes.iter().map(|node| !is_result(node)).collect();
        read[output] = true;
        for at in (0..self.nodes.len()).rev() {
            if read[at] {
                self.read_by(at).iter().for_each(|input| read[*input] = true);
            }
        }
        let mut graph = Self { nodes: Vec::new(), ..self.clone() };
        let mut moved = vec![0; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| read[*at]) {
            let mut node = node.clone();
            if let Source::Result { inputs, .. } = &mut node.source {
                inputs.iter_mut().for_each(|input| *input = moved[*input]);
            }
            moved[at] = graph.push(node).0;
        }
        (graph, moved[output])
    }
}
