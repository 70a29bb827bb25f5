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
}

impl Real for f32 {
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + exponential(-self))
    }
    fn tanh(self) -> Self {
        f32::tanh(self)
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
}

/// Arguments that [`exponential`] saturates at: `2^n` for the nearest n is then a normal number.
const SATURATION: f32 = 87.0;
/// 1.5 * 2^23: added to a smaller number it leaves the nearest integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 as a number of few bits, whose small multiples are exact, and the rest.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// 1/k! for k = 7, ..., 0. The next term is below 6e-9 where |r| <= ln(2)/2.
const TAYLOR: [f32; 8] =
    [1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0, 1.0];

/// exp(x) = 2^n exp(r) with n the integer nearest to x / ln 2, constant beyond +-87.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Comparisons with NaN are false: it passes.
    let x = if x > SATURATION { SATURATION } else { x };
    let x = if x < -SATURATION { -SATURATION } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let mut sum = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        sum = sum * r + coefficient;
    }
    let power = (shifted.to_bits() << 23).wrapping_add(1f32.to_bits());
    sum * f32::from_bits(power)
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
    fn sigmoid_saturates_and_lets_nan_through() {
        assert_eq!(Real::sigmoid(f32::INFINITY), 1.0);
        assert!((0.0..2e-38).contains(&Real::sigmoid(f32::NEG_INFINITY)));
        assert_eq!(Real::sigmoid(0f32), 0.5);
        assert!(Real::sigmoid(f32::NAN).is_nan());
        assert!(Real::sigmoid(f64::NAN).is_nan());
    }
}
