//! Functions entry by entry, of one tensor and of two with broadcasting.

use entk_models::{Activation, Add, Divide, Function, Multiply, Subtract};

use crate::{
    archive::Elements,
    operations::{
        choose::{Choose, Replace},
        compare::{Compare, Comparison},
    },
    rules::rule::Rule,
    trace::{Held, Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const OF_ONE: &[(&str, Rule)] = &[
    ("relu.default", Rule::One(|t, c| of_one(t, c, Activation::Relu))),
    ("relu6.default", Rule::One(|t, c| of_one(t, c, Activation::Relu6))),
    ("gelu.default", Rule::One(gelu)),
    ("silu.default", Rule::One(|t, c| of_one(t, c, Activation::Silu))),
    ("mish.default", Rule::One(|t, c| of_one(t, c, Activation::Mish))),
    ("selu.default", Rule::One(|t, c| of_one(t, c, Activation::Selu))),
    ("elu.default", Rule::One(elu)),
    ("celu.default", Rule::One(celu)),
    ("leaky_relu.default", Rule::One(leaky_relu)),
    ("prelu.default", Rule::One(prelu)),
    ("softplus.default", Rule::One(softplus)),
    ("sigmoid.default", Rule::One(|t, c| of_one(t, c, Activation::Sigmoid))),
    ("log_sigmoid.default", Rule::One(log_sigmoid)),
    ("tanh.default", Rule::One(|t, c| of_one(t, c, Activation::Tanh))),
    ("hardtanh.default", Rule::One(hardtanh)),
    ("hardswish.default", Rule::One(|t, c| of_one(t, c, Activation::HardSwish))),
    ("hardsigmoid.default", Rule::One(|t, c| of_one(t, c, Activation::HardSigmoid))),
    ("clamp.default", Rule::One(clamp)),
    ("clamp_min.default", Rule::One(clamp)),
    ("clamp_max.default", Rule::One(clamp)),
    ("exp.default", Rule::One(|t, c| of_one(t, c, Function::Exp))),
    ("log.default", Rule::One(|t, c| of_one(t, c, Function::Log))),
    ("log1p.default", Rule::One(log1p)),
    ("sqrt.default", Rule::One(|t, c| of_one(t, c, Function::Sqrt))),
    ("rsqrt.default", Rule::One(|t, c| of_one(t, c, Function::ReciprocalSqrt))),
    ("reciprocal.default", Rule::One(|t, c| of_one(t, c, Function::Reciprocal))),
    ("sin.default", Rule::One(|t, c| of_one(t, c, Function::Sin))),
    ("cos.default", Rule::One(|t, c| of_one(t, c, Function::Cos))),
    ("abs.default", Rule::One(|t, c| of_one(t, c, Function::Abs))),
    ("neg.default", Rule::One(|t, c| of_one(t, c, Function::negate()))),
    ("square.default", Rule::One(|t, c| of_one(t, c, Activation::Square))),
    ("pow.Tensor_Scalar", Rule::One(power)),
    ("pow.Scalar", Rule::One(exponential)),
];

pub(crate) const OF_TWO: &[(&str, Rule)] = &[
    ("add.Tensor", Rule::One(|t, c| with_alpha(t, c, add))),
    ("add.Scalar", Rule::One(|t, c| with_alpha(t, c, add))),
    ("sub.Tensor", Rule::One(|t, c| with_alpha(t, c, subtract))),
    ("sub.Scalar", Rule::One(|t, c| with_alpha(t, c, subtract))),
    ("rsub.Scalar", Rule::One(subtracted_from)),
    ("mul.Tensor", Rule::One(|t, c| of_two(t, c, multiply))),
    ("mul.Scalar", Rule::One(|t, c| of_two(t, c, multiply))),
    ("div.Tensor", Rule::One(|t, c| of_two(t, c, divide))),
    ("div.Scalar", Rule::One(|t, c| of_two(t, c, divide))),
    ("maximum.default", Rule::One(|t, c| of_two(t, c, maximum))),
    ("minimum.default", Rule::One(|t, c| of_two(t, c, minimum))),
    ("max.other", Rule::One(|t, c| of_two(t, c, maximum))),
    ("min.other", Rule::One(|t, c| of_two(t, c, minimum))),
    ("where.self", Rule::One(where_two)),
    ("where.ScalarOther", Rule::One(where_two)),
    ("where.ScalarSelf", Rule::One(where_two)),
    ("where.Scalar", Rule::One(where_two)),
    ("masked_fill.Scalar", Rule::One(masked_fill)),
    ("masked_fill.Tensor", Rule::One(masked_fill)),
    ("lerp.Scalar", Rule::One(lerp)),
];

fn of_one(t: &mut Tracer, call: &Call, function: impl Into<Function>) -> Ruled<Traced> {
    apply(t, function, call.tensor("self")?)
}

/// A function of the entries; whole numbers keep their kind where the function keeps them whole.
pub(crate) fn apply(t: &mut Tracer, function: impl Into<Function>, x: &Traced) -> Ruled<Traced> {
    let function = function.into();
    let keeps = matches!(
        function,
        Function::Abs
            | Function::Affine(..)
            | Function::Clamp(..)
            | Function::Activation(Activation::Relu | Activation::Square)
    );
    let elements = if keeps { x.elements } else { Elements::Real };
    t.apply_as(elements, function, &[x])
}

fn gelu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    match call.text_or("approximate", "none")?.as_str() {
        "none" => of_one(t, call, Activation::GeluErf),
        "tanh" => of_one(t, call, Activation::Gelu),
        other => Err(Refusal::new(format!("approximate = {other:?} is neither none nor tanh"))),
    }
}

fn elu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let alpha = call.float_or("alpha", 1.0)?;
    let (scale, inner) = (call.float_or("scale", 1.0)?, call.float_or("input_scale", 1.0)?);
    if scale != 1.0 || inner != 1.0 {
        return Err(Refusal::new(format!("scale {scale} and input_scale {inner} must be 1")));
    }
    of_one(t, call, Function::Elu(alpha))
}

