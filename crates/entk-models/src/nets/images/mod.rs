//! Networks of images.

mod convnext;
mod mobilenet_v2;
mod resnet;
mod unet;
mod vgg;
mod vit;
mod wide_resnet;

pub use convnext::ConvNextConfig;
pub use mobilenet_v2::{InvertedStage, MobileNetV2Config};
pub use resnet::{ResNetBlock, ResNetConfig, ResNetStem, StridePadding};
pub use unet::{UNetConfig, UNetOutput};
pub use vgg::VggConfig;
pub use vit::VitConfig;
pub use wide_resnet::WideResNetConfig;
