//! The functions of one number, by name: operations apply them entry by entry, hot loops of the
//! host and kernels of a GPU compute them.

use crate::activation::Activation;

/// Functions of one number. Where one has a corner its derivative there is PyTorch's, and its
/// second derivative 0.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// An activation.
    Activation(Activation),
    /// exp(x).
    Exp,
    /// The natural logarithm.
    Log,
    /// sqrt(x).
    Sqrt,
    /// 1 / sqrt(x).
    ReciprocalSqrt,
    /// 1 / x.
    Reciprocal,
    /// sin(x).
    Sin,
    /// cos(x).
    Cos,
    /// |x|, with derivative 0 at 0.
    Abs,
    /// x to the power of p, a constant.
    Power(f64),
    /// max(x, 0) + slope min(x, 0), with derivative slope at 0.
    LeakyRelu(f64),
    /// max(x, 0) + alpha min(exp(x) - 1, 0), with derivative alpha at 0.
    Elu(f64),
    /// scale x + shift.
    Affine(f64, f64),
    /// min(max(x, low), high) for low <= high, with derivative 0 at both.
    Clamp(f64, f64),
}

impl Function {
    /// c x.
    pub fn scale(c: f64) -> Self {
        Self::Affine(c, 0.0)
    }

    /// x + c.
    pub fn add_constant(c: f64) -> Self {
        Self::Affine(1.0, c)
    }

    /// -x.
    pub fn negate() -> Self {
        Self::Affine(-1.0, 0.0)
    }

    /// The code that kernels know it by, in the order of `kernels/activation.h`, and its
    /// parameters.
    pub(crate) fn code(self) -> (usize, [f64; 2]) {
        let (code, parameters) = match self {
            Self::Activation(activation) => return (Activation::code(Some(activation)), [0.0; 2]),
            Self::Exp => (1, [0.0; 2]),
            Self::Log => (2, [0.0; 2]),
            Self::Sqrt => (3, [0.0; 2]),
            Self::ReciprocalSqrt => (4, [0.0; 2]),
            Self::Reciprocal => (5, [0.0; 2]),
            Self::Sin => (6, [0.0; 2]),
            Self::Cos => (7, [0.0; 2]),
            Self::Abs => (8, [0.0; 2]),
            Self::Power(p) => (9, [p, 0.0]),
            Self::LeakyRelu(slope) => (10, [slope, 0.0]),
            Self::Elu(alpha) => (11, [alpha, 0.0]),
            Self::Affine(scale, shift) => (12, [scale, shift]),
            Self::Clamp(low, high) => (13, [low, high]),
        };
        (Activation::ALL.len() + code, parameters)
    }

    /// One of each, for tests of all; kinks are at multiples of 1/8.
    pub const EXAMPLES: [Self; 13] = [
        Self::Exp,
        Self::Log,
        Self::Sqrt,
        Self::ReciprocalSqrt,
        Self::Reciprocal,
        Self::Sin,
        Self::Cos,
        Self::Abs,
        Self::Power(-1.5),
        Self::LeakyRelu(0.3),
        Self::Elu(1.7),
        Self::Affine(-0.7, 0.4),
        Self::Clamp(-0.5, 0.75),
    ];
}

impl From<Activation> for Function {
    fn from(activation: Activation) -> Self {
        Self::Activation(activation)
    }
}
