use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    kernel::{Kernel, apply},
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

impl Activation {
    /// The value at x.
    pub(crate) fn value<T: Real>(self, x: T) -> T {
        let c = T::from_f64;
        match self {
            Self::Relu if x <= T::zero() => T::zero(),
            Self::Relu => x,
            Self::Gelu => c(0.5) * x * (T::one() + gelu_tanh(x)),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => Real::tanh(x),
            Self::Square => x * x,
        }
    }

    /// The first derivative at x.
    pub(crate) fn derivative<T: Real>(self, x: T) -> T {
        let c = T::from_f64;
        let one = T::one();
        match self {
            Self::Relu if x <= T::zero() => T::zero(),
            Self::Relu => one,
            Self::Gelu => {
                let t = gelu_tanh(x);
                let inner = c(GELU_SLOPE) * (one + c(3.0 * GELU_CUBE) * x * x);
                c(0.5) * (one + t) + c(0.5) * x * (one - t * t) * inner
            }
            Self::Silu => {
                let s = sigmoid(x);
                s * (one + x * (one - s))
            }
            Self::Tanh => {
                let t = Real::tanh(x);
                one - t * t
            }
            Self::Square => c(2.0) * x,
        }
    }
}

fn gelu_tanh<T: Real>(x: T) -> T {
    let c = T::from_f64;
    Real::tanh(c(GELU_SLOPE) * (x + c(GELU_CUBE) * x * x * x))
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + Real::exp(T::zero() - x))
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
            for (o, x) in out.iter_mut().zip(x) {
                *o = self.activation.value(*x);
            }
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
                for ((o, x), d) in out.iter_mut().zip(x).zip(d) {
                    *o = self.activation.derivative(*x) * *d;
                }
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
                    None => triples.for_each(|(o, (a, b))| *o = *a + *b),
                    Some(act) => triples.for_each(|(o, (a, b))| *o = act.value(*a + *b)),
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
                for ((o, d), (a, b)) in out.iter_mut().zip(d).zip(a.iter().zip(b)) {
                    *o = self.activation.derivative(*a + *b) * *d;
                }
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
