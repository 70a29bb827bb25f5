//! The pass forward of tangents over a graph: a tangent of the parameters, and maybe of inputs,
//! goes in, that of the output comes out, or those of all values.

use candle_core::Tensor;

use crate::{
    error::Result,
    graph::{
        Graph, Source,
        flow::Flow,
        forward::{Kept, expanded},
        promise::ensure_shape,
    },
    operation::in_operation,
    params::{Params, spec::ParamKind},
};

impl Graph {
    /// The tangents of all values that move, for tangents of the parameters and of the inputs;
    /// `None` is exactly zero.
    pub(crate) fn tangents(
        &self,
        kept: &Kept,
        flow: &Flow,
        tangent: &Params,
        dx: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let mut tangents: Vec<Option<Tensor>> = vec![None; self.nodes.len()];
        let of_inputs = dx.iter().any(Option::is_some);
        for at in (0..self.nodes.len()).filter(|at| flow.carries(*at, of_inputs)) {
            tangents[at] = self.tangent(at, kept, flow, tangent, dx, &tangents)?;
        }
        Ok(tangents)
    }

    /// The tangent of `output` for a tangent of the parameters. Every tangent is freed as soon as
    /// its last reader is done.
    pub(crate) fn output_tangent(
        &self,
        output: usize,
        kept: &Kept,
        flow: &Flow,
        tangent: &Params,
    ) -> Result<Option<Tensor>> {
        let mut tangents: Vec<Option<Tensor>> = vec![None; self.nodes.len()];
        let mut readers = self.readers();
        readers[output] += 1;
        for at in (0..self.nodes.len()).filter(|at| flow.carries(*at, false)) {
            tangents[at] = self.tangent(at, kept, flow, tangent, &[], &tangents)?;
            for input in self.read_by(at) {
                readers[*input] -= 1;
                tangents[*input].take_if(|_| readers[*input] == 0);
            }
        }
        Ok(tangents[output].take())
    }

    fn tangent(
        &self,
        at: usize,
        kept: &Kept,
        flow: &Flow,
        tangent: &Params,
        dx: &[Option<Tensor>],
        tangents: &[Option<Tensor>],
    ) -> Result<Option<Tensor>> {
        match &self.nodes[at].source {
            Source::Input(number) => Ok(dx.get(*number).cloned().flatten()),
            Source::Parameter(spec) => match &self.specs[*spec] {
                spec if spec.kind == ParamKind::Trainable => {
                    Ok(Some(tangent.get(&spec.name)?.unsqueeze(0)?))
                }
                _ => Ok(None),
            },
            Source::Result { operation, inputs } => {
                let moving = self.moving(at, inputs, kept, flow, tangents)?;
                if moving.iter().all(Option::is_none) {
                    return Ok(None);
                }
                let moving: Vec<Option<&Tensor>> = moving.iter().map(Option::as_ref).collect();
                let tangent = operation.jvp(&kept.cache(at)?, &moving);
                let (tangent, node) = (in_operation(&**operation, tangent)?, &self.nodes[at]);
                let promised = (node.examples(kept.batch), node.shape.as_slice());
                ensure_shape(&**operation, "tangent", promised, &tangent)?;
                Ok(Some(tangent))
            }
        }
    }

    /// The tangents of the inputs of a result, as its operation takes them.
    pub(crate) fn moving(
        &self,
        at: usize,
        inputs: &[usize],
        kept: &Kept,
        flow: &Flow,
        tangents: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let Source::Result { operation, .. } = &self.nodes[at].source else {
            return Ok(Vec::new());
        };
        let place = |(place, input): (usize, &usize)| {
            let tangent = tangents[*input].as_ref().filter(|_| !flow.blocked[at][place]);
            let expands = self.nodes[*input].shared
                && !self.nodes[at].shared
                && !operation.takes_shared(place);
            let batch = kept.batch;
            tangent.map(|t| if expands { expanded(t, batch) } else { Ok(t.clone()) }).transpose()
        };
        inputs.iter().enumerate().map(place).collect()
    }
}
