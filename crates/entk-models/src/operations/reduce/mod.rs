//! Operations over whole axes.

mod global_mean;

pub use global_mean::GlobalMean;
