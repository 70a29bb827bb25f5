//! The networks and data sets of the paper by name: as flags take them, as records keep them and as
//! figures print them. Used by the flags and by experiments.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// The networks of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Fully connected, two hidden layers of 100
    Mlp,
    /// Two convolutions and three dense layers
    #[value(name = "lenet5", alias = "lenet")]
    LeNet5,
    /// Residual network of 18 layers
    #[value(name = "resnet18")]
    ResNet18,
}

/// The data sets of the paper, and the one that is embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataName {
    /// 28x28 grayscale clothing; a slice is embedded and needs no download
    FashionMnist,
    /// 28x28 grayscale digits
    Mnist,
    /// 32x32 colour photographs
    #[value(name = "cifar10")]
    #[serde(rename = "cifar10")]
    Cifar10,
}

/// Writes the name that the flag takes.
fn write_name(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        }
    }
}

impl DataName {
    /// The name as a figure prints it.
    pub fn title(self) -> &'static str {
        match self {
            Self::FashionMnist => "Fashion-MNIST",
            Self::Mnist => "MNIST",
            Self::Cifar10 => "CIFAR-10",
        }
    }

    /// The paper's name of the task of telling the first five classes from the others, if it has
    /// one.
    pub fn class_task(self) -> &'static str {
        if self == Self::Cifar10 { "CIFAR2" } else { "class task" }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}
