//! Arithmetic of sizes: an operator of Python and its numbers go in, a number comes out.

use crate::trace::{Refusal, Ruled};

/// The value of an operator; comparisons give 0 or 1.
pub(crate) fn arithmetic(operator: &str, numbers: &[f64]) -> Ruled<f64> {
    let truth = |truth: bool| f64::from(u8::from(truth));
    let value = match (operator, numbers) {
        ("add", [a, b]) => a + b,
        ("sub", [a, b]) => a - b,
        ("mul", [a, b]) => a * b,
        ("truediv", [a, b]) => a / b,
        ("floordiv", [a, b]) => (a / b).floor(),
        ("mod", [a, b]) => a - b * (a / b).floor(),
        ("pow", [a, b]) => a.powf(*b),
        ("neg", [a]) => -a,
        ("eq", [a, b]) => truth(a == b),
        ("ne", [a, b]) => truth(a != b),
        ("lt", [a, b]) => truth(a < b),
        ("le", [a, b]) => truth(a <= b),
        ("gt", [a, b]) => truth(a > b),
        ("ge", [a, b]) => truth(a >= b),
        _ => return Err(Refusal::new(format!("no arithmetic of sizes {numbers:?}"))),
    };
    match value.is_finite() {
        true => Ok(value),
        false => Err(Refusal::new(format!("{operator} of sizes {numbers:?} is {value}"))),
    }
}
