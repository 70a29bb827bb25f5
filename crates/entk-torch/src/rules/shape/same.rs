//! Operations that change no number of what is traced: copies, dropout of evaluation, checks,
//! sizes; and writes of given numbers.

use crate::{
    rules::{rule::Rule, shape::expanded},
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("alias.default", Rule::One(same)),
    ("detach.default", Rule::One(detach)),
    ("clone.default", Rule::One(same)),
    ("contiguous.default", Rule::One(same)),
    ("lift_fresh.default", Rule::One(same)),
    ("lift_fresh_copy.default", Rule::One(same)),
    ("dropout.default", Rule::One(dropout)),
    ("feature_dropout.default", Rule::One(dropout)),
    ("alpha_dropout.default", Rule::One(dropout)),
    ("copy.default", Rule::One(copy)),
    ("fill.Scalar", Rule::One(fill)),
    ("fill.Tensor", Rule::One(fill)),
    ("zero.default", Rule::One(fill)),
    ("_assert_tensor_metadata.default", Rule::Nothing),
    ("_assert_scalar.default", Rule::Nothing),
    ("_assert_async.msg", Rule::Nothing),
    ("sym_constrain_range.default", Rule::Nothing),
    ("sym_constrain_range_for_size.default", Rule::Nothing),
    ("sym_size.int", Rule::Number(size)),
    ("sym_numel.default", Rule::Number(count)),
];

fn size(call: &Call) -> Ruled<f64> {
    let x = call.tensor("self")?;
    Ok(x.shape[call.axis_or("dim", 0, x.rank())?] as f64)
}

fn count(call: &Call) -> Ruled<f64> {
    Ok(call.tensor("self")?.count() as f64)
}

fn same(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    Ok(call.tensor("self")?.clone())
}

/// No gradient passes: only what follows from no parameter and no input may be detached.
fn detach(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    if x.is_constant() {
        return Ok(x.clone());
    }
    Err(Refusal::new(
        "stops gradients: the kernel of that is another than the kernel of the function; leave \
         it out, or freeze the parameters",
    ))
}

fn dropout(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["p"]);
    if call.bool_or("train", true)? {
        return Err(Refusal::in_training("draws random numbers"));
    }
    match call.optional_tensor("input")? {
        Some(x) => Ok(x.clone()),
        None => same(t, call),
    }
}

fn copy(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (to, from) = (call.tensor("self")?, call.tensor("src")?);
    Ok(expanded(t, from, &to.shape.clone())?.with_elements(to.elements))
}

fn fill(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let value = match call.base().trim_end_matches('_') {
        "zero" => Traced::number(x.elements, 0.0)?,
        _ => call.tensor_or_number("value")?,
    };
    Ok(expanded(t, &value, &x.shape)?.with_elements(x.elements))
}
