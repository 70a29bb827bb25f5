use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    kernel::{Kernel, apply, vectorised},
    real::Real,
};
use crate::error::Result;

/// Element-wise non-linearities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// max(x, 0), with derivative 0 at 0; NaN stays NaN.
    #[default]
    Relu,
    /// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the tanh form of the GELU.
    Gelu,
    /// x / (1 + exp(-x)).
    Silu,
    /// tanh(x).
    Tanh,
    /// x^2: gradients of a one-hidden-layer network are then polynomials in x (Theorem 1).
    Square,
}

/// sqrt(2/pi).
const GELU_SLOPE: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh form of the GELU.
const GELU_CUBE: f64 = 0.044_715;

/// An activation as a type: a loop over it is compiled for it alone, and vectorises.
pub(crate) trait Pointwise: Copy + Send + Sync {
    /// The value at x.
    fn value<T: Real>(self, x: T) -> T;
    /// The first derivative at x.
    fn derivative<T: Real>(self, x: T) -> T;
    /// The second derivative at x.
    fn curvature<T: Real>(self, x: T) -> T;
}

/// Evaluates `$body` with `$f` bound to the [`Pointwise`] type of an [`Activation`]: the choice
/// is made once, outside the loops in `$body`.
macro_rules! specialise {
    ($activation:expr, $f:ident => $body:expr) => {{
        use $crate::ops::activation::{self as pointwise, Activation, Pointwise as _};
        match $activation {
            Activation::Relu => {
                let $f = pointwise::Relu;
                $body
            }
            Activation::Gelu => {
                let $f = pointwise::Gelu;
                $body
            }
            Activation::Silu => {
                let $f = pointwise::Silu;
                $body
            }
            Activation::Tanh => {
                let $f = pointwise::Tanh;
                $body
            }
            Activation::Square => {
                let $f = pointwise::Square;
                $body
            }
        }
    }};
}
pub(crate) use specialise;

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Pointwise for Relu {
    /// NaN is no less than zero and passes through.
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        if x <= T::zero() { T::zero() } else { x }
    }
    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        if x <= T::zero() { T::zero() } else { T::one() }
    }
    /// 0 everywhere: that of either side.
    fn curvature<T: Real>(self, _: T) -> T {
        T::zero()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Pointwise for Gelu {
    /// (1 + tanh(u)) / 2 is the sigmoid of 2 u, without cancellation for u far below zero.
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * Real::sigmoid(gelu_argument(x))
    }
    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        let c = T::from_f64;
        let s = Real::sigmoid(gelu_argument(x));
        let slope = c(2.0 * GELU_SLOPE) + c(6.0 * GELU_SLOPE * GELU_CUBE) * x * x;
        s + x * s * (T::one() - s) * slope
    }
    fn curvature<T: Real>(self, x: T) -> T {
        let c = T::from_f64;
        let s = Real::sigmoid(gelu_argument(x));
        let slope = c(2.0 * GELU_SLOPE) + c(6.0 * GELU_SLOPE * GELU_CUBE) * x * x;
        let bend = c(12.0 * GELU_SLOPE * GELU_CUBE) * x;
        let first = s * (T::one() - s);
        let second = first * ((T::one() - s - s) * slope * slope + bend);
        c(2.0) * first * slope + x * second
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Pointwise for Silu {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * Real::sigmoid(x)
    }
    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        let s = Real::sigmoid(x);
        s * (T::one() + x * (T::one() - s))
    }
    fn curvature<T: Real>(self, x: T) -> T {
        let s = Real::sigmoid(x);
        s * (T::one() - s) * (T::from_f64(2.0) + x * (T::one() - s - s))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Pointwise for Tanh {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::tanh(x)
    }
    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        let t = Real::tanh(x);
        T::one() - t * t
    }
    fn curvature<T: Real>(self, x: T) -> T {
        let t = Real::tanh(x);
        T::from_f64(-2.0) * t * (T::one() - t * t)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Square;

impl Pointwise for Square {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x
    }
    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        x + x
    }
    fn curvature<T: Real>(self, _: T) -> T {
        T::from_f64(2.0)
    }
}

/// 2 sqrt(2/pi) (x + 0.044715 x^3).
#[inline(always)]
fn gelu_argument<T: Real>(x: T) -> T {
    let c = T::from_f64;
    c(2.0 * GELU_SLOPE) * (x + c(GELU_CUBE) * x * x * x)
}

