//! The layers: one file each.

mod activation;
mod avg_pool;
mod conv2d;
mod dense;
mod flatten;
mod sequential;

pub use avg_pool::AvgPool2d;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use flatten::Flatten;
pub use sequential::Sequential;
