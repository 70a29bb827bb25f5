//! Softmax and attention.

mod attend;
mod rotate;
mod softmax;

pub use attend::Attend;
pub use rotate::Rotate;
pub use softmax::Softmax;
