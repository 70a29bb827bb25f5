//! Sums over the entries of a row, for loops over rows: in lanes, which vectorise and hide the time
//! that one addition waits for the one before, and in a fixed order.

use crate::loops::real::Real;

/// Sums that a row is spread over.
const LANES: usize = 32;

/// Folds terms `term(at)` into lanes by `fold`, then the lanes: for every kind of sum here.
#[inline(always)]
fn fold_lanes<T: Real, const N: usize>(
    rows: [&[T]; N],
    start: T,
    fold: impl Fn(T, [T; N]) -> T,
    join: impl Fn(T, T) -> T,
) -> T {
    let mut lanes = [start; LANES];
    let length = rows[0].len();
    let whole = length / LANES * LANES;
    let rows = rows.map(|row| &row[..length]);
    let mut first = 0;
    while first < whole {
        let chunk = rows.map(|row| &row[first..first + LANES]);
        for (at, lane) in lanes.iter_mut().enumerate() {
            *lane = fold(*lane, chunk.map(|row| row[at]));
        }
        first += LANES;
    }
    let rest = rows.map(|row| &row[whole..]);
    for (at, lane) in lanes.iter_mut().enumerate().take(length - whole) {
        *lane = fold(*lane, rest.map(|row| row[at]));
    }
    lanes.into_iter().fold(start, join)
}

/// `sum_i x_i`.
#[inline(always)]
pub(crate) fn row_sum<T: Real>(x: &[T]) -> T {
    fold_lanes([x], T::zero(), |sum, [x]| sum + x, |a, b| a + b)
}

/// `sum_i a_i (b_i - center)`.
#[inline(always)]
pub(crate) fn row_dot<T: Real>(a: &[T], b: &[T], center: T) -> T {
    fold_lanes([a, b], T::zero(), |sum, [a, b]| sum + a * (b - center), |a, b| a + b)
}

/// `sum_i (x_i - center)^2`.
#[inline(always)]
pub(crate) fn row_squares<T: Real>(x: &[T], center: T) -> T {
    fold_lanes([x], T::zero(), |sum, [x]| sum + (x - center) * (x - center), |a, b| a + b)
}

/// The largest entry; NaN counts as none.
#[inline(always)]
pub(crate) fn row_max<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    fold_lanes([x], T::from_f64(f64::NEG_INFINITY), |most, [x]| larger(most, x), larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::host_op::testing::numbers;

    #[test]
    fn sums_are_those_of_plain_loops() {
        for length in [0, 1, 7, 31, 32, 33, 100] {
            let (a, b) = (numbers(length, 1), numbers(length, 2));
            // Terms of size 12 in another order.
            let tolerance = 12.0 * (length * length) as f64 * f64::EPSILON;
            let close = |x: f64, terms: &mut dyn Iterator<Item = f64>| {
                let expected: f64 = terms.sum();
                assert!((x - expected).abs() <= tolerance, "{length}: {x} {expected}");
            };
            close(row_sum(&a), &mut a.iter().copied());
            close(row_dot(&a, &b, 0.7), &mut a.iter().zip(&b).map(|(a, b)| a * (b - 0.7)));
            close(row_squares(&a, 0.7), &mut a.iter().map(|a| (a - 0.7) * (a - 0.7)));
            assert_eq!(row_max(&a), a.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
        assert_eq!(row_max(&[f64::NAN, 1.0, 3.0, f64::NAN]), 3.0);
    }
}
