//! The element-wise non-linearities, by name: layers hold them, hot loops of the host and kernels
//! of a GPU compute them.

/// Element-wise non-linearities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
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
    /// x times the integral of the standard normal density up to x, PyTorch's default GELU:
    /// x/2 (1 + erf(x / sqrt(2))).
    GeluErf,
    /// min(max(x, 0), 6), with derivative 0 at 0 and 6.
    Relu6,
    /// max(x, 0) + 0.01 min(x, 0), with derivative 0.01 at 0.
    LeakyRelu,
    /// max(x, 0) + min(exp(x) - 1, 0).
    Elu,
    /// 1.0507... (max(x, 0) + 1.6732... min(exp(x) - 1, 0)), constants of Klambauer et al. (2017);
    /// with the derivative of the left side at 0.
    Selu,
    /// x tanh(ln(1 + exp(x))).
    Mish,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// ln(1 + exp(x)), for large x too, where PyTorch gives x.
    Softplus,
    /// x min(max(x + 3, 0), 6) / 6, with derivative 0 at -3 and 1 at 3.
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6, with derivative 0 at -3 and 3.
    HardSigmoid,
}

impl Activation {
    /// All activations.
    pub const ALL: [Self; 15] = [
        Self::Relu,
        Self::Gelu,
        Self::Silu,
        Self::Tanh,
        Self::Square,
        Self::GeluErf,
        Self::Relu6,
        Self::LeakyRelu,
        Self::Elu,
        Self::Selu,
        Self::Mish,
        Self::Sigmoid,
        Self::Softplus,
        Self::HardSwish,
        Self::HardSigmoid,
    ];

    /// The code that kernels know it by; 0 is the identity.
    pub(crate) fn code(activation: Option<Self>) -> usize {
        activation.map_or(0, |activation| activation as usize + 1)
    }
}
