//! Functions that are made of others: exponentials and logarithms of other bases, gates,
//! thresholds, products of three, log-sum-exp.

use std::f64::consts::{LN_2, LN_10};

use entk_models::{Activation, Function, Max, Select, Subtract, Sum};

use crate::{
    archive::Elements,
    operations::{
        compare::{Compare, Comparison},
        erf::Erf,
    },
    rules::{
        pointwise::{add, apply, choose, divide, multiply, scaled, subtract},
        rule::Rule,
        shape::{part, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call, ensure_size},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("erf.default", Rule::One(erf)),
    ("exp2.default", Rule::One(exp2)),
    ("expm1.default", Rule::One(expm1)),
    ("log2.default", Rule::One(|t, c| logarithm(t, c, LN_2))),
    ("log10.default", Rule::One(|t, c| logarithm(t, c, LN_10))),
    ("tan.default", Rule::One(tan)),
    ("sinh.default", Rule::One(|t, c| hyperbolic(t, c, -0.5))),
    ("cosh.default", Rule::One(|t, c| hyperbolic(t, c, 0.5))),
    ("glu.default", Rule::One(glu)),
    ("threshold.default", Rule::One(threshold)),
    ("hardshrink.default", Rule::One(hardshrink)),
    ("softshrink.default", Rule::One(softshrink)),
    ("pow.Tensor_Tensor", Rule::One(power)),
    ("addcmul.default", Rule::One(|t, c| added(t, c, multiply))),
    ("addcdiv.default", Rule::One(|t, c| added(t, c, divide))),
    ("outer.default", Rule::One(outer)),
    ("logsumexp.default", Rule::One(logsumexp)),
    ("prod.dim_int", Rule::One(prod)),
    ("one_hot.default", Rule::One(one_hot)),
    ("linspace.default", Rule::One(linspace)),
];

fn erf(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    t.apply_as(Elements::Real, Erf, &[call.tensor("self")?])
}

fn exp2(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = scaled(t, &call.tensor("self")?.clone().with_elements(Elements::Real), LN_2)?;
    apply(t, Function::Exp, &x)
}

/// e^x - 1; for tiny x with the round-off of the difference.
fn expm1(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let y = apply(t, Function::Exp, call.tensor("self")?)?;
    apply(t, Function::add_constant(-1.0), &y)
}

fn logarithm(t: &mut Tracer, call: &Call, of_base: f64) -> Ruled<Traced> {
    let y = apply(t, Function::Log, call.tensor("self")?)?;
    scaled(t, &y, of_base.recip())
}

fn tan(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (sin, cos) = (apply(t, Function::Sin, x)?, apply(t, Function::Cos, x)?);
    divide(t, &sin, &cos)
}

/// `e^x / 2 + half e^-x`.
fn hyperbolic(t: &mut Tracer, call: &Call, half: f64) -> Ruled<Traced> {
    let up = apply(t, Function::Exp, call.tensor("self")?)?;
    let down = apply(t, Function::Reciprocal, &up)?;
    let (up, down) = (scaled(t, &up, 0.5)?, scaled(t, &down, half)?);
    add(t, &up, &down)
}

/// `a sigmoid(b)` of the halves of an axis.
fn glu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", -1, x.rank())?;
    let half = x.shape[axis] / 2;
    let (a, b) = (part(t, x, axis, 0..half)?, part(t, x, axis, half..2 * half)?);
    let gate = apply(t, Activation::Sigmoid, &b)?;
    multiply(t, &a, &gate)
}

/// x above a threshold, else a value.
fn threshold(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, threshold) = (call.tensor("self")?, call.tensor_or_number("threshold")?);
    let above = t.apply_as(Elements::Truth, Compare(Comparison::Greater), &[x, &threshold])?;
    let y = choose(t, &above, x, &call.tensor_or_number("value")?)?;
    Ok(y.with_elements(x.elements))
}

/// x where |x| is above lambda, else 0.
fn hardshrink(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, lambda) = (call.tensor("self")?, call.float_or("lambd", 0.5)?);
    let above = beyond(t, x, lambda)?;
    choose(t, &above, x, &Traced::number(Elements::Real, 0.0)?)
}

/// `x - clamp(x, -lambda, lambda)`, and 0 with slope 0 where |x| is at most lambda: at lambda the
/// difference alone has slope 1.
fn softshrink(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, lambda) = (call.tensor("self")?, call.float_or("lambd", 0.5)?);
    let middle = apply(t, Function::Clamp(-lambda, lambda), x)?;
    let y = t.apply(Subtract, &[x, &middle])?;
    let above = beyond(t, x, lambda)?;
    choose(t, &above, &y, &Traced::number(Elements::Real, 0.0)?)
}

