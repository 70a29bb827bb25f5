//! LSTMs as a configuration: sizes go in, a network of sequences comes out, unrolled in time.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::Dense,
    network::Network,
    operations::{
        entrywise::{Add, Multiply},
        linear::Affine,
        shape::{Concat, Select, Slice, Stack},
    },
    params::{
        init::{InitialLaw, Initializer},
        spec::ParamSpec,
    },
};

/// Layers of long short-term memory (Hochreiter and Schmidhuber, 1997), as `torch.nn.LSTM` computes
/// them, and a dense layer on the last step. Its input is (N, T, inputs). The default reads an
/// image of 28 x 28 row by row.
///
/// With gates `i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh` the memory is
/// `c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)` and the state `h_t = sigmoid(o) tanh(c_t)`; both
/// start at zero. Names are PyTorch's: `lstm.weight_ih_l0`, `lstm.weight_hh_l0`, `lstm.bias_ih_l0`,
/// `lstm.bias_hh_l0`, ..., with `_reverse` for the direction back; `fc.weight`, `fc.bias`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LstmConfig {
    /// Steps of a sequence, T.
    pub steps: usize,
    /// Numbers at a step.
    pub inputs: usize,
    /// Width of the state.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Whether each layer also reads backwards.
    pub bidirectional: bool,
    /// Number of outputs.
    pub outputs: usize,
}

impl Default for LstmConfig {
    fn default() -> Self {
        Self { steps: 28, inputs: 28, hidden: 128, layers: 1, bidirectional: false, outputs: 10 }
    }
}

impl LstmConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero.
    pub fn network(&self) -> Result<Network> {
        let Self { steps, inputs, hidden, layers, outputs, .. } = *self;
        if [steps, inputs, hidden, layers, outputs].contains(&0) {
            return Err(ModelError::zero("lstm sizes"));
        }
        let mut graph = Graph::new();
        let mut x = graph.input(&[steps, inputs]);
        for layer in 0..layers {
            let mut states = self.direction(&mut graph, x, &format!("l{layer}"), false)?;
            if self.bidirectional {
                let back = self.direction(&mut graph, x, &format!("l{layer}_reverse"), true)?;
                states = graph.apply(Concat::new(1), &[states, back])?;
            }
            x = states;
        }
        let last = graph.apply(Select::new(0, steps - 1), &[x])?;
        let width = graph.shape(last)?.iter().product();
        let head = Dense::new("fc", width, outputs).with_law(InitialLaw::Torch);
        let output = graph.add(&head, last)?;
        graph.network(output)
    }

    /// The states (T, hidden) of one direction of a layer.
    fn direction(&self, graph: &mut Graph, x: Value, end: &str, back: bool) -> Result<Value> {
        let (hidden, inputs) = (self.hidden, graph.shape(x)?[1]);
        let init = Initializer::torch_default(hidden);
        let mut parameter = |name: &str, shape: &[usize]| {
            graph.parameter(ParamSpec::trainable(format!("lstm.{name}_{end}"), shape, init))
        };
        let weight = parameter("weight_ih", &[4 * hidden, inputs])?;
        let recurrent = parameter("weight_hh", &[4 * hidden, hidden])?;
        let bias = parameter("bias_ih", &[4 * hidden])?;
        let second_bias = parameter("bias_hh", &[4 * hidden])?;
        let gates = graph.apply(Affine, &[x, weight, bias])?;
        let gates = graph.apply(Add, &[gates, second_bias])?;
        let (mut states, mut last) = (Vec::new(), None);
        for at in 0..self.steps {
            let at = if back { self.steps - 1 - at } else { at };
            let gates = graph.apply(Select::new(0, at), &[gates])?;
            let next = self.step(graph, gates, recurrent, last)?;
            states.push(next.0);
            last = Some(next);
        }
        if back {
            states.reverse();
        }
        graph.apply(Stack::new(0), &states)
    }

    /// State and memory after a step, from the gates' part that the input gives.
    fn step(
        &self,
        graph: &mut Graph,
        mut gates: Value,
        recurrent: Value,
        last: Option<(Value, Value)>,
    ) -> Result<(Value, Value)> {
        if let Some((state, _)) = last {
            let part = graph.apply(Affine, &[state, recurrent])?;
            gates = graph.apply(Add, &[gates, part])?;
        }
        let mut gate = |at: usize, activation: Activation| {
            let slice = Slice::new(0, at * self.hidden..(at + 1) * self.hidden);
            let gate = graph.apply(slice, &[gates])?;
            graph.apply(activation, &[gate])
        };
        let (input, cell) = (gate(0, Activation::Sigmoid)?, gate(2, Activation::Tanh)?);
        let (forget, output) = (gate(1, Activation::Sigmoid)?, gate(3, Activation::Sigmoid)?);
        let mut memory = graph.apply(Multiply, &[input, cell])?;
        if let Some((_, before)) = last {
            let kept = graph.apply(Multiply, &[forget, before])?;
            memory = graph.apply(Add, &[kept, memory])?;
        }
        let bounded = graph.apply(Activation::Tanh, &[memory])?;
        Ok((graph.apply(Multiply, &[output, bounded])?, memory))
    }
}
