//! The element-wise non-linearities, by name: layers hold them, hot loops of the host and kernels
//! of a GPU compute them.

/// Element-wise non-linearities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

impl Activation {
    /// All activations.
    pub const ALL: [Self; 5] = [Self::Relu, Self::Gelu, Self::Silu, Self::Tanh, Self::Square];

    /// The code that kernels know it by; 0 is the identity.
    pub(crate) fn code(activation: Option<Self>) -> usize {
        activation.map_or(0, |activation| activation as usize + 1)
    }
}