/// Whether |x| is above lambda.
fn beyond(t: &mut Tracer, x: &Traced, lambda: f64) -> Ruled<Traced> {
    let size = apply(t, Function::Abs, x)?;
    let lambda = Traced::number(Elements::Real, lambda)?;
    t.apply_as(Elements::Truth, Compare(Comparison::Greater), &[&size, &lambda])
}

/// `a^b = e^(b log a)`: of known positive a, or of known numbers.
fn power(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor("exponent")?);
    match (a.numbers()?, b.numbers()?) {
        (Some(bases), Some(exponents))
            if (a.shape == b.shape || a.count() == 1 || b.count() == 1)
                && !bases.is_empty()
                && !exponents.is_empty() =>
        {
            let count = bases.len().max(exponents.len());
            let entry = |list: &[f64], at: usize| list[at.min(list.len() - 1)];
            let power = |at| entry(&bases, at).powf(entry(&exponents, at));
            let shape = if a.count() == count { &a.shape } else { &b.shape };
            Traced::constant(a.elements.max(b.elements), shape, (0..count).map(power).collect())
        }
        (Some(bases), _) if bases.iter().all(|base| *base > 0.0) => {
            let logarithm = apply(t, Function::Log, a)?;
            let inner = multiply(t, b, &logarithm)?;
            apply(t, Function::Exp, &inner)
        }
        (_, Some(exponents)) if exponents.len() == 1 => {
            let power = apply(t, Function::Power(exponents[0]), a)?;
            Ok(power.with_elements(a.elements.max(b.elements)))
        }
        _ => Err(Refusal::new(
            "a tensor to the power of a tensor has a rule where one of them is known: write \
             `torch.exp(b * torch.log(a))` for positive a",
        )),
    }
}

/// `self + value f(a, b)`.
fn added(
    t: &mut Tracer,
    call: &Call,
    function: fn(&mut Tracer, &Traced, &Traced) -> Ruled<Traced>,
) -> Ruled<Traced> {
    let (a, b) = (call.tensor("tensor1")?, call.tensor("tensor2")?);
    let y = function(t, a, b)?;
    let y = scaled(t, &y, call.float_or("value", 1.0)?)?;
    add(t, call.tensor("self")?, &y)
}

fn outer(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor("vec2")?);
    let column = reshaped(t, a, &[a.count(), 1])?;
    multiply(t, &column, b)
}

/// `m + log(sum(e^(x - m)))` with the maximum m, on which it does not depend.
fn logsumexp(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axes = call.optional_axes("dim", x.rank())?.unwrap_or_default();
    let largest = t.apply(Max::over(&axes).keeping_axes(), &[x])?;
    let shifted = subtract(t, x, &largest)?;
    let exponentials = apply(t, Function::Exp, &shifted)?;
    let sum = t.apply(Sum::over(&axes).keeping_axes(), &[&exponentials])?;
    let logarithm = apply(t, Function::Log, &sum)?;
    let y = add(t, &largest, &logarithm)?;
    if call.bool_or("keepdim", false)? {
        return Ok(y);
    }
    let stays = (0..y.rank()).filter(|axis| !axes.contains(axis));
    reshaped(t, &y, &stays.map(|axis| y.shape[axis]).collect::<Vec<_>>())
}

/// The product over an axis.
fn prod(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let mut product = t.apply(Select::new(axis, 0), &[x])?;
    for at in 1..x.shape[axis] {
        let next = t.apply(Select::new(axis, at), &[x])?;
        product = multiply(t, &product, &next)?;
    }
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    if call.bool_or("keepdim", false)? { reshaped(t, &product, &shape) } else { Ok(product) }
}

/// 1 at the place that a whole number says, 0 elsewhere.
fn one_hot(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, classes) = (call.tensor("self")?, call.int_or("num_classes", -1)?);
    let Ok(classes) = usize::try_from(classes) else {
        return Err(Refusal::new("as many classes as the data has: give `num_classes`"));
    };
    ensure_size(&[classes])?;
    let numbers = (0..classes).map(|class| class as f64).collect();
    let numbers = Traced::constant(Elements::Whole, &[classes], numbers)?;
    let column = reshaped(t, x, &[x.shape.as_slice(), &[1]].concat())?;
    t.apply_as(Elements::Whole, Compare(Comparison::Equal), &[&column, &numbers])
}

fn linspace(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["pin_memory", "device", "layout"]);
    let elements = call.elements("dtype")?.unwrap_or(Elements::Real);
    let (start, end) = (call.float("start")?, call.float("end")?);
    let steps = call.count("steps", 0)?;
    let step = (end - start) / (steps.max(2) - 1) as f64;
    let numbers = (0..steps).map(|at| start + at as f64 * step).collect();
    Traced::constant(elements, &[steps], numbers)
}
