//! Sums, means, maxima, variances and norms over axes, and running sums.

use entk_models::{Activation, Function, Max, Mean, Sum, Variance};

use crate::{
    archive::Elements,
    operations::steps::PlaceOfMax,
    rules::{
        dense::product,
        pointwise,
        rule::Rule,
        shape::{concatenated, part, permuted, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("sum.default", Rule::One(sum)),
    ("sum.dim_IntList", Rule::One(sum)),
    ("mean.default", Rule::One(mean)),
    ("mean.dim", Rule::One(mean)),
    ("amax.default", Rule::One(|t, c| largest(t, c, false))),
    ("amin.default", Rule::One(|t, c| largest(t, c, true))),
    ("max.dim", Rule::Many(|t, c| with_places(t, c, false))),
    ("min.dim", Rule::Many(|t, c| with_places(t, c, true))),
    ("any.dim", Rule::One(any)),
    ("argmax.default", Rule::One(|t, c| place(t, c, false))),
    ("argmin.default", Rule::One(|t, c| place(t, c, true))),
    ("var.dim", Rule::One(|t, c| variance(t, c, false))),
    ("var.correction", Rule::One(|t, c| variance(t, c, false))),
    ("std.dim", Rule::One(|t, c| variance(t, c, true))),
    ("std.correction", Rule::One(|t, c| variance(t, c, true))),
    ("linalg_vector_norm.default", Rule::One(norm)),
    ("norm.ScalarOpt_dim", Rule::One(norm)),
    ("cumsum.default", Rule::One(cumsum)),
    ("diff.default", Rule::One(diff)),
];

/// The axes of a call, all if none are given, and whether they stay.
fn axes(call: &Call, x: &Traced) -> Ruled<(Vec<usize>, bool)> {
    let axes = call.optional_axes("dim", x.rank())?.filter(|axes| !axes.is_empty());
    Ok((axes.unwrap_or_else(|| (0..x.rank()).collect()), call.bool_or("keepdim", false)?))
}

macro_rules! over {
    ($operation:ident, $axes:expr, $keep:expr) => {
        match $keep {
            true => $operation::over(&$axes).keeping_axes(),
            false => $operation::over(&$axes),
        }
    };
}

fn sum(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (axes, keep) = axes(call, x)?;
    let elements = call.elements("dtype")?.unwrap_or(x.elements.max(Elements::Whole));
    if axes.is_empty() {
        return Ok(x.clone().with_elements(elements));
    }
    t.apply_as(elements, over!(Sum, axes, keep), &[x])
}

fn mean(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (axes, keep) = axes(call, x)?;
    let elements = call.elements("dtype")?.unwrap_or(x.elements);
    t.apply_as(elements, over!(Mean, axes, keep), &[x])
}

fn largest(t: &mut Tracer, call: &Call, smallest: bool) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (axes, keep) = axes(call, x)?;
    signed(t, x, smallest, |t, x| t.apply(over!(Max, axes, keep), &[x]))
}

/// A maximum, or a minimum as the maximum of what is turned round.
fn signed(
    t: &mut Tracer,
    x: &Traced,
    smallest: bool,
    function: impl Fn(&mut Tracer, &Traced) -> Ruled<Traced>,
) -> Ruled<Traced> {
    if !smallest {
        return function(t, x);
    }
    let turned = pointwise::apply(t, Function::negate(), x)?;
    let y = function(t, &turned)?;
    pointwise::apply(t, Function::negate(), &y)
}

fn with_places(t: &mut Tracer, call: &Call, smallest: bool) -> Ruled<Vec<Traced>> {
    let x = call.tensor("self")?;
    let (axes, keep) = ([call.axis_or("dim", 0, x.rank())?], call.bool_or("keepdim", false)?);
    let values = signed(t, x, smallest, |t, x| t.apply(over!(Max, axes, keep), &[x]))?;
    Ok(vec![values, place_along(t, x, axes[0], keep, smallest)?])
}

fn place_along(
    t: &mut Tracer,
    x: &Traced,
    axis: usize,
    keep: bool,
    smallest: bool,
) -> Ruled<Traced> {
    let turned = match smallest {
        true => &pointwise::apply(t, Function::negate(), x)?,
        false => x,
    };
    let place = t.apply_as(Elements::Whole, PlaceOfMax { axis }, &[turned])?;
    let mut shape = place.shape.clone();
    if !keep {
        shape.remove(axis);
    }
    reshaped(t, &place, &shape)
}

fn place(t: &mut Tracer, call: &Call, smallest: bool) -> Ruled<Traced> {
    let (x, keep) = (call.tensor("self")?, call.bool_or("keepdim", false)?);
    match call.optional_ints("dim")? {
        Some(_) => place_along(t, x, call.axis_or("dim", 0, x.rank())?, keep, smallest),
        None => {
            let flat = reshaped(t, x, &[x.count()])?;
            place_along(t, &flat, 0, false, smallest)
        }
    }
}

/// Whether an entry is not zero, over an axis of truth values.
fn any(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    if x.elements != Elements::Truth {
        return Err(Refusal::new("compares no numbers with zero: write `(x != 0).any(..)`"));
    }
    largest(t, call, false)
}

fn variance(t: &mut Tracer, call: &Call, root: bool) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (axes, keep) = axes(call, x)?;
    let correction = match call.base() {
        _ if call.operation.ends_with(".correction") => call.float_or("correction", 1.0)?,
        _ => f64::from(u8::from(call.bool_or("unbiased", true)?)),
    };
    if !(0.0..=1.0).contains(&correction) || correction.fract() != 0.0 {
        return Err(Refusal::new(format!("a correction of {correction}")));
    }
    let y = t.apply(over!(Variance, axes, keep).with_correction(correction as usize), &[x])?;
    if root { pointwise::apply(t, Function::Sqrt, &y) } else { Ok(y) }
}