/// `alpha elu(x / alpha)`.
fn celu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let alpha = call.float_or("alpha", 1.0)?;
    let inner = scaled(t, call.tensor("self")?, alpha.recip())?;
    let y = apply(t, Activation::Elu, &inner)?;
    scaled(t, &y, alpha)
}

/// log(1 + x); for tiny x with the round-off of the sum.
fn log1p(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let sum = apply(t, Function::add_constant(1.0), call.tensor("self")?)?;
    apply(t, Function::Log, &sum)
}

fn leaky_relu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let slope = call.float_or("negative_slope", 0.01)?;
    of_one(t, call, Function::LeakyRelu(slope))
}

/// `max(x, 0) + slope min(x, 0)` with a slope for each channel, axis 1.
fn prelu(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, slope) = (call.tensor("self")?, call.tensor("weight")?);
    let above = apply(t, Activation::Relu, x)?;
    let below = t.apply(Subtract, &[x, &above])?;
    let slope = match slope.count() {
        1 => slope.clone(),
        channels => {
            let mut shape = vec![1; x.rank()];
            let axis = 1.min(x.rank().saturating_sub(1));
            *shape.get_mut(axis).ok_or_else(|| Refusal::new("a slope of no channel"))? = channels;
            t.apply(entk_models::Reshape::new(&shape), &[slope])?
        }
    };
    let below = multiply(t, &below, &slope)?;
    add(t, &above, &below)
}

fn softplus(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (beta, threshold) = (call.float_or("beta", 1.0)?, call.float_or("threshold", 20.0)?);
    if threshold < 20.0 {
        return Err(Refusal::new(format!("threshold {threshold} is below 20, its default")));
    }
    let inner = scaled(t, call.tensor("self")?, beta)?;
    let y = apply(t, Activation::Softplus, &inner)?;
    scaled(t, &y, beta.recip())
}

