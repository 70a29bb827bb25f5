//! What is asked of operations from elsewhere before a kernel is made of them: on a few examples,
//! their derivatives must agree with each other and with their values. Called by networks.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    check::{
        identities::{Input, adjoint, alone, differences},
        point::Direction,
        report::ensure_within,
    },
    error::Result,
    graph::{Graph, Source},
    operation::NormMode,
    params::{Params, spec::ParamKind},
};

/// Largest error of the adjoint identity, in units of the round-off.
const ADJOINT: f64 = 1e4;
/// Largest relative error of differences of values: kinks that the step crosses explain some.
const DIFFERENCES: f64 = 0.1;
/// Steps of the differences, in units of the cube root of the round-off.
const STEPS: [f64; 3] = [1.0, 0.1, 0.01];

/// Refuses an operation that is not of this crate and whose derivatives are wrong at these inputs.
/// Free where there is none.
pub(crate) fn guard(
    graph: &Graph,
    output: usize,
    params: &Params,
    inputs: &[Tensor],
) -> Result<()> {
    let foreign = |at: usize| match &graph.nodes[at].source {
        Source::Result { operation, .. } => !operation.is_ours(),
        _ => false,
    };
    if !(0..graph.nodes.len()).any(foreign) {
        return Ok(());
    }
    let mut read = Vec::new();
    graph.visit(output, params, inputs, NormMode::Frozen, |at, _, inputs| {
        if foreign(at) {
            read.push((at, inputs));
        }
    })?;
    read.into_iter().try_for_each(|(at, inputs)| examine(graph, at, &inputs))
}

fn examine(graph: &Graph, at: usize, values: &[Tensor]) -> Result<()> {
    let Source::Result { operation, inputs } = &graph.nodes[at].source else { return Ok(()) };
    let whole = graph.nodes[at].shared;
    let input = |(place, (value, input)): (usize, (&Tensor, &usize))| {
        let shared = graph.nodes[*input].shared && operation.takes_shared(place);
        let is_statistic = match graph.nodes[*input].source {
            Source::Parameter(spec) => graph.specs[spec].kind == ParamKind::Statistic,
            _ => false,
        };
        match (shared && !whole, is_statistic) {
            (true, true) => Ok(Input::Constant(value.squeeze(0)?)),
            (true, false) => Ok(Input::Shared(value.squeeze(0)?)),
            _ => Ok(Input::Each(value.clone())),
        }
    };
    let inputs: Vec<Input> =
        values.iter().zip(inputs).enumerate().map(input).collect::<Result<_>>()?;
    let point = alone(Arc::clone(operation), &inputs)?;
    let (along, round_off) = (Direction::random(&point, 1)?, point.round_off()?);
    let operation = format!("{operation:?}");
    for (of, error) in adjoint(&point, &along)? {
        let what = format!("vjp against jvp of {of}");
        ensure_within(&operation, &what, error, ADJOINT * round_off)?;
    }
    let mut best = f64::INFINITY;
    for step in STEPS {
        let error = differences(&point, &along, step * round_off.cbrt())?;
        best = if error <= best { error } else { best };
        if best <= DIFFERENCES {
            return Ok(());
        }
    }
    ensure_within(&operation, "jvp against differences of values", best, DIFFERENCES)
}
