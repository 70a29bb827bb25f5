//! Operations that are linear in what they multiply.

pub(super) mod affine;
mod affine_transposed;
mod convolve;
mod mat_mul;

pub use affine::Affine;
pub use affine_transposed::AffineTransposed;
pub use convolve::Convolve;
pub use mat_mul::MatMul;
