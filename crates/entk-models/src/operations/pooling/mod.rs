//! Operations on windows of an image.

mod avg_pool;

pub use avg_pool::AvgPool2d;
