//! Operations that move numbers and compute none.

mod flatten;

pub use flatten::Flatten;
