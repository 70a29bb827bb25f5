//! [`DataSource`]: the published data sets, with their names, folders, files, readers and advice.
//!
//! A name or a folder comes in, a [`Split`] goes out; called by `load` and by programs.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    dataset::Split,
    error::{DataError, Result},
    sets::{
        cifar::{self, CIFAR10, Cifar100Labels},
        emnist::{self, EmnistSplit},
        idx, published, svhn,
    },
};

/// The data sets that [`load`](crate::load) knows, by name, such as `fashion-mnist`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DataSource {
    /// `fashion-mnist`: 60,000 + 10,000 images, (1, 28, 28); a slice is embedded.
    #[default]
    FashionMnist,
    /// `mnist`: 60,000 + 10,000 images, (1, 28, 28).
    Mnist,
    /// `cifar10`: 50,000 + 10,000 images, (3, 32, 32).
    Cifar10,
    /// `cifar100` and `cifar100-coarse`: 50,000 + 10,000 images, (3, 32, 32), of 100 or 20 classes.
    Cifar100(Cifar100Labels),
    /// `emnist-balanced` and the other splits: images (1, 28, 28), upright.
    Emnist(EmnistSplit),
    /// `svhn`: 73,257 + 26,032 images, (3, 32, 32).
    Svhn,
}

impl DataSource {
    /// Every data set.
    pub const ALL: [Self; 12] = [
        Self::FashionMnist,
        Self::Mnist,
        Self::Cifar10,
        Self::Cifar100(Cifar100Labels::Fine),
        Self::Cifar100(Cifar100Labels::Coarse),
        Self::Emnist(EmnistSplit::Balanced),
        Self::Emnist(EmnistSplit::ByClass),
        Self::Emnist(EmnistSplit::ByMerge),
        Self::Emnist(EmnistSplit::Digits),
        Self::Emnist(EmnistSplit::Letters),
        Self::Emnist(EmnistSplit::Mnist),
        Self::Svhn,
    ];

    /// The name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100(Cifar100Labels::Fine) => "cifar100",
            Self::Cifar100(Cifar100Labels::Coarse) => "cifar100-coarse",
            Self::Emnist(split) => split.name(),
            Self::Svhn => "svhn",
        }
    }

    /// Folders that may hold the files, the most specific first.
    pub(super) fn folders(self, root: &Path) -> Vec<PathBuf> {
        let subfolders: &[&str] = match self {
            Self::FashionMnist => &["fashion-mnist", "FashionMNIST/raw", ""],
            Self::Mnist => &["mnist", "MNIST/raw", ""],
            Self::Cifar10 => {
                &["cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", ""]
            }
            Self::Cifar100(_) => &["cifar100", "cifar100/cifar-100-binary", "cifar-100-binary", ""],
            Self::Emnist(_) => &["emnist", "emnist/gzip", "EMNIST/raw", "gzip", ""],
            Self::Svhn => &["svhn", "SVHN", ""],
        };
        let join = |subfolder: &&str| {
            if subfolder.is_empty() { root.to_owned() } else { root.join(subfolder) }
        };
        subfolders.iter().map(join).collect()
    }

    /// The names of all files.
    pub(super) fn files(self) -> Vec<&'static str> {
        match self {
            Self::FashionMnist | Self::Mnist => idx::FILES.to_vec(),
            Self::Cifar10 => CIFAR10.files().collect(),
            Self::Cifar100(labels) => labels.version().files().collect(),
            Self::Emnist(split) => split.files().to_vec(),
            Self::Svhn => svhn::FILES.to_vec(),
        }
    }

    /// Whether a folder holds at least one file of the data set. Missing files are then an error,
    /// not a reason to look in other folders.
    pub(super) fn is_in(self, folder: &Path) -> bool {
        self.files().iter().any(|file| idx::find(folder, file).is_some())
    }

    pub(super) fn read(self, folder: &Path) -> Result<Split> {
        match self {
            Self::FashionMnist | Self::Mnist => {
                let split = idx::read_split(folder, self.name())?;
                self.ensure_not_another(folder, &split)?;
                Ok(split)
            }
            Self::Cifar10 => cifar::read_split(folder),
            Self::Cifar100(labels) => cifar::read_split_100(folder, labels),
            Self::Emnist(split) => emnist::read_split(folder, split),
            Self::Svhn => svhn::read_split(folder),
        }
    }

    /// Refuses the labels of another published data set, whose files have these names too.
    fn ensure_not_another(self, folder: &Path, split: &Split) -> Result<()> {
        let found = [&split.train, &split.test].map(|part| published::name_of(part.labels()));
        match found.into_iter().flatten().find(|found| *found != self.name()) {
            None => Ok(()),
            Some(found) => Err(DataError::OtherDataset {
                asked: self.name(),
                found,
                folder: folder.to_owned(),
            }),
        }
    }

    /// How to get the files and where to put them.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::FashionMnist => {
                "Fetch the four IDX files (Debian package dataset-fashion-mnist, or github.com/zalandoresearch/fashion-mnist) \
                 and give their folder, or give none to use the embedded slice"
            }
            Self::Mnist => {
                "Fetch the four IDX files of MNIST (github.com/cvdfoundation/mnist) and give their folder, or set ENTK_DATA to a \
                 folder with subfolder mnist"
            }
            Self::Cifar10 => {
                "Fetch cifar-10-binary.tar.gz (www.cs.toronto.edu/~kriz/cifar.html), unpack it and give its folder, or set \
                 ENTK_DATA to a folder with subfolder cifar10"
            }
            Self::Cifar100(_) => {
                "Fetch cifar-100-binary.tar.gz (www.cs.toronto.edu/~kriz/cifar.html), unpack it and give its folder, or \
                 set ENTK_DATA to a folder with subfolder cifar100"
            }
            Self::Emnist(_) => {
                "Fetch gzip.zip of EMNIST (www.nist.gov/itl/products-and-services/emnist-dataset), unpack it and give its \
                 folder, or set ENTK_DATA to a folder with subfolder emnist"
            }
            Self::Svhn => {
                "Fetch train_32x32.mat and test_32x32.mat (ufldl.stanford.edu/housenumbers) and give their folder, or \
                 set ENTK_DATA to a folder with subfolder svhn"
            }
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for DataSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|source| source.name() == name);
        found.ok_or_else(|| DataError::UnknownSource {
            found: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for source in DataSource::ALL {
            assert_eq!(source.to_string().parse::<DataSource>().expect("known"), source);
        }
        assert!(matches!("imagenet".parse::<DataSource>(), Err(DataError::UnknownSource { .. })));
    }
}
