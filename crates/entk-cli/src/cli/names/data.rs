//! Data sets by name: a flag comes in, the reader of the data set goes out, and its name as records
//! keep it and figures print it. Used by the flags and by experiments.

use std::fmt;

use clap::ValueEnum;
use entk::data::{Cifar100Labels, DataSource, EmnistSplit};
use serde::Serialize;

use crate::cli::names::write_name;

/// The data sets of the paper, the one that is embedded, and others of their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
pub enum DataName {
    /// 28x28 grayscale clothing; a slice is embedded and needs no download
    #[value(name = "fashion-mnist")]
    #[serde(rename = "fashion-mnist")]
    FashionMnist,
    /// 28x28 grayscale digits
    #[value(name = "mnist")]
    #[serde(rename = "mnist")]
    Mnist,
    /// 32x32 colour photographs
    #[value(name = "cifar10")]
    #[serde(rename = "cifar10")]
    Cifar10,
    /// 32x32 colour photographs of 100 classes
    #[value(name = "cifar100")]
    #[serde(rename = "cifar100")]
    Cifar100,
    /// 32x32 colour photographs of 20 groups of the classes of CIFAR-100
    #[value(name = "cifar100-coarse")]
    #[serde(rename = "cifar100-coarse")]
    Cifar100Coarse,
    /// 28x28 grayscale digits and letters, 47 classes of one size
    #[value(name = "emnist-balanced")]
    #[serde(rename = "emnist-balanced")]
    EmnistBalanced,
    /// Digits, capital and small letters, 62 classes
    #[value(name = "emnist-byclass")]
    #[serde(rename = "emnist-byclass")]
    EmnistByClass,
    /// Digits, capital and small letters, alike ones merged into 47 classes
    #[value(name = "emnist-bymerge")]
    #[serde(rename = "emnist-bymerge")]
    EmnistByMerge,
    /// Digits
    #[value(name = "emnist-digits")]
    #[serde(rename = "emnist-digits")]
    EmnistDigits,
    /// 26 letters, capital or small
    #[value(name = "emnist-letters")]
    #[serde(rename = "emnist-letters")]
    EmnistLetters,
    /// As many digits as MNIST has
    #[value(name = "emnist-mnist")]
    #[serde(rename = "emnist-mnist")]
    EmnistMnist,
    /// 32x32 colour photographs of house numbers
    #[value(name = "svhn")]
    #[serde(rename = "svhn")]
    Svhn,
}

impl DataName {
    /// The reader of this data set.
    pub fn source(self) -> DataSource {
        match self {
            Self::FashionMnist => DataSource::FashionMnist,
            Self::Mnist => DataSource::Mnist,
            Self::Cifar10 => DataSource::Cifar10,
            Self::Cifar100 => DataSource::Cifar100(Cifar100Labels::Fine),
            Self::Cifar100Coarse => DataSource::Cifar100(Cifar100Labels::Coarse),
            Self::EmnistBalanced => DataSource::Emnist(EmnistSplit::Balanced),
            Self::EmnistByClass => DataSource::Emnist(EmnistSplit::ByClass),
            Self::EmnistByMerge => DataSource::Emnist(EmnistSplit::ByMerge),
            Self::EmnistDigits => DataSource::Emnist(EmnistSplit::Digits),
            Self::EmnistLetters => DataSource::Emnist(EmnistSplit::Letters),
            Self::EmnistMnist => DataSource::Emnist(EmnistSplit::Mnist),
            Self::Svhn => DataSource::Svhn,
        }
    }

    /// The name as a figure prints it.
    pub fn title(self) -> &'static str {
        match self {
            Self::FashionMnist => "Fashion-MNIST",
            Self::Mnist => "MNIST",
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::Cifar100Coarse => "CIFAR-100 (coarse)",
            Self::EmnistBalanced => "EMNIST balanced",
            Self::EmnistByClass => "EMNIST by class",
            Self::EmnistByMerge => "EMNIST by merge",
            Self::EmnistDigits => "EMNIST digits",
            Self::EmnistLetters => "EMNIST letters",
            Self::EmnistMnist => "EMNIST MNIST",
            Self::Svhn => "SVHN",
        }
    }

    /// The paper's name of the task of telling the first half of the classes from the others, if it
    /// has one.
    pub fn class_task(self) -> &'static str {
        if self == Self::Cifar10 { "CIFAR2" } else { "class task" }
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_set_of_the_library_has_its_name_here() {
        let found: Vec<DataSource> =
            DataName::value_variants().iter().map(|name| name.source()).collect();
        assert_eq!(found, DataSource::ALL);
        for name in DataName::value_variants() {
            assert_eq!(name.to_string(), name.source().name());
        }
    }
}
