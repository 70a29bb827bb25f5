//! The element types of the host's loops, and functions of them that are stable for every number
//! and vectorise in f32. Called by all loops.

mod single;

use candle_core::WithDType;
use faer::traits::RealField;

/// The element types of the host's loops: f32 and f64. NaN stays NaN in every function.
///
/// In f32 [`sigmoid`](Real::sigmoid), [`exp`](Real::exp), [`exp_m1`](Real::exp_m1),
/// [`ln_1p`](Real::ln_1p) and [`normal`](Real::normal) are straight-line arithmetic, so that loops
/// over them vectorise.
pub trait Real: WithDType + RealField + Copy {
    /// 1 / (1 + exp(-x)), to a few units in the last place.
    fn sigmoid(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// exp(x), to a few units in the last place; in f32 0 where it would be below the smallest
    /// normal number.
    fn exp(self) -> Self;
    /// exp(x) - 1 for x <= 0, to a few units in the last place.
    fn exp_m1(self) -> Self;
    /// ln(1 + x) for x from 0 to 1, to a few units in the last place.
    fn ln_1p(self) -> Self;
    /// The integral of the standard normal density up to x, erfc(-x / sqrt(2)) / 2, and the density
    /// exp(-x^2 / 2) / sqrt(2 pi). Relative errors x^2 / 2 units of round-off and a few; in f32
    /// both are 0 below -13.
    fn normal(self) -> [Self; 2];
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// x to the power of p.
    fn power(self, p: Self) -> Self;
}

/// The functions that both types take from the standard library.
macro_rules! standard_functions {
    ($type:ty) => {
        fn tanh(self) -> Self {
            <$type>::tanh(self)
        }
        fn ln(self) -> Self {
            <$type>::ln(self)
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            <$type>::sqrt(self)
        }
        fn sin(self) -> Self {
            <$type>::sin(self)
        }
        fn cos(self) -> Self {
            <$type>::cos(self)
        }
        fn power(self, p: Self) -> Self {
            <$type>::powf(self, p)
        }
    };
}

impl Real for f32 {
    standard_functions!(f32);
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + single::exponential(-self))
    }
    #[inline(always)]
    fn exp(self) -> Self {
        single::full_exponential(self)
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        single::exponential_minus_one(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        single::logarithm_of_one_plus(self)
    }
    #[inline(always)]
    fn normal(self) -> [Self; 2] {
        single::normal(self)
    }
}

/// 1 / sqrt(2 pi).
const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;

impl Real for f64 {
    standard_functions!(f64);
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + f64::exp(-self))
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    fn exp_m1(self) -> Self {
        f64::exp_m1(self)
    }
    fn ln_1p(self) -> Self {
        f64::ln_1p(self)
    }
    #[inline(always)]
    fn normal(self) -> [Self; 2] {
        let integral = 0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2);
        [integral, DENSITY_AT_ZERO * (-0.5 * self * self).exp()]
    }
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

    #[test]
    fn exp_m1_and_ln_1p_are_accurate_to_a_few_units_in_the_last_place() {
        // A polynomial, a product with a power of two and a sum; a quotient and a polynomial.
        let tolerance = 4.0 * f64::from(f32::EPSILON);
        for step in 1..=1_000_000 {
            let (x, y) = (step as f32 * -1e-4, step as f32 * 1e-6);
            let (exact, near) = (f64::from(x).exp_m1(), f64::from(y).ln_1p());
            let error = (f64::from(Real::exp_m1(x)) - exact).abs() / -exact;
            assert!(error <= tolerance, "{x}: {error:e}");
            let error = (f64::from(Real::ln_1p(y)) - near).abs() / near;
            assert!(error <= tolerance, "{y}: {error:e}");
        }
        assert_eq!((Real::exp_m1(0f32), Real::exp_m1(f32::NEG_INFINITY)), (0.0, -1.0));
        assert_eq!(Real::ln_1p(0f32), 0.0);
        assert!(Real::exp_m1(f32::NAN).is_nan() && Real::ln_1p(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_law_is_accurate_in_its_tails() {
        for step in -131_000..=131_000 {
            let x = step as f32 * 1e-4;
            let exact = Real::normal(f64::from(x));
            for (found, exact) in Real::normal(x).into_iter().zip(exact) {
                let error = (f64::from(found) - exact).abs() / exact;
                // The argument x^2 / 2 of an exponential is rounded, and so are its factors.
                let tolerance = 0.5 * (0.5 * f64::from(x * x) + 8.0) * f64::from(f32::EPSILON);
                assert!(error <= tolerance, "{x}: {error:e}");
            }
        }
        for (x, exact) in [(f32::NEG_INFINITY, 0.0), (-1e4, 0.0), (1e4, 1.0), (f32::INFINITY, 1.0)]
        {
            assert_eq!(Real::normal(x), [exact, 0.0]);
            assert_eq!(Real::normal(f64::from(x)), [f64::from(exact), 0.0]);
        }
        assert!(Real::normal(f32::NAN)[0].is_nan() && Real::normal(f64::NAN)[0].is_nan());
    }
}
