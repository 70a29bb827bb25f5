//! What must hold between an operation's derivatives, and between them and its values: an operation
//! with inputs goes in, errors come out. Called by the public checks and by the guard of kernels.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    check::point::{Direction, Point, distance, dot, larger, normal},
    error::{ModelError, Result},
    graph::{Graph, InputKind, Role, backward::Wanted},
    operation::ErasedOperation,
    params::Params,
};

/// An input of an operation under check.
#[derive(Debug, Clone)]
pub enum Input {
    /// A value of each example, (N, ..).
    Each(Tensor),
    /// A value that follows from parameters alone, without an axis of examples.
    Shared(Tensor),
    /// A shared value that has no derivative, as a running statistic, without an axis of examples.
    Constant(Tensor),
}

/// The graph of an operation alone, at these named inputs.
pub(crate) fn alone(
    operation: Arc<dyn ErasedOperation>,
    inputs: &[(String, Input)],
) -> Result<Point> {
    let (mut roles, mut names, mut each) = (Vec::new(), Vec::new(), Vec::new());
    let (mut shared, mut constant) = (Vec::new(), Vec::new());
    for (name, input) in inputs {
        match input {
            Input::Each(x) => {
                let kind = if x.dtype().is_float() { InputKind::Real } else { InputKind::Ids };
                let shape = x.dims().get(1..).unwrap_or_default();
                roles.push((name.as_str(), shape.to_vec(), Role::Each(kind)));
                names.push(name.clone());
                each.push(x.clone());
            }
            Input::Shared(x) => {
                roles.push((name, x.dims().to_vec(), Role::Parameter));
                shared.push((name.clone(), x.clone()));
            }
            Input::Constant(x) => {
                roles.push((name, x.dims().to_vec(), Role::Constant));
                constant.push((name.clone(), x.clone()));
            }
        }
    }
    let first = each.iter().find(|x| x.dtype().is_float()).or(shared.first().map(|(_, x)| x));
    let like = first.ok_or(ModelError::NoParameters)?;
    if shared.is_empty() {
        shared.push(("unused".to_owned(), Tensor::zeros(1, like.dtype(), like.device())?));
    }
    let (graph, output) = Graph::alone(&operation, &roles)?;
    Ok(Point { graph, output, params: Params::new(shared, constant)?, inputs: each, names })
}

/// For each input and parameter that moves alone the error of the adjoint identity, with a
/// cotangent near the tangent of the output, for which both sides are as large as can be.
pub(crate) fn adjoint(at: &Point, along: &Direction) -> Result<Vec<(String, f64)>> {
    let check = |(name, along): (String, Direction)| {
        let moved = at.jvp(&along)?;
        let scale = (dot(&moved, &moved)? / moved.elem_count() as f64).sqrt();
        let noise = normal(&moved, 3)?;
        let u = if scale > 0.0 { (&moved + (noise * scale)?)? } else { noise };
        let gradient = at.vjp(&u, Wanted::PerExample)?;
        let (left, right) = (dot(&moved, &u)?, gradient.dot(&along)?);
        let other = (gradient.dot(&gradient)? * along.dot(&along)?).sqrt();
        let scale =
            (dot(&moved, &moved)? * dot(&u, &u)?).sqrt().max(if scale > 0.0 { 0.0 } else { other });
        let error = (left - right).abs();
        Ok((name, if error == 0.0 { 0.0 } else { error / scale }))
    };
    along.one_by_one(at)?.into_iter().map(check).collect()
}

/// How far beside a point differences are taken anew: many steps, so that these seldom cross the
/// kinks that the point itself is at.
const BESIDE: f64 = 0.1;

/// A point beside this one. At a kink, as where two entries of a window are equal, differences
/// agree with no derivative; beside it they do.
pub(crate) fn beside(at: &Point) -> Result<Point> {
    at.moved(BESIDE, &Direction::random(at, 11)?)
}

/// The results of the first and the last example alone against those in the batch: each may depend
/// on examples after it, or before it.
pub(crate) fn ends_alone(at: &Point) -> Result<f64> {
    let all = at.forward()?.0;
    let error = |example| distance(&at.only(example)?.forward()?.0, &all.narrow(0, example, 1)?);
    Ok(larger(error(0)?, error(all.dim(0)? - 1)?))
}

/// The tangent of the output against central differences.
pub(crate) fn differences(at: &Point, along: &Direction, step: f64) -> Result<f64> {
    let value = |step| Ok::<_, ModelError>(at.moved(step, along)?.forward()?.0);
    let difference = ((value(step)? - value(-step)?)? / (2.0 * step))?;
    distance(&difference, &at.jvp(along)?)
}
