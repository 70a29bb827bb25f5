//! Published architectures as configurations, with the names of PyTorch's implementations.

mod images;
mod lenet5;
mod mlp;

pub use images::{
    ResNetBlock, ResNetConfig, ResNetStem, StridePadding, VggConfig, WideResNetConfig,
};
pub use lenet5::LeNet5Config;
pub use mlp::MlpConfig;