/// The Euclidean norm.
fn norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let order = match call.operation.starts_with("linalg") {
        true => call.float_or("ord", 2.0)?,
        false => call.float_or("p", 2.0)?,
    };
    if order != 2.0 {
        return Err(Refusal::new(format!("a norm of order {order}: 2 has a rule")));
    }
    call.elements("dtype")?;
    let (axes, keep) = axes(call, x)?;
    let squares = pointwise::apply(t, Activation::Square, x)?;
    let sum = t.apply(over!(Sum, axes, keep), &[&squares])?;
    pointwise::apply(t, Function::Sqrt, &sum)
}

/// Sums of all entries up to each: a product with ones above the diagonal.
fn cumsum(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let elements = call.elements("dtype")?.unwrap_or(x.elements.max(Elements::Whole));
    let length = x.shape[axis];
    let above = (0..length * length).map(|at| f64::from(u8::from(at / length <= at % length)));
    let above = Traced::constant(elements, &[length, length], above.collect())?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(axis, x.rank() - 1);
    let turned = permuted(t, x, &order)?;
    let sums = product(t, &turned, &above)?;
    Ok(permuted(t, &sums, &order)?.with_elements(elements))
}

/// Differences of neighbours along an axis, with entries put before and behind.
fn diff(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", -1, x.rank())?;
    if call.int_or("n", 1)? != 1 {
        return Err(Refusal::new("differences of higher order: take them one by one"));
    }
    let ends = [call.optional_tensor("prepend")?, Some(x), call.optional_tensor("append")?];
    let parts: Vec<&Traced> = ends.into_iter().flatten().collect();
    let all = concatenated(t, &parts, axis)?;
    let length = all.shape[axis];
    if length < 2 {
        return Err(Refusal::new("differences of a single entry"));
    }
    let later = part(t, &all, axis, 1..length)?;
    let earlier = part(t, &all, axis, 0..length - 1)?;
    match x.elements {
        Elements::Truth => {
            use crate::operations::compare::{Compare, Comparison};
            t.apply(Compare(Comparison::Differ), &[&later, &earlier])
        }
        _ => pointwise::subtract(t, &later, &earlier),
    }
}
