//! Checks of operations and networks, yours among them: an operation with inputs, or a network with
//! parameters and a batch, goes in, relative errors come out. Also what is asked of operations from
//! elsewhere before a kernel is made of them.

pub(crate) mod guard;
mod identities;
mod point;
mod report;
mod selection;

use std::sync::Arc;

use candle_core::Tensor;
pub use identities::Input;
pub use report::Report;

use crate::{
    check::{
        guard::guard,
        identities::{adjoint, alone, beside, differences, ends_alone},
        point::{Direction, Point, distance, larger, normal},
        selection::selections,
    },
    error::{ModelError, Result},
    graph::backward::Wanted,
    network::Network,
    operation::Operation,
    params::Params,
};

/// Checks an operation on inputs that all have the same number N >= 2 of examples: derivatives
/// against each other and against differences at several steps, cotangents asked for without others
/// against all, rows against sums, the first
/// and the last example against the batch, strided inputs against contiguous ones.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use entk_models::{Activation, check::{self, Input}};
/// let x = Tensor::randn(0f64, 1.0, (3, 5), &Device::Cpu)?;
/// let report = check::operation(Activation::Gelu, &[Input::Each(x)])?;
/// report.ensure()?;
/// # Ok::<(), entk_models::ModelError>(())
/// ```
///
/// # Errors
/// Inputs that the operation refuses, and promises about shapes that it does not keep.
/// Wrong derivatives are no error here: see [`Report::ensure`].
pub fn operation(operation: impl Operation, inputs: &[Input]) -> Result<Report> {
    let name = format!("{operation:?}");
    let named = |(at, input): (usize, &Input)| (format!("input {at}"), input.clone());
    let inputs: Vec<_> = inputs.iter().enumerate().map(named).collect();
    let at = alone(Arc::new(operation), &inputs)?;
    Ok(Report { selections: selections(&at)?, ..report(&name, &at)? })
}

/// Checks a whole network at `params` on the batch x; before that each operation that is not of
/// this crate by itself, as is done before a kernel.
///
/// # Errors
/// A batch or parameters that do not fit, and an operation that does not keep its promises or has
/// wrong derivatives by itself, by name. Other errors are no refusal here: see [`Report::ensure`].
pub fn network(network: &Network, params: &Params, x: &Tensor) -> Result<Report> {
    let x = network.check(params, x)?;
    let (graph, output) = network.graph();
    let (inputs, names) = (vec![x], vec!["the input".to_owned()]);
    guard(graph, output, params, &inputs)?;
    let point = Point { graph: graph.clone(), output, params: params.clone(), inputs, names };
    report("network", &point)
}

/// Steps of central differences, in units of the cube root of the round-off, at which truncation
/// and cancellation are about equal.
const STEPS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

fn report(name: &str, at: &Point) -> Result<Report> {
    let round_off = at.round_off()?;
    let along = Direction::random(at, 1)?;
    let u = normal(&at.forward()?.0, 7)?;
    let has_rule = match at.mixed(&u, &along) {
        Err(ModelError::NoMixedDerivative { .. }) => false,
        other => other.map(|_| true)?,
    };
    let steps = STEPS.map(|step| step * round_off.cbrt());
    let at_steps = |error: &dyn Fn(f64) -> Result<f64>| {
        steps.iter().map(|&step| Ok((step, error(step)?))).collect::<Result<Vec<_>>>()
    };
    let mut found = Report {
        name: name.to_owned(),
        round_off,
        adjoint: adjoint(at, &along)?,
        differences: at_steps(&|step| differences(at, &along, step))?,
        beside: Vec::new(),
        selections: Vec::new(),
        rows: at.vjp(&u, Wanted::PerExample)?.distance(&at.vjp(&u, Wanted::Sum)?)?,
        batches: batches(at, &u)?,
        strides: strides(at, &u)?,
        mixed: Vec::new(),
    };
    let mut smooth = at.clone();
    if !found.agrees(&found.differences) {
        smooth = beside(at)?;
        found.beside = at_steps(&|step| differences(&smooth, &along, step))?;
    }
    if has_rule {
        found.mixed = at_steps(&|step| mixed_differences(&smooth, &u, &along, step))?;
    }
    Ok(found)
}

fn mixed_differences(at: &Point, u: &Tensor, along: &Direction, step: f64) -> Result<f64> {
    let gradient = |step| at.moved(step, along)?.vjp(u, Wanted::Sum);
    let (after, before) = (gradient(step)?, gradient(-step)?);
    let half = |a: &Tensor, b: &Tensor| Ok(((a - b)? / (2.0 * step))?);
    let inputs = after.inputs.iter().zip(&before.inputs).map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => half(a, b).map(Some),
        _ => Ok(None),
    });
    let inputs = inputs.collect::<Result<_>>()?;
    let difference = Direction { params: after.params.zip(&before.params, half)?, inputs };
    difference.distance(&at.mixed(u, along)?)
}

/// Results and gradients of the first and of the last example alone.
fn batches(at: &Point, u: &Tensor) -> Result<f64> {
    let Some(first) = at.inputs.first() else { return Ok(0.0) };
    let batch = first.dim(0)?;
    if batch < 2 {
        return Ok(0.0);
    }
    let gradients = larger(gradient_alone(at, u, 0)?, gradient_alone(at, u, batch - 1)?);
    Ok(larger(ends_alone(at)?, gradients))
}

/// The gradients of one example alone against those in the batch, of its own outputs.
fn gradient_alone(at: &Point, u: &Tensor, example: usize) -> Result<f64> {
    let own = u.narrow(0, example, 1)?;
    let (before, after) =
        (u.narrow(0, 0, example)?, u.narrow(0, example + 1, u.dim(0)? - example - 1)?);
    let of_others = [before.zeros_like()?, after.zeros_like()?];
    let all = at.vjp(&Tensor::cat(&[&of_others[0], &own, &of_others[1]], 0)?, Wanted::Sum)?;
    let of_own = |x: &Tensor| Ok(x.narrow(0, example, 1)?);
    let inputs = all.inputs.iter().map(|x| x.as_ref().map(of_own).transpose());
    let all = Direction { inputs: inputs.collect::<Result<_>>()?, ..all };
    at.only(example)?.vjp(&own, Wanted::Sum)?.distance(&all)
}

/// Results and gradients of inputs whose last axis is not the fastest in memory.
fn strides(at: &Point, u: &Tensor) -> Result<f64> {
    let strided = |x: &Tensor| match x.rank() {
        0 | 1 => Ok(x.clone()),
        rank => {
            let turned = x.transpose(rank - 2, rank - 1)?.contiguous()?;
            Ok(turned.transpose(rank - 2, rank - 1)?)
        }
    };
    let inputs = at.inputs.iter().map(strided).collect::<Result<_>>()?;
    let other = Point { inputs, ..at.clone() };
    let y = distance(&other.forward()?.0, &at.forward()?.0)?;
    let cotangent = strided(u)?;
    let gradient = other.vjp(&cotangent, Wanted::Sum)?.distance(&at.vjp(u, Wanted::Sum)?)?;
    Ok(larger(y, gradient))
}
