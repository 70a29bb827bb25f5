//! Arithmetic on vectors in f64, with a fixed order of summation and without overflow of squares,
//! and the checks of vectors that a user passes. All other modules call it.

use entk_memory::ensure;

use crate::{
    entries::Scalar,
    error::{Result, SpectralError},
};

/// Independent partial sums of [`dot`]: enough for the widest SIMD registers, and a fixed number,
/// so that the bits do not depend on the machine's width.
const LANES: usize = 8;

/// Inner product in f64, always summed in the same order.
pub(crate) fn dot<T: Scalar>(a: &[T], b: &[f64]) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let mut sums = [0.0_f64; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x.widen() * y).sum();
    for (a, b) in a.zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x.widen() * y;
        }
    }
    sums.iter().sum::<f64>() + tail
}

/// Largest magnitude, 0 for an empty slice. Entries must be finite.
pub(crate) fn max_abs<T: Scalar>(x: &[T]) -> f64 {
    x.iter().fold(0.0, |largest, x| largest.max(x.widen().abs()))
}

/// Euclidean norm, safe from overflow and underflow of the squares.
pub(crate) fn norm(x: &[f64]) -> f64 {
    let scale = BinaryScale::of(max_abs(x));
    let squares: f64 = x.iter().map(|&x| scale.down(x)).map(|x| x * x).sum();
    scale.up(squares.sqrt())
}

/// Multiplication by a power of two, which is exact away from the subnormals.
///
/// `of(a)` picks the exponent e with 2^e <= a < 2^(e+1); `down` multiplies by 2^-e and `up` by 2^e.
/// Both go in two half steps, because 2^e itself may not be representable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BinaryScale {
    exponent: i32,
}

impl BinaryScale {
    /// The scale of a finite magnitude; the identity for 0.
    pub(crate) fn of(magnitude: f64) -> Self {
        const LIFT: i32 = 200;
        let exponent = if magnitude == 0.0 {
            0
        } else if magnitude < f64::MIN_POSITIVE {
            exponent_of_normal(magnitude * power_of_two(LIFT)) - LIFT
        } else {
            exponent_of_normal(magnitude)
        };
        Self { exponent }
    }

    /// The power of two.
    pub(crate) fn exponent(self) -> i32 {
        self.exponent
    }

    /// The scale of this power of two.
    pub(crate) fn with_exponent(exponent: i32) -> Self {
        Self { exponent }
    }

    pub(crate) fn down(self, x: f64) -> f64 {
        times_power_of_two(x, -self.exponent)
    }

    pub(crate) fn up(self, x: f64) -> f64 {
        times_power_of_two(x, self.exponent)
    }
}

fn exponent_of_normal(x: f64) -> i32 {
    // Eleven bits always fit an i32.
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// 2^exponent for -1022 <= exponent <= 1023.
fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

fn times_power_of_two(x: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    x * power_of_two(half) * power_of_two(exponent - half)
}

/// Checks a stack of vectors of `dim` entries each: whole vectors, at least one, all finite.
/// Returns how many there are.
pub(crate) fn check_stack(stack: &[f64], dim: usize) -> Result<usize> {
    if dim == 0 || stack.is_empty() || !stack.len().is_multiple_of(dim) {
        return Err(SpectralError::VectorLength { dim, found: stack.len() });
    }
    match stack.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(SpectralError::NonFiniteVector {
            vector: at / dim,
            index: at % dim,
            value: stack[at],
        }),
        None => Ok(stack.len() / dim),
    }
}

/// As [`check_stack`], for exactly one vector.
pub(crate) fn check_vector(x: &[f64], dim: usize) -> Result<()> {
    if x.len() != dim {
        return Err(SpectralError::OneVector { dim, found: x.len() });
    }
    check_stack(x, dim).map(|_| ())
}

/// Returns a number if it is finite.
pub(crate) fn finite(x: f64, quantity: &'static str) -> Result<f64> {
    if x.is_finite() { Ok(x) } else { Err(SpectralError::Overflow { quantity }) }
}

/// A zero-filled vector, or an error instead of an abort when memory is short.
pub(crate) fn zeros(len: usize, what: &'static str) -> Result<Vec<f64>> {
    let bytes = (len as u64).saturating_mul(size_of::<f64>() as u64);
    ensure(what, bytes, None, "use fewer samples, or a solver for the top K pairs only")?;
    let mut x = Vec::new();
    x.try_reserve_exact(len).map_err(|_| SpectralError::OutOfMemory {
        what,
        bytes: len.saturating_mul(size_of::<f64>()),
    })?;
    x.resize(len, 0.0);
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_scale_is_exact_over_the_whole_range() {
        for x in [5e-324, 3.7e-310, 2.3e-308, 1e-300, 0.3, 1.0, 1.5, 1e300, f64::MAX] {
            let scale = BinaryScale::of(x);
            assert!((1.0..2.0).contains(&scale.down(x)), "{x:e}");
            assert_eq!(scale.up(scale.down(x)), x);
            assert_eq!(scale.up(scale.down(-x)), -x);
        }
        assert_eq!(BinaryScale::of(0.0).down(3.0), 3.0);
    }

    #[test]
    fn norm_neither_overflows_nor_underflows() {
        for s in [1e-310, 1e-200, 1.0, 1e200, 1e307] {
            let relative = norm(&[3.0 * s, -4.0 * s]) / (5.0 * s) - 1.0;
            // A subnormal s carries fewer digits.
            assert!(relative.abs() <= if s < 1e-300 { 1e-9 } else { 4.0 * f64::EPSILON }, "{s:e}");
        }
        assert_eq!(norm(&[]), 0.0);
    }

    #[test]
    fn dot_handles_every_tail() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let b: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
            let exact: u64 = (0..n).map(|i: u64| i * (i + 1)).sum();
            assert_eq!(dot(&a, &b), exact as f64);
        }
    }
}