/// `-softplus(-x)`.
fn log_sigmoid(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let turned = apply(t, Function::negate(), call.tensor("self")?)?;
    let y = apply(t, Activation::Softplus, &turned)?;
    apply(t, Function::negate(), &y)
}

fn hardtanh(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    match (call.float_or("min_val", -1.0)?, call.float_or("max_val", 1.0)?) {
        (0.0, 6.0) => of_one(t, call, Activation::Relu6),
        (low, high) => of_one(t, call, Function::Clamp(low, high)),
    }
}

fn clamp(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let low = call.float_or("min", f64::NEG_INFINITY)?;
    let high = call.float_or("max", f64::INFINITY)?;
    if low > high {
        return Err(Refusal::new(format!("a clamp between {low} and {high}")));
    }
    of_one(t, call, Function::Clamp(low, high))
}

fn power(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, exponent) = (call.tensor("self")?, call.float("exponent")?);
    match exponent {
        1.0 => Ok(x.clone()),
        2.0 => apply(t, Activation::Square, x),
        0.5 => apply(t, Function::Sqrt, x),
        -0.5 => apply(t, Function::ReciprocalSqrt, x),
        -1.0 => apply(t, Function::Reciprocal, x),
        other => {
            let power = apply(t, Function::Power(other), x)?;
            Ok(if other.fract() == 0.0 { power.with_elements(x.elements) } else { power })
        }
    }
}

/// `base^x`.
fn exponential(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (base, x) = (call.float("self")?, call.tensor("exponent")?);
    if base.is_nan() || base <= 0.0 {
        return Err(Refusal::new(format!("{base} to the power of a tensor")));
    }
    let inner = scaled(t, &x.clone().with_elements(Elements::Real), base.ln())?;
    apply(t, Function::Exp, &inner)
}

type OfTwo = fn(&mut Tracer, &Traced, &Traced) -> Ruled<Traced>;

fn of_two(t: &mut Tracer, call: &Call, function: OfTwo) -> Ruled<Traced> {
    function(t, call.tensor("self")?, &call.tensor_or_number("other")?)
}

/// A sum or difference whose second term has a factor.
fn with_alpha(t: &mut Tracer, call: &Call, function: OfTwo) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor_or_number("other")?);
    match call.float_or("alpha", 1.0)? {
        1.0 => function(t, a, &b),
        alpha => {
            let b = scaled(t, &b, alpha)?;
            function(t, a, &b)
        }
    }
}

/// `other - alpha self`.
fn subtracted_from(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor_or_number("other")?);
    let a = scaled(t, a, call.float_or("alpha", 1.0)?)?;
    subtract(t, &b, &a)
}

/// c x.
pub(crate) fn scaled(t: &mut Tracer, x: &Traced, c: f64) -> Ruled<Traced> {
    if c == 1.0 { Ok(x.clone()) } else { t.apply(Function::scale(c), &[x]) }
}

/// The one number that a known tensor holds, if it adds no axes to a tensor of so many.
fn number(tensor: &Traced, rank: usize) -> Ruled<Option<f64>> {
    if tensor.count() != 1 || tensor.rank() > rank {
        return Ok(None);
    }
    Ok(tensor.numbers()?.map(|numbers| numbers[0]))
}

pub(crate) fn add(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let elements = a.elements.max(b.elements);
    for (x, constant) in [(a, b), (b, a)] {
        match number(constant, x.rank())? {
            Some(c) if c.is_finite() => {
                return t.apply_as(elements, Function::add_constant(c), &[x]);
            }
            _ => {}
        }
        if let Some(sum) = add_infinite(t, x, constant)? {
            return Ok(sum);
        }
    }
    t.apply_as(elements, Add, &[a, b])
}

