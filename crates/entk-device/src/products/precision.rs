//! Arithmetics of matrix products, and what rounding their inputs costs.

use std::{fmt, str::FromStr};

use crate::error::{DeviceError, Result};

/// The arithmetic of a matrix product: what its inputs are rounded to. Products of two inputs are
/// exact; sums are in f32, for [`F64`](Self::F64) in f64.
///
/// | precision | explicit mantissa bits | relative error of an input | products |
/// | --- | --- | --- | --- |
/// | `F64` | 52 | 2^-53 | 1 |
/// | `F32` | 23 | 2^-24 | 1 |
/// | `Tf32` | 10 | 2^-11 | 1, on tensor cores |
/// | `Bf16` | 7 | 2^-8 | 1, on tensor cores |
/// | `Tf32x3` | two parts of 10 | 2^-22 | 3, on tensor cores |
/// | `Bf16x3` | two parts of 7 | 2^-16 | 3, on tensor cores |
///
/// A split input is `x = high + low + rest`, each part the nearest number of so many bits to what
/// is left; the product of x and y is high high' + high low' + low high', and low low' is dropped.
/// [`input_error`](Self::input_error) bounds what all this does to a sum of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// Double precision.
    F64,
    /// Single precision.
    #[default]
    F32,
    /// Single precision with 10 mantissa bits.
    Tf32,
    /// Brain floating point: single precision with 7 mantissa bits.
    Bf16,
    /// Two TF32 parts a number, three products: as accurate as f32 up to a factor of 12.
    Tf32x3,
    /// Two bf16 parts a number, three products: between TF32 and f32.
    Bf16x3,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 6] =
        [Self::F64, Self::F32, Self::Tf32, Self::Bf16, Self::Tf32x3, Self::Bf16x3];

    /// Explicit mantissa bits of one part of an input.
    pub fn mantissa_bits(self) -> u32 {
        match self {
            Self::F64 => 52,
            Self::F32 => 23,
            Self::Tf32 | Self::Tf32x3 => 10,
            Self::Bf16 | Self::Bf16x3 => 7,
        }
    }

    /// Bytes of one input as products read it, in all its parts.
    pub fn operand_bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 | Self::Tf32 | Self::Bf16x3 => 4,
            Self::F64 | Self::Tf32x3 => 8,
        }
    }

    /// Whether an input has two parts.
    pub fn is_split(self) -> bool {
        matches!(self, Self::Tf32x3 | Self::Bf16x3)
    }

    /// Largest relative error of rounding to one part, u.
    pub fn unit_roundoff(self) -> f64 {
        0.5f64.powi(self.mantissa_bits() as i32 + 1)
    }

    /// Bound on the error that rounding the inputs makes in a sum of products `sum_i x_i y_i`,
    /// relative to `sum_i |x_i y_i|`. Sums are exact here, and inputs are f32 numbers far from the
    /// smallest.
    ///
    /// An input rounded once is x (1 + d) with |d| <= u, and a product errs by at most 2 u + u^2.
    /// Of a split input at most u^2 |x| is left over: the parts' sums err by 2 u^2 + u^4, and the
    /// dropped product of the low parts is at most u^2 (1 + u)^2.
    pub fn input_error(self) -> f64 {
        let u = self.unit_roundoff();
        match self {
            Self::F64 | Self::F32 => 0.0,
            Self::Tf32 | Self::Bf16 => 2.0 * u + u * u,
            Self::Tf32x3 | Self::Bf16x3 => {
                let rest = u * u;
                2.0 * rest + rest * rest + rest * (1.0 + u) * (1.0 + u)
            }
        }
    }

    /// [`input_error`](Self::input_error) with sums of `count` products in the precision's own
    /// accumulator, in any order.
    pub fn product_error(self, count: usize) -> f64 {
        let unit = if self == Self::F64 { 0.5f64.powi(53) } else { 0.5f64.powi(24) };
        let products = if self.is_split() { 3 * count } else { count };
        let sum = products as f64 * unit;
        // Bound on the product of the parts' absolute values, relative to |x y|.
        let u = self.unit_roundoff();
        let size = if self.is_split() { (1.0 + 2.0 * u).powi(2) } else { (1.0 + u).powi(2) };
        self.input_error() + size * sum / (1.0 - sum)
    }
}

impl FromStr for Precision {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|precision| precision.to_string() == text);
        named.ok_or_else(|| DeviceError::UnknownPrecision { found: text.to_string() })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::Tf32x3 => "tf32x3",
            Self::Bf16x3 => "bf16x3",
        })
    }
}

