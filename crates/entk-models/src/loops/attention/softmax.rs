//! Softmax and log-softmax of the rows of a tensor, its last axis, with their derivatives. Rows in,
//! rows out; the functions of single rows serve attention too.

use candle_core::{D, Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        real::Real,
        row::{row_dot, row_max, row_sum},
    },
};

/// Entries that one task should at least work on.
const TASK: usize = 1 << 13;

/// `exp(x - largest)` in place, and its sum.
#[inline(always)]
fn exponentials<T: Real>(row: &mut [T], largest: T) -> T {
    row.iter_mut().for_each(|x| *x = Real::exp(*x - largest));
    row_sum(row)
}

/// The softmax of a row, in place.
#[inline(always)]
pub(crate) fn softmax_row<T: Real>(row: &mut [T]) {
    let most = row_max(row);
    let inverse = T::one() / exponentials(row, most);
    row.iter_mut().for_each(|x| *x *= inverse);
}

/// `y (u - <y, u>)` in place of u: the derivative of a softmax y along u, and its transpose.
#[inline(always)]
pub(crate) fn softmax_derivative_row<T: Real>(y: &[T], u: &mut [T]) {
    let along = row_dot(y, u, T::zero());
    y.iter().zip(u).for_each(|(y, u)| *u = *y * (*u - along));
}

/// `f(rows of the inputs, row of the result)` for all rows of some length, in tasks of fixed size;
/// `f` has to be inlined.
fn for_each_row<T: Real>(
    length: usize,
    inputs: &[&[T]],
    out: &mut [T],
    f: impl Fn([&[T]; 3], &mut [T]) + Sync,
) {
    let rows = (TASK / length).max(1);
    out.par_chunks_mut(rows * length).enumerate().for_each(|(task, part)| {
        vectorised(
            #[inline(always)]
            || {
                for (at, out) in part.chunks_exact_mut(length).enumerate() {
                    let start = (task * rows + at) * length;
                    let row = |input: usize| {
                        inputs.get(input).map_or(&[][..], |input| &input[start..start + length])
                    };
                    f([row(0), row(1), row(2)], out);
                }
            },
        );
    });
}

/// `exp(x - m) / s`, or its logarithm `x - m - log(s)`, with m the largest entry of the row and
/// `s = sum exp(x - m)`.
struct Rows {
    logarithm: bool,
    shape: Shape,
}

impl Rows {
    #[inline(always)]
    fn one<T: Real>(&self, x: &[T], out: &mut [T]) {
        out.copy_from_slice(x);
        if !self.logarithm {
            return softmax_row(out);
        }
        let most = row_max(out);
        let logarithm = T::from_f64(exponentials(out, most).to_f64().ln());
        out.iter_mut().zip(x).for_each(|(out, x)| *out = *x - most - logarithm);
    }
}

impl HostOp for Rows {
    const NAME: &'static str = "softmax";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        for_each_row(
            length(&self.shape),
            inputs,
            out,
            #[inline(always)]
            |[x, ..], out| self.one(x, out),
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0].broadcast_sub(&inputs[0].max_keepdim(D::Minus1)?)?;
        let powers = x.exp()?;
        let sum = powers.sum_keepdim(D::Minus1)?;
        Ok(if self.logarithm {
            x.broadcast_sub(&sum.log()?)?
        } else {
            powers.broadcast_div(&sum)?
        })
    }
}

/// Which derivative of a row y is taken along u.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// Of a softmax: `y (u - <y, u>)`.
    Softmax,
    /// Of a log-softmax, a tangent: `u - <exp(y), u>`.
    LogarithmTangent,
    /// Of a log-softmax, a cotangent: `u - exp(y) sum(u)`.
    LogarithmCotangent,
}

/// Inputs: y and u.
struct Derivative {
    rule: Rule,
    shape: Shape,
}

impl Derivative {
    #[inline(always)]
    fn one<T: Real>(&self, y: &[T], u: &[T], out: &mut [T]) {
        match self.rule {
            Rule::Softmax => {
                out.copy_from_slice(u);
                softmax_derivative_row(y, out);
            }
            Rule::LogarithmTangent => {
                out.iter_mut().zip(y).for_each(|(out, y)| *out = Real::exp(*y));
                let along = row_dot(out, u, T::zero());
                out.iter_mut().zip(u).for_each(|(out, u)| *out = *u - along);
            }
            Rule::LogarithmCotangent => {
                let sum = row_sum(u);
                let pairs = y.iter().zip(u);
                out.iter_mut().zip(pairs).for_each(|(out, (y, u))| *out = *u - Real::exp(*y) * sum);
            }
        }
    }
}

