//! The table of functions that are no activations, some with parameters: values and derivatives,
//! each as a type of its own. Called by the loops over entries.

use crate::loops::{
    entrywise::pointwise::{c, magnitude, pointwise},
    real::Real,
};

pointwise! {
    Exp |x| { x.exp(); x.exp(); x.exp() }

    Log |x| { x.ln(); T::one() / x; -T::one() / (x * x) }

    Sqrt |x| {
        Real::sqrt(x);
        c::<T>(0.5) / Real::sqrt(x);
        c::<T>(-0.25) / (x * Real::sqrt(x))
    }

    ReciprocalSqrt |x| {
        T::one() / Real::sqrt(x);
        c::<T>(-0.5) / (x * Real::sqrt(x));
        c::<T>(0.75) / (x * x * Real::sqrt(x))
    }

    Reciprocal |x| { T::one() / x; -T::one() / (x * x); c::<T>(2.0) / (x * x * x) }

    Sin |x| { Real::sin(x); Real::cos(x); -Real::sin(x) }

    Cos |x| { Real::cos(x); -Real::sin(x); -Real::cos(x) }

    Abs |x| {
        magnitude(x);
        if x > T::zero() { T::one() } else if x < T::zero() { -T::one() } else { T::zero() };
        T::zero()
    }

    Power(p: f64) |x| {
        x.power(p);
        monomial(p, x, p - T::one());
        monomial(p * (p - T::one()), x, p - c::<T>(2.0))
    }

    LeakyRelu(slope: f64) |x| {
        if x > T::zero() { x } else { slope * x };
        if x > T::zero() { T::one() } else { slope };
        T::zero()
    }

    Elu(alpha: f64) |x| {
        if x > T::zero() { x } else { alpha * x.exp_m1() };
        if x > T::zero() { T::one() } else { alpha * x.exp() };
        if x >= T::zero() { T::zero() } else { alpha * x.exp() }
    }

    Affine(scale: f64, shift: f64) |x| { scale * x + shift; scale; T::zero() }

    Clamp(low: f64, high: f64) |x| {
        if x <= low { low } else if x >= high { high } else { x };
        if x <= low || x >= high { T::zero() } else { T::one() };
        T::zero()
    }
}

/// a x^p, 0 where a is.
#[inline(always)]
fn monomial<T: Real>(a: T, x: T, p: T) -> T {
    if a == T::zero() { T::zero() } else { a * x.power(p) }
}
