//! The paper's architectures as configurations.

mod lenet5;
mod mlp;
mod resnet;

pub use lenet5::LeNet5Config;
pub use mlp::MlpConfig;
pub use resnet::ResNetConfig;
