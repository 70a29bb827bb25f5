//! Numbers with two derivatives: a formula of jets goes in, its value and derivatives come out. The
//! oracle of known answers, which are then written from definitions alone.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Value, first and second derivative of a function of one variable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jet(pub(super) [f64; 3]);

impl Jet {
    /// The variable itself.
    pub(super) fn variable(x: f64) -> Self {
        Self([x, 1.0, 0.0])
    }

    /// A constant.
    pub(super) fn constant(c: f64) -> Self {
        Self([c, 0.0, 0.0])
    }

    /// `f` of it, from value and derivatives of f at its value.
    pub(super) fn map(self, f: impl Fn(f64) -> [f64; 3]) -> Self {
        let Self([x, first, second]) = self;
        let [value, slope, bend] = f(x);
        Self([value, slope * first, bend * first * first + slope * second])
    }

    pub(super) fn exp(self) -> Self {
        self.map(|x| [x.exp(); 3])
    }

    pub(super) fn ln(self) -> Self {
        self.map(|x| [x.ln(), 1.0 / x, -1.0 / (x * x)])
    }

    pub(super) fn tanh(self) -> Self {
        let squared = |x: f64| 1.0 / (x.cosh() * x.cosh());
        self.map(|x| [x.tanh(), squared(x), -2.0 * x.tanh() * squared(x)])
    }

    pub(super) fn sin(self) -> Self {
        self.map(|x| [x.sin(), x.cos(), -x.sin()])
    }

    pub(super) fn power(self, p: f64) -> Self {
        self.map(|x| [x.powf(p), p * x.powf(p - 1.0), p * (p - 1.0) * x.powf(p - 2.0)])
    }

    /// The integral of the standard normal density, by the series of Marsaglia (2004): all terms
    /// have one sign.
    pub(super) fn normal_cdf(self) -> Self {
        self.map(|x| {
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let (mut term, mut sum) = (x, x);
            for odd in (3..200).step_by(2) {
                term *= x * x / f64::from(odd);
                sum += term;
            }
            [0.5 + density * sum, density, -x * density]
        })
    }
}

impl Add for Jet {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (Self(a), Self(b)) = (self, other);
        Self([a[0] + b[0], a[1] + b[1], a[2] + b[2]])
    }
}

impl Neg for Jet {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.map(|x| -x))
    }
}

impl Sub for Jet {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Jet {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let (Self(a), Self(b)) = (self, other);
        Self([
            a[0] * b[0],
            a[1] * b[0] + a[0] * b[1],
            a[2] * b[0] + 2.0 * a[1] * b[1] + a[0] * b[2],
        ])
    }
}

impl Mul<Jet> for f64 {
    type Output = Jet;
    fn mul(self, jet: Jet) -> Jet {
        Jet::constant(self) * jet
    }
}

impl Add<f64> for Jet {
    type Output = Self;
    fn add(self, c: f64) -> Self {
        self + Self::constant(c)
    }
}

impl Jet {
    fn reciprocal(self) -> Self {
        self.map(|x| [1.0 / x, -1.0 / (x * x), 2.0 / (x * x * x)])
    }
}

impl Div for Jet {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.mul(other.reciprocal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_composed_formulas() {
        // x^2 / (1 + x) at 2, sin(x^3) and exp(ln(x)) at 1.
        let x = Jet::variable(2.0);
        assert_eq!((x * x / (x + 1.0)).0, [4.0 / 3.0, 8.0 / 9.0, 2.0 / 27.0]);
        let x = Jet::variable(1.0);
        let Jet([value, first, second]) = (x * x * x).sin();
        let (s, c) = (1f64.sin(), 1f64.cos());
        assert!((value - s).abs() + (first - 3.0 * c).abs() <= 1e-15);
        assert!((second - (6.0 * c - 9.0 * s)).abs() <= 1e-14);
        assert_eq!(x.ln().exp().0, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn the_series_of_the_normal_integral_has_its_known_values() {
        for (x, exact) in
            [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-3.0, 1.349_898_031_630_094_6e-3)]
        {
            assert!((Jet::variable(x).normal_cdf().0[0] - exact).abs() <= 1e-16 * 4.0, "{x}");
        }
    }
}
