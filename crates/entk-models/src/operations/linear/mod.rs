//! Operations that are linear in what they multiply.

mod affine;
mod convolve;

pub use affine::Affine;
pub use convolve::Convolve;