/// Entries of one task of the element-wise kernels.
const TASK: usize = 1 << 14;

struct Value {
    activation: Activation,
    shape: Shape,
}

impl Kernel for Value {
    const NAME: &'static str = "activation";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        out.par_chunks_mut(TASK).zip(inputs[0].par_chunks(TASK)).for_each(|(out, x)| {
            specialise!(self.activation, act => vectorised(|| {
                out.iter_mut().zip(x).for_each(|(o, x)| *o = act.value(*x));
            }));
        });
    }
}

struct DerivativeProduct {
    activation: Activation,
    shape: Shape,
}

impl Kernel for DerivativeProduct {
    const NAME: &'static str = "activation_derivative";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(TASK))
            .zip(inputs[0].par_chunks(TASK))
            .zip(inputs[1].par_chunks(TASK))
            .for_each(|((out, x), d)| {
                specialise!(self.activation, act => vectorised(|| {
                    let pairs = x.iter().zip(d);
                    out.iter_mut().zip(pairs).for_each(|(o, (x, d))| *o = act.derivative(*x) * *d);
                }));
            });
    }
}

/// The activation of every entry.
pub(crate) fn value(activation: Activation, x: &Tensor) -> Result<Tensor> {
    apply(Value { activation, shape: x.shape().clone() }, &[x])
}

/// act'(x) d, entry by entry: the JVP and the VJP alike.
pub(crate) fn derivative_product(activation: Activation, x: &Tensor, d: &Tensor) -> Result<Tensor> {
    apply(DerivativeProduct { activation, shape: x.shape().clone() }, &[x, d])
}

struct CurvatureProduct {
    activation: Activation,
    shape: Shape,
}

impl Kernel for CurvatureProduct {
    const NAME: &'static str = "activation_curvature";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(TASK))
            .zip(inputs[0].par_chunks(TASK).zip(inputs[1].par_chunks(TASK)))
            .zip(inputs[2].par_chunks(TASK))
            .for_each(|((out, (x, a)), b)| {
                specialise!(self.activation, act => {
                    for ((o, x), (a, b)) in out.iter_mut().zip(x).zip(a.iter().zip(b)) {
                        *o = act.curvature(*x) * *a * *b;
                    }
                });
            });
    }
}

/// act''(x) a b, entry by entry: how act'(x) a moves with x along b.
pub(crate) fn curvature_product(
    activation: Activation,
    x: &Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    apply(CurvatureProduct { activation, shape: x.shape().clone() }, &[x, a, b])
}

struct Sum {
    activation: Option<Activation>,
    shape: Shape,
}

impl Kernel for Sum {
    const NAME: &'static str = "sum";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(TASK))
            .zip(inputs[0].par_chunks(TASK))
            .zip(inputs[1].par_chunks(TASK))
            .for_each(|((out, a), b)| {
                let triples = out.iter_mut().zip(a.iter().zip(b));
                match self.activation {
                    None => vectorised(|| triples.for_each(|(o, (a, b))| *o = *a + *b)),
                    Some(act) => specialise!(act, act => vectorised(|| {
                        triples.for_each(|(o, (a, b))| *o = act.value(*a + *b));
                    })),
                }
            });
    }
}

struct SumDerivative {
    activation: Activation,
    shape: Shape,
}

impl Kernel for SumDerivative {
    const NAME: &'static str = "sum_derivative";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(TASK))
            .zip(inputs[0].par_chunks(TASK).zip(inputs[1].par_chunks(TASK)))
            .zip(inputs[2].par_chunks(TASK))
            .for_each(|((out, (a, b)), d)| {
                let all = out.iter_mut().zip(d).zip(a.iter().zip(b));
                specialise!(self.activation, act => vectorised(|| {
                    all.for_each(|((o, d), (a, b))| *o = act.derivative(*a + *b) * *d);
                }));
            });
    }
}

/// a + b, entry by entry.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Sum { activation: None, shape: a.shape().clone() }, &[a, b])
}

/// act(a + b), entry by entry.
pub(crate) fn activated_sum(
    activation: Option<Activation>,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    apply(Sum { activation, shape: a.shape().clone() }, &[a, b])
}

/// act'(a + b) d, entry by entry.
pub(crate) fn sum_derivative_product(
    activation: Activation,
    a: &Tensor,
    b: &Tensor,
    d: &Tensor,
) -> Result<Tensor> {
    apply(SumDerivative { activation, shape: a.shape().clone() }, &[a, b, d])
}
