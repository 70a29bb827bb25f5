//! Values without a derivative: comparisons, truth values, whole numbers, tensors made of nothing,
//! and conversions of kinds.

use entk_models::Function;

use crate::{
    archive::Elements,
    operations::{
        compare::{Compare, Comparison},
        steps::{Step, Stepwise},
    },
    rules::{
        pointwise::{self, choose, divide, multiply, subtract},
        rule::Rule,
        shape::expanded,
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call, ensure_size},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("eq.Scalar", Rule::One(|t, c| compare(t, c, Comparison::Equal))),
    ("eq.Tensor", Rule::One(|t, c| compare(t, c, Comparison::Equal))),
    ("ne.Scalar", Rule::One(|t, c| compare(t, c, Comparison::Differ))),
    ("ne.Tensor", Rule::One(|t, c| compare(t, c, Comparison::Differ))),
    ("lt.Scalar", Rule::One(|t, c| compare(t, c, Comparison::Less))),
    ("lt.Tensor", Rule::One(|t, c| compare(t, c, Comparison::Less))),
    ("le.Scalar", Rule::One(|t, c| compare(t, c, Comparison::AtMost))),
    ("le.Tensor", Rule::One(|t, c| compare(t, c, Comparison::AtMost))),
    ("gt.Scalar", Rule::One(|t, c| compare(t, c, Comparison::Greater))),
    ("gt.Tensor", Rule::One(|t, c| compare(t, c, Comparison::Greater))),
    ("ge.Scalar", Rule::One(|t, c| compare(t, c, Comparison::AtLeast))),
    ("ge.Tensor", Rule::One(|t, c| compare(t, c, Comparison::AtLeast))),
    ("__and__.Tensor", Rule::One(and)),
    ("logical_and.default", Rule::One(and)),
    ("bitwise_and.Tensor", Rule::One(and)),
    ("__or__.Tensor", Rule::One(or)),
    ("logical_or.default", Rule::One(or)),
    ("bitwise_or.Tensor", Rule::One(or)),
    ("logical_not.default", Rule::One(not)),
    ("bitwise_not.default", Rule::One(not)),
    ("floor.default", Rule::One(|t, c| step(t, c, Step::Floor))),
    ("ceil.default", Rule::One(|t, c| step(t, c, Step::Ceil))),
    ("round.default", Rule::One(|t, c| step(t, c, Step::Round))),
    ("trunc.default", Rule::One(|t, c| step(t, c, Step::Truncate))),
    ("sign.default", Rule::One(|t, c| step(t, c, Step::Sign))),
    ("floor_divide.default", Rule::One(|t, c| divided(t, c, Step::Floor))),
    ("div.Tensor_mode", Rule::One(divided_by_mode)),
    ("div.Scalar_mode", Rule::One(divided_by_mode)),
    ("remainder.Scalar", Rule::One(|t, c| remainder(t, c, Step::Floor))),
    ("remainder.Tensor", Rule::One(|t, c| remainder(t, c, Step::Floor))),
    ("fmod.Scalar", Rule::One(|t, c| remainder(t, c, Step::Truncate))),
    ("arange.default", Rule::One(arange)),
    ("arange.start", Rule::One(arange)),
    ("arange.start_step", Rule::One(arange)),
    ("zeros.default", Rule::One(|_, c| filled(c, Some(0.0)))),
    ("ones.default", Rule::One(|_, c| filled(c, Some(1.0)))),
    ("full.default", Rule::One(|_, c| filled(c, None))),
    ("empty.memory_format", Rule::One(|_, c| filled(c, Some(f64::NAN)))),
    ("scalar_tensor.default", Rule::One(scalar_tensor)),
    ("new_zeros.default", Rule::One(|_, c| filled(c, Some(0.0)))),
    ("new_ones.default", Rule::One(|_, c| filled(c, Some(1.0)))),
    ("new_full.default", Rule::One(|_, c| filled(c, None))),
    ("eye.default", Rule::One(eye)),
    ("eye.m", Rule::One(eye)),
    ("zeros_like.default", Rule::One(|_, c| filled_like(c, Some(0.0)))),
    ("ones_like.default", Rule::One(|_, c| filled_like(c, Some(1.0)))),
    ("full_like.default", Rule::One(|_, c| filled_like(c, None))),
    ("tril.default", Rule::One(|t, c| triangle(t, c, true))),
    ("triu.default", Rule::One(|t, c| triangle(t, c, false))),
    ("to.dtype", Rule::One(to)),
    ("to.dtype_layout", Rule::One(to)),
    ("to.device", Rule::One(to)),
    ("_to_copy.default", Rule::One(to)),
    ("type_as.default", Rule::One(type_as)),
];