impl HostOp for Derivative {
    const NAME: &'static str = "softmax_derivative";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        for_each_row(
            length(&self.shape),
            inputs,
            out,
            #[inline(always)]
            |[y, u, _], out| self.one(y, u, out),
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (y, u) = (inputs[0], inputs[1]);
        let sum = |terms: Tensor| terms.sum_keepdim(D::Minus1);
        Ok(match self.rule {
            Rule::Softmax => (y * u.broadcast_sub(&sum((y * u)?)?)?)?,
            Rule::LogarithmTangent => u.broadcast_sub(&sum((y.exp()? * u)?)?)?,
            Rule::LogarithmCotangent => (u - y.exp()?.broadcast_mul(&sum(u.clone())?)?)?,
        })
    }
}

/// How `y (u - <y, u>)` moves along a tangent t of x, y being the softmax of x:
/// `y ((t - <y, t>) (u - <y, u>) - <q, u>)` with `q = y (t - <y, t>)`. Inputs: y, u and t.
struct DerivativeTangent {
    shape: Shape,
}

impl DerivativeTangent {
    #[inline(always)]
    fn one<T: Real>([y, u, t]: [&[T]; 3], out: &mut [T]) {
        let (along_u, along_t) = (row_dot(y, u, T::zero()), row_dot(y, t, T::zero()));
        let pairs = u.iter().zip(t);
        for (out, (y, (u, t))) in out.iter_mut().zip(y.iter().zip(pairs)) {
            *out = *y * (*t - along_t) * (*u - along_u);
        }
        // <y (t - <t>) (u - <u>)> is <q, u>, since <q> is zero.
        let both = row_sum(out);
        out.iter_mut().zip(y).for_each(|(out, y)| *out -= *y * both);
    }
}

impl HostOp for DerivativeTangent {
    const NAME: &'static str = "softmax_curvature";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        for_each_row(length(&self.shape), inputs, out, Self::one);
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (y, u, t) = (inputs[0], inputs[1], inputs[2]);
        let centred = |a: &Tensor| a.broadcast_sub(&(y * a)?.sum_keepdim(D::Minus1)?);
        let product = ((y * centred(t)?)? * centred(u)?)?;
        Ok((&product - y.broadcast_mul(&product.sum_keepdim(D::Minus1)?)?)?)
    }
}

fn length(shape: &Shape) -> usize {
    shape.dims().last().copied().unwrap_or(1)
}

/// Softmax over the last axis.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    Rows { logarithm: false, shape: x.shape().clone() }.apply(&[x])
}

/// The logarithm of the [`softmax`].
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    Rows { logarithm: true, shape: x.shape().clone() }.apply(&[x])
}

/// The derivative of a softmax y along a tangent or for a cotangent u: the map is symmetric.
pub(crate) fn softmax_derivative(y: &Tensor, u: &Tensor) -> Result<Tensor> {
    Derivative { rule: Rule::Softmax, shape: y.shape().clone() }.apply(&[y, u])
}

/// The tangent of a log-softmax y for a tangent of its input.
pub(crate) fn log_softmax_tangent(y: &Tensor, dx: &Tensor) -> Result<Tensor> {
    Derivative { rule: Rule::LogarithmTangent, shape: y.shape().clone() }.apply(&[y, dx])
}

/// The cotangent of the input of a log-softmax y for one of y.
pub(crate) fn log_softmax_cotangent(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    Derivative { rule: Rule::LogarithmCotangent, shape: y.shape().clone() }.apply(&[y, dy])
}

