//! Values and derivatives of the activations, each as a type of its own, for loops of the host that
//! are compiled for one activation and vectorise.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    loops::real::Real,
};

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

/// Evaluates `$body` with `$f` bound to the [`Pointwise`] type of an optional [`Activation`], that
/// [`ensure_supported`] let pass: the choice is made once, outside the loops in `$body`.
macro_rules! specialise {
    ($activation:expr, $f:ident => $body:expr) => {{
        use entk_device::Activation;
        use $crate::loops::activation as pointwise;
        match $activation {
            None => {
                let $f = pointwise::Identity;
                $body
            }
            Some(Activation::Relu) => {
                let $f = pointwise::Relu;
                $body
            }
            Some(Activation::Gelu) => {
                let $f = pointwise::Gelu;
                $body
            }
            Some(Activation::Silu) => {
                let $f = pointwise::Silu;
                $body
            }
            Some(Activation::Tanh) => {
                let $f = pointwise::Tanh;
                $body
            }
            Some(Activation::Square) => {
                let $f = pointwise::Square;
                $body
            }
            Some(_) => {}
        }
    }};
}
pub(crate) use specialise;

/// Refuses an activation that has no loop here.
pub(crate) fn ensure_supported(activation: Option<Activation>) -> Result<()> {
    let mut supported = false;
    specialise!(activation, _act => supported = true);
    match activation {
        Some(activation) if !supported => Err(ModelError::Activation(activation)),
        _ => Ok(()),
    }
}

/// No activation.
#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Pointwise for Identity {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x
    }
    #[inline(always)]
    fn derivative<T: Real>(self, _: T) -> T {
        T::one()
    }
    fn curvature<T: Real>(self, _: T) -> T {
        T::zero()
    }
}

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
    /// 0, as on either side of the corner.
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
