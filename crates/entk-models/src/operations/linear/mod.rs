//! Operations that are linear in what they multiply.

mod affine;
mod convolve;
mod mat_mul;

pub use affine::Affine;
pub use convolve::Convolve;
pub use mat_mul::MatMul;