/// The tangent of [`softmax_derivative`] for a fixed u and a tangent `dx` of the input.
pub(crate) fn softmax_derivative_tangent(y: &Tensor, u: &Tensor, dx: &Tensor) -> Result<Tensor> {
    DerivativeTangent { shape: y.shape().clone() }.apply(&[y, u, dx])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// Exponentials good to a few units, and sums of 21 of them.
    const ROUND_OFF: f64 = 256.0 * f64::EPSILON;
    const STEP: f64 = 1e-5;
    /// Truncation h^2 and round-off eps / h, times entries of size 4.
    const DIFFERENCES: f64 = 1e-9;

    fn rows(seed: u64) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(4 * 21, seed), (2, 2, 21), &Device::Cpu)?)
    }

    fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= tolerance, "{error:e}");
        Ok(())
    }

    fn differences(f: impl Fn(f64) -> Result<Tensor>) -> Result<Tensor> {
        Ok(((f(STEP)? - f(-STEP)?)? / (2.0 * STEP))?)
    }

    #[test]
    fn values_are_those_of_the_definition() -> Result<()> {
        let x = rows(1)?;
        let expected: Vec<f64> = (x.flatten_all()?.to_vec1::<f64>()?.chunks(21))
            .flat_map(|row| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(move |x| x.exp() / sum).collect::<Vec<_>>()
            })
            .collect();
        let expected = Tensor::from_vec(expected, x.shape(), &Device::Cpu)?;
        for far in [0.0, 1e3, -1e3] {
            // Far entries are themselves rounded.
            let tolerance = ROUND_OFF * (1.0 + f64::abs(far));
            let moved = (&x + far)?;
            assert_close(&softmax(&moved)?, &expected, tolerance)?;
            assert_close(&log_softmax(&moved)?, &expected.log()?, 4.0 * tolerance)?;
        }
        Ok(())
    }

    #[test]
    fn masked_entries_are_zero_and_rows_of_them_are_nan() -> Result<()> {
        let none = f64::NEG_INFINITY;
        let x = Tensor::new(&[[none, 1.0, none], [none, none, none]], &Device::Cpu)?;
        for y in [softmax(&x)?, softmax(&x.to_dtype(candle_core::DType::F32)?)?] {
            let y = y.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
            assert_eq!(y[0], [0.0, 1.0, 0.0]);
            assert!(y[1].iter().all(|y| y.is_nan()));
        }
        Ok(())
    }

    #[test]
    fn derivatives_are_differences() -> Result<()> {
        let (x, u, t) = (rows(1)?, rows(2)?, rows(3)?);
        let along = |h: f64| Ok::<_, crate::error::ModelError>((&x + (&t * h)?)?);
        let (y, logarithm) = (softmax(&x)?, log_softmax(&x)?);
        let expected = differences(|h| softmax(&along(h)?))?;
        assert_close(&softmax_derivative(&y, &t)?, &expected, DIFFERENCES)?;
        let expected = differences(|h| log_softmax(&along(h)?))?;
        let tangent = log_softmax_tangent(&logarithm, &t)?;
        assert_close(&tangent, &expected, DIFFERENCES)?;
        let inner = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f64>();
        let left = inner(&u, &tangent)?;
        let right = inner(&log_softmax_cotangent(&logarithm, &u)?, &t)?;
        assert!((left - right).abs() <= 84.0 * ROUND_OFF, "{left} {right}");
        let expected = differences(|h| softmax_derivative(&softmax(&along(h)?)?, &u))?;
        assert_close(&softmax_derivative_tangent(&y, &u, &t)?, &expected, DIFFERENCES)
    }

    #[test]
    fn compositions_are_the_loops() -> Result<()> {
        let (x, u, t) = (rows(1)?, rows(2)?, rows(3)?);
        let shape = x.shape().clone();
        for logarithm in [false, true] {
            let op = Rows { logarithm, shape: shape.clone() };
            let y = if logarithm { log_softmax(&x)? } else { softmax(&x)? };
            assert_close(&op.composed(&[&x])?, &y, ROUND_OFF)?;
        }
        let (y, logarithm) = (softmax(&x)?, log_softmax(&x)?);
        for (rule, y, expected) in [
            (Rule::Softmax, &y, softmax_derivative(&y, &u)?),
            (Rule::LogarithmTangent, &logarithm, log_softmax_tangent(&logarithm, &u)?),
            (Rule::LogarithmCotangent, &logarithm, log_softmax_cotangent(&logarithm, &u)?),
        ] {
            let op = Derivative { rule, shape: shape.clone() };
            assert_close(&op.composed(&[y, &u])?, &expected, 21.0 * ROUND_OFF)?;
        }
        let expected = softmax_derivative_tangent(&y, &u, &t)?;
        let op = DerivativeTangent { shape };
        assert_close(&op.composed(&[&y, &u, &t])?, &expected, 21.0 * ROUND_OFF)
    }
}
