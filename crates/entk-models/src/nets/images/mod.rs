//! Networks of images.

mod resnet;
mod vgg;
mod wide_resnet;

pub use resnet::{ResNetBlock, ResNetConfig, ResNetStem, StridePadding};
pub use vgg::VggConfig;
pub use wide_resnet::WideResNetConfig;