/// The f32 nearest to x with this many explicit mantissa bits, at most 22, ties to even. Infinities
/// and NaN stay; numbers above the largest such number become infinite.
pub(crate) fn round_to_bits(x: f32, mantissa_bits: u32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let dropped = 23 - mantissa_bits;
    let bits = x.to_bits();
    let even = (bits >> dropped) & 1;
    let up = (1u32 << (dropped - 1)) - 1 + even;
    f32::from_bits((bits + up) >> dropped << dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers over many binades, the same at every run, with both signs.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        (0..count).map(|_| ((next() - 0.5) * 2f64.powf(20.0 * next() - 10.0)) as f32).collect()
    }

    /// Sums whose share of the bound is a fraction that f64 holds: 2^23 products of half an ulp
    /// each are off by 1/2, and a half in a half more is 1.
    #[test]
    fn bounds_are_those_of_their_formulas() {
        let exact = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() <= 8.0 * f64::EPSILON, "{found} {expected}");
        };
        for (precision, bits) in [(Precision::F64, 53), (Precision::F32, 24)] {
            assert_eq!(precision.input_error(), 0.0);
            let u = 0.5f64.powi(bits);
            exact(precision.product_error(1 << (bits - 1)), (1.0 + u) * (1.0 + u));
        }
        for (precision, bits) in [(Precision::Tf32, 11), (Precision::Bf16, 8)] {
            let u = 0.5f64.powi(bits);
            exact(precision.input_error(), u * (2.0 + u));
            exact(precision.product_error(1 << 23), u * (2.0 + u) + (1.0 + u) * (1.0 + u));
        }
        // Three products for each of 2^22 pairs: 3/4 in a quarter more is 3.
        for (precision, bits) in [(Precision::Tf32x3, 11), (Precision::Bf16x3, 8)] {
            let u = 0.5f64.powi(bits);
            let inputs = u * u * (3.0 + 2.0 * u + 2.0 * u * u);
            exact(precision.input_error(), inputs);
            exact(precision.product_error(1 << 22), inputs + 3.0 * (1.0 + 2.0 * u).powi(2));
        }
        let bytes = Precision::ALL.map(Precision::operand_bytes);
        assert_eq!(bytes, [8, 4, 4, 2, 8, 4]);
    }

    #[test]
    fn rounding_is_to_the_nearest_and_ties_go_to_even() {
        for bits in [7, 10] {
            let step = 0.5f32.powi(bits as i32);
            assert_eq!(round_to_bits(1.0 + 0.5 * step, bits), 1.0);
            assert_eq!(round_to_bits(1.0 + 1.5 * step, bits), 1.0 + 2.0 * step);
            assert_eq!(round_to_bits(-1.0 - 0.501 * step, bits), -1.0 - step);
            assert_eq!(round_to_bits(2.0 - 0.25 * step, bits), 2.0);
            assert_eq!(round_to_bits(f32::MAX, bits), f32::INFINITY);
            assert!(round_to_bits(f32::NAN, bits).is_nan());
            let worst = numbers(20_000, 1)
                .into_iter()
                .map(|x| f64::from(round_to_bits(x, bits) - x).abs() / f64::from(x.abs()))
                .fold(0.0, f64::max);
            let unit = 0.5f64.powi(bits as i32 + 1);
            assert!(worst <= unit && worst > 0.9 * unit, "{worst:e}");
        }
    }

    #[test]
    fn rounding_to_seven_bits_is_the_conversion_to_bf16() {
        for x in numbers(20_000, 2) {
            assert_eq!(round_to_bits(x, 7), half::bf16::from_f32(x).to_f32());
        }
    }

    /// The sum of products in exact arithmetic (f64 holds a product of two f32 exactly), with
    /// inputs as `precision` sees them.
    fn rounded_sum(precision: Precision, x: &[f32], y: &[f32]) -> f64 {
        let bits = precision.mantissa_bits();
        let parts = |x: f32| {
            let high = round_to_bits(x, bits);
            (f64::from(high), f64::from(round_to_bits(x - high, bits)))
        };
        x.iter()
            .zip(y)
            .map(|(&x, &y)| {
                let ((xh, xl), (yh, yl)) = (parts(x), parts(y));
                if precision.is_split() { xh * yh + (xh * yl + xl * yh) } else { xh * yh }
            })
            .sum()
    }

    #[test]
    fn sums_of_products_err_within_the_bound_and_not_far_below_it() {
        for precision in [Precision::Tf32, Precision::Bf16, Precision::Tf32x3, Precision::Bf16x3] {
            let (x, y) = (numbers(4_000, 3), numbers(4_000, 4));
            let mut worst = 0f64;
            for (x, y) in x.chunks(2).zip(y.chunks(2)) {
                let exact: f64 = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                let size: f64 = x.iter().zip(y).map(|(&x, &y)| f64::from((x * y).abs())).sum();
                worst = worst.max((rounded_sum(precision, x, y) - exact).abs() / size);
            }
            // f64 sums of two add 1e-16; a random pair comes near the worst case.
            let bound = precision.input_error();
            assert!(worst <= bound + 1e-15, "{precision}: {worst:e} > {bound:e}");
            assert!(worst > 0.2 * bound, "{precision}: {worst:e} far below {bound:e}");
        }
    }

    #[test]
    fn every_precision_is_read_back_from_its_text() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().ok(), Some(precision));
        }
        assert!(matches!(
            "f16".parse::<Precision>(),
            Err(DeviceError::UnknownPrecision { found }) if found == "f16"
        ));
    }
}
