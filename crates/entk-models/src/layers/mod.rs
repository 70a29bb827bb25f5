//! The layers: one file each.

mod activation;
mod avg_pool;
mod batch_norm;
mod conv2d;
mod dense;
mod flatten;
mod global_mean;
mod residual;
mod sequential;

pub use avg_pool::AvgPool2d;
pub use batch_norm::BatchNorm2d;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use flatten::Flatten;
pub use global_mean::GlobalMean;
pub use residual::Residual;
pub use sequential::Sequential;
