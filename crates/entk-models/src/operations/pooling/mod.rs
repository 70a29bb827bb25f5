//! Pooling over windows, and upsampling.

mod avg_pool;
mod max_pool;
mod upsample;
pub(crate) mod windows;

pub use avg_pool::{AvgPool, AvgPool1d, AvgPool2d};
pub use max_pool::{MaxPool, MaxPool1d, MaxPool2d};
pub use upsample::{Interpolation, Upsample, Upsample1d, Upsample2d};
pub use windows::{PerAxis, PoolWindows};
