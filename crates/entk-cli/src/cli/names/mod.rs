//! Networks and the forms of arrays by name: as flags take them, as records keep them
//! and as figures print them. Used by the flags and by experiments.

pub(crate) mod data;

use std::fmt;

use clap::ValueEnum;
use entk::models::{Activation, StridePadding};
use serde::Serialize;

/// The networks of the paper, and published ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Fully connected, two hidden layers of 100
    Mlp,
    /// Two convolutions and three dense layers
    #[value(name = "lenet5", alias = "lenet")]
    #[serde(rename = "lenet5")]
    LeNet5,
    /// The paper's residual network of 18 layers, for small images
    #[value(name = "resnet18")]
    #[serde(rename = "resnet18")]
    ResNet18,
    /// The paper's form with 34 layers
    #[value(name = "resnet34")]
    #[serde(rename = "resnet34")]
    ResNet34,
    /// torchvision's resnet18: 7x7 stem and max pooling
    #[value(name = "resnet18-torchvision")]
    #[serde(rename = "resnet18-torchvision")]
    TorchResNet18,
    /// torchvision's resnet34
    #[value(name = "resnet34-torchvision")]
    #[serde(rename = "resnet34-torchvision")]
    TorchResNet34,
    /// torchvision's resnet50, with bottlenecks
    #[value(name = "resnet50-torchvision")]
    #[serde(rename = "resnet50-torchvision")]
    TorchResNet50,
    /// Wide residual network for small images
    WideResnet,
    /// torchvision's vgg11 or deeper, as `VggConfig` defaults
    Vgg,
    /// torchvision's mobilenet_v2
    #[value(name = "mobilenet-v2")]
    #[serde(rename = "mobilenet-v2")]
    MobileNetV2,
    /// torchvision's convnext_tiny
    ConvnextTiny,
    /// timm's vit_tiny_patch16
    VitTiny,
    /// timm's deit_tiny_distilled_patch16
    DeitTiny,
    /// GPT-2 small with a head of labels; inputs are tokens
    #[value(name = "gpt2")]
    #[serde(rename = "gpt2")]
    Gpt2,
    /// BERT base; inputs are tokens
    Bert,
    /// A Llama-like decoder with a head of labels; inputs are tokens
    Llama,
}

/// Activations by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationName {
    /// max(x, 0)
    Relu,
    /// GELU in its tanh form, as flax has it by default; which form is noted
    Gelu,
    /// GELU in its tanh form
    #[value(name = "gelu-tanh")]
    #[serde(rename = "gelu-tanh")]
    GeluTanh,
    /// GELU by the error function, as PyTorch has it by default
    #[value(name = "gelu-erf")]
    #[serde(rename = "gelu-erf")]
    GeluErf,
    /// x sigmoid(x)
    Silu,
    /// Hyperbolic tangent
    Tanh,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Relu => Self::Relu,
            ActivationName::Gelu | ActivationName::GeluTanh => Self::Gelu,
            ActivationName::GeluErf => Self::GeluErf,
            ActivationName::Silu => Self::Silu,
            ActivationName::Tanh => Self::Tanh,
        }
    }
}

/// Where 3x3 convolutions of stride 2 pad, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingName {
    /// No zeros before and one after, as SAME of flax and TensorFlow
    Same,
    /// One on both sides, as padding=1 of PyTorch
    Symmetric,
}

impl From<PaddingName> for StridePadding {
    fn from(name: PaddingName) -> Self {
        match name {
            PaddingName::Same => Self::Same,
            PaddingName::Symmetric => Self::Symmetric,
        }
    }
}

/// Element types by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DTypeName {
    /// 32-bit floating point
    F32,
    /// 64-bit floating point
    F64,
}

impl From<DTypeName> for candle_core::DType {
    fn from(name: DTypeName) -> Self {
        match name {
            DTypeName::F32 => Self::F32,
            DTypeName::F64 => Self::F64,
        }
    }
}

/// Axis orders by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayoutName {
    /// Images, channels, rows, columns (PyTorch)
    Nchw,
    /// Images, rows, columns, channels (JAX, TensorFlow)
    Nhwc,
}

/// Writes the name that the flag takes.
pub(super) fn write_name(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value.to_possible_value() {
        Some(name) => f.pad(name.get_name()),
        None => Ok(()),
    }
}

impl ModelName {
    /// The name as a figure prints it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mlp => "MLP",
            Self::LeNet5 => "LeNet5",
            Self::ResNet18 => "ResNet18",
            Self::ResNet34 => "ResNet34",
            Self::TorchResNet18 => "ResNet18 (torchvision)",
            Self::TorchResNet34 => "ResNet34 (torchvision)",
            Self::TorchResNet50 => "ResNet50 (torchvision)",
            Self::WideResnet => "WideResNet",
            Self::Vgg => "VGG",
            Self::MobileNetV2 => "MobileNetV2",
            Self::ConvnextTiny => "ConvNeXt-T",
            Self::VitTiny => "ViT-Ti",
            Self::DeitTiny => "DeiT-Ti",
            Self::Gpt2 => "GPT-2",
            Self::Bert => "BERT",
            Self::Llama => "Llama",
        }
    }

    /// Whether inputs are token ids (N, T) in place of images (N, C, H, W).
    pub fn reads_tokens(self) -> bool {
        matches!(self, Self::Gpt2 | Self::Bert | Self::Llama)
    }

    /// Whether the network has batch norms.
    pub fn has_batch_norms(self) -> bool {
        use ModelName::{
            MobileNetV2, ResNet18, ResNet34, TorchResNet18, TorchResNet34, TorchResNet50,
            WideResnet,
        };
        matches!(
            self,
            ResNet18
                | ResNet34
                | TorchResNet18
                | TorchResNet34
                | TorchResNet50
                | WideResnet
                | MobileNetV2
        )
    }

    /// Where 3x3 convolutions of stride 2 put their zeros, which no shape of a weight shows.
    pub fn stride_padding(self) -> Option<PaddingName> {
        match self {
            Self::ResNet18 | Self::ResNet34 => Some(PaddingName::Same),
            Self::TorchResNet18 | Self::TorchResNet34 | Self::TorchResNet50 | Self::MobileNetV2 => {
                Some(PaddingName::Symmetric)
            }
            _ => None,
        }
    }
}

impl fmt::Display for PaddingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}