/// Arguments that say where a tensor is and how it is laid out.
const PLACEMENT: [&str; 6] =
    ["pin_memory", "non_blocking", "copy", "memory_format", "device", "layout"];

fn compare(t: &mut Tracer, call: &Call, comparison: Comparison) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor_or_number("other")?);
    t.apply_as(Elements::Truth, Compare(comparison), &[a, &b])
}

fn truths<'c>(call: &'c Call<'_>) -> Ruled<(&'c Traced, Traced)> {
    let (a, b) = (call.tensor("self")?, call.tensor_or_number("other")?);
    match [a.elements, b.elements] {
        [Elements::Truth, Elements::Truth] => Ok((a, b)),
        _ => Err(Refusal::new("takes truth values alone here: no bits of whole numbers")),
    }
}

fn and(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = truths(call)?;
    multiply(t, a, &b)
}

/// `a + b - a b`.
fn or(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = truths(call)?;
    let both = multiply(t, a, &b)?;
    let sum = pointwise::add(t, a, &b)?;
    subtract(t, &sum, &both)
}

fn not(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    if x.elements != Elements::Truth {
        return Err(Refusal::new("takes truth values alone here: write `x == 0`"));
    }
    t.apply(Function::Affine(-1.0, 1.0), &[x])
}

fn step(t: &mut Tracer, call: &Call, step: Step) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    t.apply(Stepwise(step), &[x])
}

fn stepped(t: &mut Tracer, a: &Traced, b: &Traced, step: Step) -> Ruled<Traced> {
    let elements = a.elements.max(b.elements);
    let quotient = divide(t, a, b)?;
    t.apply_as(elements, Stepwise(step), &[&quotient])
}

fn divided(t: &mut Tracer, call: &Call, step: Step) -> Ruled<Traced> {
    let b = call.tensor_or_number("other")?;
    stepped(t, call.tensor("self")?, &b, step)
}

fn divided_by_mode(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    match call.text_or("rounding_mode", "none")?.as_str() {
        "floor" => divided(t, call, Step::Floor),
        "trunc" => divided(t, call, Step::Truncate),
        _ => divide(t, call.tensor("self")?, &call.tensor_or_number("other")?),
    }
}

/// `a - b step(a / b)`.
fn remainder(t: &mut Tracer, call: &Call, step: Step) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor_or_number("other")?);
    let whole = stepped(t, a, &b, step)?;
    let whole = multiply(t, &whole, &b)?;
    subtract(t, a, &whole)
}

fn arange(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&PLACEMENT);
    let is_whole = |number: f64| number.fract() == 0.0;
    let (start, step) = (call.float_or("start", 0.0)?, call.float_or("step", 1.0)?);
    let end = call.float("end")?;
    let default = match [start, end, step].into_iter().all(is_whole) {
        true => Elements::Whole,
        false => Elements::Real,
    };
    let elements = call.elements("dtype")?.unwrap_or(default);
    let count = ((end - start) / step).ceil();
    ensure_size(&[count as usize])?;
    if count.is_nan() || count < 1.0 {
        return Err(Refusal::new(format!("numbers from {start} to {end} in steps of {step}")));
    }
    let numbers: Vec<f64> = (0..count as usize).map(|at| start + at as f64 * step).collect();
    Traced::constant(elements, &[numbers.len()], numbers)
}

