//! The element types of the host's loops, with an exponential that vectorises.

use candle_core::WithDType;
use faer::traits::RealField;

/// The element types of the host's loops: f32 and f64.
pub trait Real: WithDType + RealField + Copy {
    /// 1 / (1 + exp(-x)), to a few units in the last place; NaN stays NaN. In f32 it is
    /// straight-line arithmetic, so that loops over it vectorise.
    fn sigmoid(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// exp(x), to a few units in the last place; NaN stays NaN. In f32 it is 0 where it would be
    /// below the smallest normal number, and straight-line arithmetic, so that loops vectorise.
    fn exp(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + exponential(-self))
    }
    fn tanh(self) -> Self {
        f32::tanh(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        full_exponential(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + f64::exp(-self))
    }
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
}

/// Arguments that [`exponential`] saturates at: `2^n` for the nearest n is then a normal number.
const SATURATION: f32 = 87.0;
/// The logarithm of the smallest normal number, and a number whose exponential is infinite.
const UNDERFLOW: f32 = -87.336_54;
const OVERFLOW: f32 = 89.0;
/// 1.5 * 2^23: added to a smaller number it leaves the nearest integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 as a number of few bits, whose small multiples are exact, and the rest.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// 1/k! for k = 7, ..., 0. The next term is below 6e-9 where |r| <= ln(2)/2.
const TAYLOR: [f32; 8] =
    [1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0, 1.0];

/// exp(r) and n, where x = n ln 2 + r with n the integer nearest to x / ln 2.
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let mut sum = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        sum = sum * r + coefficient;
    }
    (sum, n)
}

/// 2^n for an integer n from -126 to 127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n + ROUND).to_bits() << 23).wrapping_add(1f32.to_bits()))
}

/// exp(x) = 2^n exp(r), constant beyond +-87.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Comparisons with NaN are false: it passes.
    let x = if x > SATURATION { SATURATION } else { x };
    let x = if x < -SATURATION { -SATURATION } else { x };
    let (sum, n) = reduced(x);
    sum * power_of_two(n)
}

/// exp(x) for all x, 2^n being a product of two powers: infinite above 88.7.
#[inline(always)]
fn full_exponential(x: f32) -> f32 {
    let clamped = if x > OVERFLOW { OVERFLOW } else { x };
    let clamped = if clamped < UNDERFLOW { UNDERFLOW } else { clamped };
    let (sum, n) = reduced(clamped);
    let half = (0.5 * n + ROUND) - ROUND;
    let value = sum * power_of_two(half) * power_of_two(n - half);
    if x < UNDERFLOW { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_accurate_to_a_few_units_in_the_last_place() {
        // Three roundings after an exponential good to two units.
        let tolerance = 4.0 * f64::from(f32::EPSILON);
        for step in -870_000..=870_000 {
            let x = step as f32 * 1e-4;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(Real::sigmoid(x)) - exact).abs() / exact;
            assert!(error <= tolerance, "{x}: {error:e}");
        }
    }

    #[test]
    fn exp_is_accurate_to_a_few_units_in_the_last_place() {
        // A polynomial of eight terms on top of a rounded argument of at most ln(2) / 2.
        let tolerance = 2.0 * f64::from(f32::EPSILON);
        for step in -873_000..=887_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(Real::exp(x)) - exact).abs() / exact;
            assert!(error <= tolerance, "{x}: {error:e}");
        }
    }

    #[test]
    fn exp_ends_in_zero_and_infinity_and_lets_nan_through() {
        for x in [f32::NEG_INFINITY, -1e30, -90.0] {
            assert_eq!(Real::exp(x), 0.0);
        }
        assert_eq!((Real::exp(0f32), Real::exp(f32::INFINITY)), (1.0, f32::INFINITY));
        assert_eq!(Real::exp(89f32), f32::INFINITY);
        assert!(Real::exp(f32::NAN).is_nan() && Real::exp(f64::NAN).is_nan());
    }

    #[test]
    fn sigmoid_saturates_and_lets_nan_through() {
        assert_eq!(Real::sigmoid(f32::INFINITY), 1.0);
        assert!((0.0..2e-38).contains(&Real::sigmoid(f32::NEG_INFINITY)));
        assert_eq!(Real::sigmoid(0f32), 0.5);
        assert!(Real::sigmoid(f32::NAN).is_nan());
        assert!(Real::sigmoid(f64::NAN).is_nan());
    }
}
