//! Operations over whole axes.

pub(crate) mod axes;
mod global_mean;
mod max;
pub(crate) mod sum;
mod variance;

pub use global_mean::GlobalMean;
pub use max::Max;
pub use sum::{Mean, Sum};
pub use variance::Variance;
