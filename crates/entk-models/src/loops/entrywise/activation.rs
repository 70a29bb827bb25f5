//! The table of activations: values and derivatives, each as a type of its own. Called by the loops
//! over entries and by those of norms, which end in an activation.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    loops::{
        entrywise::{
            function,
            pointwise::{c, damped, magnitude, pointwise},
        },
        real::Real,
    },
};

/// Evaluates `$body` with `$f` bound to the [`Pointwise`](super::pointwise::Pointwise) type of an
/// optional [`Activation`], that [`ensure_supported`] let pass: the choice is made once, outside
/// the loops in `$body`.
macro_rules! specialise {
    ($activation:expr, $f:ident => $body:expr) => {
        $crate::loops::entrywise::activation::choose!(
            $activation, $f => $body,
            Relu Gelu Silu Tanh Square GeluErf Relu6 LeakyRelu Elu Selu Mish Sigmoid Softplus
            HardSwish HardSigmoid
        )
    };
}
pub(crate) use specialise;

/// The arms of [`specialise`].
macro_rules! choose {
    ($activation:expr, $f:ident => $body:expr, $($name:ident)+) => {{
        use entk_device::Activation;
        use $crate::loops::entrywise::activation as table;
        match $activation {
            None => {
                let $f = table::Identity;
                $body
            }
            $(Some(Activation::$name) => {
                let $f = table::$name;
                $body
            })+
            Some(_) => {}
        }
    }};
}
pub(crate) use choose;

/// Refuses an activation that has no loop here.
pub(crate) fn ensure_supported(activation: Option<Activation>) -> Result<()> {
    let mut supported = false;
    specialise!(activation, _act => supported = true);
    match activation {
        Some(activation) if !supported => Err(ModelError::Function(activation.into())),
        _ => Ok(()),
    }
}

pointwise! {
    /// No activation.
    Identity |x| { x; T::one(); T::zero() }

    /// NaN is no less than zero and passes through.
    Relu |x| {
        if x <= T::zero() { T::zero() } else { x };
        if x <= T::zero() { T::zero() } else { T::one() };
        T::zero()
    }

    /// (1 + tanh(u)) / 2 is the sigmoid of 2 u, without cancellation for u far below zero.
    Gelu |x| {
        x * gelu_argument(x).sigmoid();
        {
            let s = gelu_argument(x).sigmoid();
            s + x * s * (T::one() - s) * gelu_slope(x)
        };
        {
            let (s, slope) = (gelu_argument(x).sigmoid(), gelu_slope(x));
            let bend = c::<T>(12.0 * GELU_SLOPE * GELU_CUBE) * x;
            let first = s * (T::one() - s);
            let second = first * ((T::one() - s - s) * slope * slope + bend);
            c::<T>(2.0) * first * slope + x * second
        }
    }

    Silu |x| {
        x * x.sigmoid();
        {
            let s = x.sigmoid();
            s * (T::one() + x * (T::one() - s))
        };
        {
            let s = x.sigmoid();
            s * (T::one() - s) * (c::<T>(2.0) + x * (T::one() - s - s))
        }
    }

    Tanh |x| {
        Real::tanh(x);
        {
            let t = Real::tanh(x);
            T::one() - t * t
        };
        {
            let t = Real::tanh(x);
            c::<T>(-2.0) * t * (T::one() - t * t)
        }
    }

    Square |x| { x * x; x + x; c::<T>(2.0) }

    GeluErf |x| {
        damped(x, x.normal()[0]);
        {
            let [integral, density] = x.normal();
            integral + damped(x, density)
        };
        damped(c::<T>(2.0) - x * x, x.normal()[1])
    }

    Relu6 |x| { RELU6.value(x); RELU6.derivative(x); RELU6.curvature(x) }

    LeakyRelu |x| { LEAKY.value(x); LEAKY.derivative(x); LEAKY.curvature(x) }

    Elu |x| { ELU.value(x); ELU.derivative(x); ELU.curvature(x) }

    Selu |x| {
        c::<T>(SELU.0) * SELU.1.value(x);
        c::<T>(SELU.0) * SELU.1.derivative(x);
        c::<T>(SELU.0) * SELU.1.curvature(x)
    }

    Mish |x| {
        damped(x, mish_gate(x)[0]);
        {
            let [gate, first, _] = mish_gate(x);
            gate + damped(x, first)
        };
        {
            let [_, first, second] = mish_gate(x);
            first + first + damped(x, second)
        }
    }

    Sigmoid |x| { x.sigmoid(); sigmoid_slope(x)[0]; sigmoid_slope(x)[1] }

    Softplus |x| {
        {
            let over = if x < T::zero() { T::zero() } else { x };
            over + (-magnitude(x)).exp().ln_1p()
        };
        x.sigmoid();
        sigmoid_slope(x)[0]
    }

    HardSwish |x| {
        within_three(x, [T::zero(), x * ((x + c::<T>(3.0)) / c::<T>(6.0)), x]);
        within_three(x, [T::zero(), x / c::<T>(3.0) + c::<T>(0.5), T::one()]);
        within_three(x, [T::zero(), c::<T>(1.0 / 3.0), T::zero()])
    }

    HardSigmoid |x| {
        within_three(x, [T::zero(), (x + c::<T>(3.0)) / c::<T>(6.0), T::one()]);
        within_three(x, [T::zero(), c::<T>(1.0 / 6.0), T::zero()]);
        T::zero()
    }
}