/// The number that fills a tensor, and what it is.
fn filling(call: &Call, number: Option<f64>, default: Elements) -> Ruled<(f64, Elements)> {
    call.ignore(&PLACEMENT);
    let given = call.elements("dtype")?;
    match number {
        Some(number) => Ok((number, given.unwrap_or(default))),
        None => {
            let name = if call.base().starts_with("scalar") { "s" } else { "fill_value" };
            let number = call.tensor_or_number(name)?;
            let elements = if call.base() == "full" { number.elements } else { default };
            let known = number.known("a filling")?;
            let first = known.first().copied().ok_or_else(|| Refusal::new("fills with nothing"))?;
            Ok((first, given.unwrap_or(elements)))
        }
    }
}

fn filled(call: &Call, number: Option<f64>) -> Ruled<Traced> {
    let like = call.optional_tensor("self")?.map_or(Elements::Real, |x| x.elements);
    let (number, elements) = filling(call, number, like)?;
    let size = call.ints("size")?;
    let axes = size.len();
    let mut shape = call.per_axis("size", axes, 0)?;
    if let Some(first) = shape.iter_mut().find(|size| Some(**size) == call.rebatch) {
        *first = 1;
    }
    ensure_size(&shape)?;
    let count = shape.iter().product();
    Traced::constant(elements, &shape, vec![number; count])
}

/// Ones on the diagonal of a matrix.
fn eye(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&PLACEMENT);
    let rows = call.count("n", 0)?;
    let columns = call.count("m", rows)?;
    let elements = call.elements("dtype")?.unwrap_or(Elements::Real);
    ensure_size(&[rows, columns])?;
    let numbers = (0..rows * columns).map(|at| f64::from(u8::from(at / columns == at % columns)));
    Traced::constant(elements, &[rows, columns], numbers.collect())
}

fn scalar_tensor(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (number, elements) = filling(call, None, Elements::Real)?;
    Traced::number(elements, number)
}

fn filled_like(call: &Call, number: Option<f64>) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let (number, elements) = filling(call, number, x.elements)?;
    Traced::constant(elements, &x.shape, vec![number; x.count()])
}

/// Entries on and below the diagonal, or on and above it; the others are 0.
fn triangle(t: &mut Tracer, call: &Call, lower: bool) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let diagonal = call.small_int_or("diagonal", 0)?;
    let [.., rows, columns] = x.shape.as_slice() else {
        return Err(Refusal::new(format!("a triangle of {:?}", x.shape)));
    };
    let inside = |at: usize| {
        let beside = (at % columns) as i64 - (at / columns) as i64 - diagonal;
        f64::from(u8::from(if lower { beside <= 0 } else { beside >= 0 }))
    };
    let inside = (0..rows * columns).map(inside).collect();
    let inside = Traced::constant(Elements::Truth, &[*rows, *columns], inside)?;
    let inside = expanded(t, &inside, &x.shape)?;
    let zero = Traced::number(x.elements, 0.0)?;
    choose(t, &inside, x, &zero)
}

/// A tensor as numbers of another kind.
fn converted(t: &mut Tracer, x: &Traced, elements: Elements) -> Ruled<Traced> {
    match (x.elements, elements) {
        (Elements::Real, Elements::Whole) => t.apply_as(elements, Stepwise(Step::Truncate), &[x]),
        (Elements::Real | Elements::Whole, Elements::Truth) => {
            let zero = Traced::number(x.elements, 0.0)?;
            t.apply_as(elements, Compare(Comparison::Differ), &[x, &zero])
        }
        _ => Ok(x.clone().with_elements(elements)),
    }
}

fn to(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&PLACEMENT);
    let x = call.tensor("self")?;
    let elements = call.elements("dtype")?.unwrap_or(x.elements);
    converted(t, x, elements)
}

fn type_as(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let elements = call.tensor("other")?.elements;
    converted(t, call.tensor("self")?, elements)
}
