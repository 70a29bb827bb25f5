//! Entry by entry.

use entk_models::{
    Activation, Add, AddActivated, Divide, Function, Multiply, Operation, Result, Subtract,
};

use crate::operations::law::{InputLaw, Numbers, OperationVisitor};

/// Shapes that are broadcast in networks: equal ones, a vector along the last axis, positions, one
/// number a channel, one number, and two that both repeat.
const PAIRS: [(&str, &[usize], &[usize]); 7] = [
    ("equal shapes", &[3, 4], &[3, 4]),
    ("a vector", &[3, 4], &[4]),
    ("a scale of channels", &[3, 2, 4], &[3, 1, 1]),
    ("one number", &[3, 4], &[]),
    ("behind", &[4], &[2, 3, 4]),
    ("both repeat", &[3, 1, 2], &[1, 4, 1]),
    ("two axes apart", &[3, 2, 4], &[1, 2, 1]),
];

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let x = InputLaw { numbers: Numbers::BetweenEighths, ..InputLaw::normal(&[3, 4]) };
    for activation in Activation::ALL {
        visitor.visit(&format!("{activation:?}"), activation, std::slice::from_ref(&x))?;
    }
    let positive = InputLaw { numbers: Numbers::Positive, ..x.clone() };
    for function in Function::EXAMPLES {
        let law = if needs_positive(function) { &positive } else { &x };
        visitor.visit(&format!("{function:?}"), function, std::slice::from_ref(law))?;
    }
    for activation in [None, Some(Activation::Gelu)] {
        let name = if activation.is_some() { "sum, activated" } else { "sum" };
        visitor.visit(name, AddActivated { activation }, &[x.clone(), x.clone().shared()])?;
    }
    of_two(visitor, "add", Add, Numbers::Normal)?;
    of_two(visitor, "subtract", Subtract, Numbers::Normal)?;
    of_two(visitor, "multiply", Multiply, Numbers::Normal)?;
    of_two(visitor, "divide", Divide, Numbers::Positive)
}

/// Whether it is a function of positive numbers.
fn needs_positive(function: Function) -> bool {
    use Function::{Log, Power, Reciprocal, ReciprocalSqrt, Sqrt};
    matches!(function, Log | Sqrt | ReciprocalSqrt | Reciprocal | Power(_))
}

/// One operation on all pairs of shapes, the second input being a parameter or not.
fn of_two(
    visitor: &mut impl OperationVisitor,
    name: &str,
    operation: impl Operation + Copy,
    second: Numbers,
) -> Result<()> {
    for (shapes, a, b) in PAIRS {
        let (a, b) = (InputLaw::normal(a), InputLaw { numbers: second, ..InputLaw::normal(b) });
        visitor.visit(&format!("{name}, {shapes}"), operation, &[a, b.shared()])?;
    }
    Ok(())
}
