//! Where derivatives flow in a graph: parameters, and which of them are exactly zero, go in; which
//! values a cotangent reaches and which depend on what is asked for come out. Made once a sweep.

use crate::{
    error::Result,
    graph::{Graph, Source},
    params::{Params, spec::ParamKind},
};

/// Where derivatives flow.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// For each value that is a result, which of its inputs it does not depend on, exactly.
    pub(crate) blocked: Vec<Vec<bool>>,
    /// Whether a cotangent arrives at a value.
    pub(crate) reached: Vec<bool>,
    /// Whether a value follows from trainable parameters.
    pub(crate) moves: Vec<bool>,
    /// Whether a value follows from trainable parameters or from an input.
    pub(crate) moves_with_input: Vec<bool>,
}

impl Flow {
    /// Without `skip` nothing is taken to be zero.
    pub(crate) fn new(graph: &Graph, output: usize, params: &Params, skip: bool) -> Result<Self> {
        let count = graph.nodes.len();
        let mut flow = Self {
            blocked: vec![Vec::new(); count],
            reached: vec![false; count],
            moves: vec![false; count],
            moves_with_input: vec![false; count],
        };
        let zero = graph
            .nodes
            .iter()
            .map(|node| match node.source {
                Source::Parameter(at) if skip => params.is_zero(&graph.specs[at].name),
                _ => Ok(false),
            })
            .collect::<Result<Vec<bool>>>()?;
        for (at, node) in graph.nodes.iter().enumerate() {
            let trains = |spec: usize| graph.specs[spec].kind == ParamKind::Trainable;
            match &node.source {
                Source::Input(_) => flow.moves_with_input[at] = true,
                Source::Parameter(spec) => flow.moves[at] = trains(*spec),
                Source::Result { operation, inputs } => {
                    let zero: Vec<bool> = inputs.iter().map(|input| zero[*input]).collect();
                    let blocked =
                        if skip { operation.blocks(&zero) } else { vec![false; zero.len()] };
                    let open = || inputs.iter().zip(&blocked).filter(|(_, b)| !**b).map(|(i, _)| i);
                    flow.moves[at] = open().any(|input| flow.moves[*input]);
                    flow.moves_with_input[at] = open().any(|input| flow.moves_with_input[*input]);
                    flow.blocked[at] = blocked;
                }
            }
            flow.moves_with_input[at] |= flow.moves[at];
        }
        flow.reached[output] = true;
        for (at, node) in graph.nodes.iter().enumerate().rev() {
            if let (true, Source::Result { inputs, .. }) = (flow.reached[at], &node.source) {
                for (input, _) in inputs.iter().zip(&flow.blocked[at]).filter(|(_, b)| !**b) {
                    flow.reached[*input] = true;
                }
            }
        }
        Ok(flow)
    }

    /// The values whose cotangents are asked for: those that follow from trainable parameters, or
    /// from an input too.
    pub(crate) fn asked(&self, of_inputs: bool) -> &[bool] {
        if of_inputs { &self.moves_with_input } else { &self.moves }
    }

    /// Whether the tangent of a value is needed.
    pub(crate) fn carries(&self, at: usize, of_inputs: bool) -> bool {
        self.reached[at] && self.asked(of_inputs)[at]
    }

    /// For each input of the result `at`, whether its cotangent is asked for and not zero.
    pub(crate) fn wanted(&self, at: usize, inputs: &[usize], of_inputs: bool) -> Vec<bool> {
        let asked = self.asked(of_inputs);
        inputs.iter().zip(&self.blocked[at]).map(|(input, b)| asked[*input] && !b).collect()
    }
}