/// A sum with known numbers some of which are infinite, as in masks: they replace what they meet.
fn add_infinite(t: &mut Tracer, x: &Traced, constant: &Traced) -> Ruled<Option<Traced>> {
    if x.is_constant() || !matches!(constant.held, Held::Constant(_)) {
        return Ok(None);
    }
    let Some(numbers) = constant.numbers()? else { return Ok(None) };
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(None);
    }
    let of = |f: fn(f64) -> f64| numbers.iter().map(|number| f(*number)).collect();
    let finite = of(|number| if number.is_finite() { number } else { 0.0 });
    let finite = Traced::constant(constant.elements, &constant.shape, finite)?;
    let mut sum = t.apply(Add, &[x, &finite])?;
    for infinity in [f64::INFINITY, f64::NEG_INFINITY] {
        if numbers.contains(&infinity) {
            let hidden = numbers.iter().map(|n| f64::from(u8::from(*n == infinity))).collect();
            let hidden = Traced::constant(Elements::Truth, &constant.shape, hidden)?;
            sum = t.apply(Replace { with: infinity }, &[&sum, &hidden])?;
        }
    }
    Ok(Some(sum))
}

pub(crate) fn subtract(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let elements = a.elements.max(b.elements);
    match (number(b, a.rank())?, number(a, b.rank())?) {
        (Some(c), _) if c.is_finite() => t.apply_as(elements, Function::add_constant(-c), &[a]),
        (_, Some(c)) if c.is_finite() => t.apply_as(elements, Function::Affine(-1.0, c), &[b]),
        _ => t.apply_as(elements, Subtract, &[a, b]),
    }
}

pub(crate) fn multiply(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let elements = a.elements.max(b.elements);
    for (x, constant) in [(a, b), (b, a)] {
        if let Some(c) = number(constant, x.rank())? {
            return t.apply_as(elements, Function::scale(c), &[x]);
        }
    }
    t.apply_as(elements, Multiply, &[a, b])
}

/// True division: of whole numbers too.
pub(crate) fn divide(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    match number(b, a.rank())? {
        Some(c) => t.apply_as(Elements::Real, Function::scale(c.recip()), &[a]),
        None => t.apply_as(Elements::Real, Divide, &[a, b]),
    }
}

/// The larger of two; of equal ones the first.
fn maximum(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let first = t.apply_as(Elements::Truth, Compare(Comparison::AtLeast), &[a, b])?;
    choose(t, &first, a, b)
}

/// The smaller of two; of equal ones the first.
fn minimum(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let first = t.apply_as(Elements::Truth, Compare(Comparison::AtMost), &[a, b])?;
    choose(t, &first, a, b)
}

/// a where the condition holds, else b.
pub(crate) fn choose(t: &mut Tracer, condition: &Traced, a: &Traced, b: &Traced) -> Ruled<Traced> {
    let elements = a.elements.max(b.elements);
    if let Some(with) = number(a, condition.rank().max(b.rank()))? {
        return t.apply_as(elements, Replace { with }, &[b, condition]);
    }
    if let Some(with) = number(b, condition.rank().max(a.rank()))? {
        let not = t.apply(Function::Affine(-1.0, 1.0), &[condition])?;
        return t.apply_as(elements, Replace { with }, &[a, &not]);
    }
    t.apply_as(elements, Choose, &[condition, a, b])
}

fn where_two(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let condition = call.tensor("condition")?;
    choose(t, condition, &call.tensor_or_number("self")?, &call.tensor_or_number("other")?)
}

fn masked_fill(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let filled = choose(t, mask, &call.tensor_or_number("value")?, x)?;
    Ok(filled.with_elements(x.elements))
}

/// `a + weight (b - a)`.
fn lerp(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = (call.tensor("self")?, call.tensor("end")?);
    let step = subtract(t, b, a)?;
    let step = scaled(t, &step, call.float("weight")?)?;
    add(t, a, &step)
}
