//! Softmax and attention.

mod attend;
mod softmax;

pub use attend::Attend;
pub use softmax::Softmax;
