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

#[cfg(test)]
mod tests {
    use super::arithmetic;

    #[test]
    fn numbers_of_sizes_are_those_of_python() {
        for (operator, numbers, expected) in [
            ("add", vec![7.0, 3.0], 10.0),
            ("sub", vec![7.0, 3.0], 4.0),
            ("mul", vec![7.0, 3.0], 21.0),
            ("truediv", vec![7.0, 4.0], 1.75),
            ("floordiv", vec![7.0, 3.0], 2.0),
            ("floordiv", vec![-7.0, 3.0], -3.0),
            ("mod", vec![7.0, 3.0], 1.0),
            ("mod", vec![-7.0, 3.0], 2.0),
            ("mod", vec![7.0, -3.0], -2.0),
            ("pow", vec![2.0, 3.0], 8.0),
            ("neg", vec![7.0], -7.0),
        ] {
            let found = arithmetic(operator, &numbers).expect(operator);
            assert_eq!(found, expected, "{operator} {numbers:?}");
        }
        for (operator, [less, same, more]) in [
            ("eq", [0.0, 1.0, 0.0]),
            ("ne", [1.0, 0.0, 1.0]),
            ("lt", [1.0, 0.0, 0.0]),
            ("le", [1.0, 1.0, 0.0]),
            ("gt", [0.0, 0.0, 1.0]),
            ("ge", [0.0, 1.0, 1.0]),
        ] {
            let of = |number| arithmetic(operator, &[number, 3.0]).expect(operator);
            assert_eq!([of(2.0), of(3.0), of(4.0)], [less, same, more], "{operator}");
        }
        for (operator, numbers) in [("xor", vec![1.0, 2.0]), ("add", vec![1.0]), ("neg", vec![])] {
            assert!(arithmetic(operator, &numbers).is_err(), "{operator} {numbers:?}");
        }
    }
}