/// sqrt(2/pi).
const GELU_SLOPE: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh form of the GELU.
const GELU_CUBE: f64 = 0.044_715;
const RELU6: function::Clamp = function::Clamp(0.0, 6.0);
const LEAKY: function::LeakyRelu = function::LeakyRelu(0.01);
const ELU: function::Elu = function::Elu(1.0);
/// The scale, and what it multiplies.
const SELU: (f64, function::Elu) =
    (1.050_700_987_355_480_5, function::Elu(1.673_263_242_354_377_2));

/// 2 sqrt(2/pi) (x + 0.044715 x^3).
#[inline(always)]
fn gelu_argument<T: Real>(x: T) -> T {
    c::<T>(2.0 * GELU_SLOPE) * (x + c::<T>(GELU_CUBE) * x * x * x)
}

/// The derivative of [`gelu_argument`].
#[inline(always)]
fn gelu_slope<T: Real>(x: T) -> T {
    c::<T>(2.0 * GELU_SLOPE) + c::<T>(6.0 * GELU_SLOPE * GELU_CUBE) * x * x
}

/// First and second derivative of the sigmoid, from exp(-|x|): no difference cancels.
#[inline(always)]
fn sigmoid_slope<T: Real>(x: T) -> [T; 2] {
    let e = (-magnitude(x)).exp();
    let (sum, difference) = (T::one() + e, T::one() - e);
    let first = e / (sum * sum);
    let towards_zero = if x > T::zero() { -first } else { first };
    [first, towards_zero * difference / sum]
}

/// tanh(ln(1 + exp(x))) and its derivatives: rational functions of exp(x) = a / b, where the larger
/// of a and b is 1.
#[inline(always)]
fn mish_gate<T: Real>(x: T) -> [T; 3] {
    let e = (-magnitude(x)).exp();
    let (a, b) = if x > T::zero() { (T::one(), e) } else { (e, T::one()) };
    let above = a * (a + b + b);
    let d = above + c::<T>(2.0) * b * b;
    let first = c::<T>(4.0) * a * b * b * (a + b) / (d * d);
    let bend = c::<T>(2.0) * b * b * (a + b) - a * a * (c::<T>(3.0) * b + a + a);
    [above / d, first, first * bend / ((a + b) * d)]
}

/// The second of three where x is between -3 and 3 or NaN, the others at and beyond.
#[inline(always)]
fn within_three<T: Real>(x: T, [below, within, above]: [T; 3]) -> T {
    if x <= c::<T>(-3.0) {
        below
    } else if x >= c::<T>(3.0) {
        above
    } else {
        within
    }
}
