//! Published architectures as configurations, with the names of PyTorch's implementations.

mod images;
mod lenet5;
mod lora;
mod mlp;
mod tokens;

pub use images::{
    ConvNextConfig, InvertedStage, MobileNetV2Config, ResNetBlock, ResNetConfig, ResNetStem,
    StridePadding, UNetConfig, UNetOutput, VggConfig, VitConfig, WideResNetConfig,
};
pub use lenet5::LeNet5Config;
pub use lora::Lora;
pub use mlp::MlpConfig;
pub use tokens::{BertConfig, Gpt2Config, LanguageHead, LlamaConfig, LstmConfig};
