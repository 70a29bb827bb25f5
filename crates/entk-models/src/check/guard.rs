//! What is asked of operations from elsewhere before a kernel is made of them: on a few examples,
//! their derivatives must agree with each other and with their values. Called by networks.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    check::{
        identities::{Input, adjoint, alone, beside, differences, ends_alone},
        point::{Direction, Point},
        report::{ensure_within, selection},
        selection::selections,
    },
    error::Result,
    graph::{Graph, Source},
    operation::NormMode,
    params::{
        Params,
        spec::{ParamKind, ParamSpec},
    },
};

/// Examples that are looked at, so that one is seen to depend on others.
const EXAMPLES: usize = 4;
/// Largest error of identities that hold exactly, in units of the round-off.
const EXACT: f64 = 1e4;
/// Largest relative error of differences of values, in units of the cube root of the round-off:
/// kinks that the step crosses explain some.
const DIFFERENCES: f64 = 20.0;
/// Steps of the differences, in the same units.
const STEPS: [f64; 3] = [1.0, 0.1, 0.01];

/// Refuses an operation that is not of this crate and whose derivatives are wrong at the first of
/// these inputs. Free where there is none.
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
    let few = |x: &Tensor| Ok(x.narrow(0, 0, EXAMPLES.min(x.dim(0)?))?);
    let (few, mut read) = (inputs.iter().map(few).collect::<Result<Vec<_>>>()?, Vec::new());
    graph.visit(output, params, &few, NormMode::Frozen, |at, _, inputs| {
        if foreign(at) {
            read.push((at, inputs));
        }
    })?;
    read.into_iter().try_for_each(|(at, inputs)| examine(graph, at, &inputs))
}

fn examine(graph: &Graph, at: usize, values: &[Tensor]) -> Result<()> {
    let Source::Result { operation, inputs } = &graph.nodes[at].source else { return Ok(()) };
    let read = values.iter().zip(inputs).enumerate();
    let inputs = read.map(|(place, (value, input))| {
        let shared = operation.takes_shared(place) && !graph.nodes[at].shared;
        named(graph, (place, *input), value, shared)
    });
    let point = alone(Arc::clone(operation), &inputs.collect::<Result<Vec<_>>>()?)?;
    let (along, round_off) = (Direction::random(&point, 1)?, point.round_off()?);
    let (operation, exact) = (format!("{operation:?}"), EXACT * round_off);
    for (of, error) in adjoint(&point, &along)? {
        ensure_within(&operation, &format!("vjp against jvp of {of}"), error, exact)?;
    }
    for (of, error) in selections(&point)? {
        ensure_within(&operation, &selection(&of), error, exact)?;
    }
    let error = ends_alone(&point)?;
    ensure_within(&operation, "one example alone against the batch", error, exact)?;
    let enough = DIFFERENCES * round_off.cbrt();
    let mut error = best_difference(&point, &along, enough)?;
    if error > enough {
        error = error.min(best_difference(&beside(&point)?, &along, enough)?);
    }
    ensure_within(&operation, "jvp against differences of values", error, enough)
}

/// An input of an operation as the graph has it: its place, its parameter's name if it is one, and
/// its value.
fn named(
    graph: &Graph,
    (place, input): (usize, usize),
    value: &Tensor,
    takes_shared: bool,
) -> Result<(String, Input)> {
    let node = &graph.nodes[input];
    let (name, is_statistic) = match node.source {
        Source::Parameter(spec) => {
            let ParamSpec { name, kind, .. } = &graph.specs[spec];
            (format!("input {place}, {name}"), *kind == ParamKind::Statistic)
        }
        _ => (format!("input {place}"), false),
    };
    let input = match (node.shared && takes_shared, is_statistic) {
        (true, true) => Input::Constant(value.squeeze(0)?),
        (true, false) => Input::Shared(value.squeeze(0)?),
        _ => Input::Each(value.clone()),
    };
    Ok((name, input))
}

/// The first error of differences that is small enough, else the smallest; infinite where all are
/// NaN.
fn best_difference(point: &Point, along: &Direction, enough: f64) -> Result<f64> {
    let (mut best, unit) = (f64::INFINITY, point.round_off()?.cbrt());
    for step in STEPS {
        best = best.min(differences(point, along, step * unit)?);
        if best <= enough {
            break;
        }
    }
    Ok(best)
}
