//! [`load`]: from the name of a data set to its [`Split`], out of a folder, the folder of the
//! environment or the crate itself.
//!
//! Programs start here; `source` knows the files of each data set.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    dataset::Split,
    error::{DataError, Result},
    sets::{embedded::embedded, source::DataSource},
};

/// Environment variable that names the folder of data sets.
pub const DATA_VARIABLE: &str = "ENTK_DATA";

/// Where loaded data came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The folder that the files were read from.
    Path(PathBuf),
    /// The slice inside the crate.
    Embedded,
}

/// A data set and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Training and test part; pixels / 255, not standardised.
    pub split: Split,
    /// Where they came from.
    pub origin: Origin,
}

/// Loads a data set: from `folder` if given; else from the folder in the environment variable
/// `ENTK_DATA` if it holds the files; else, for Fashion-MNIST, the embedded slice.
///
/// A folder may hold the files themselves or one of the usual subfolders, which are tried first:
///
/// | data set | files | subfolders |
/// |---|---|---|
/// | `fashion-mnist` | the four IDX files | `fashion-mnist`, `FashionMNIST/raw` |
/// | `mnist` | the four IDX files | `mnist`, `MNIST/raw` |
/// | `cifar10` | five training files, one test file | `cifar10`, `cifar-10-batches-bin` |
/// | `cifar100`, `cifar100-coarse` | `train.bin`, `test.bin` | `cifar100`, `cifar-100-binary` |
/// | `emnist-balanced` and so on | the four IDX files | `emnist`, `EMNIST/raw`, `gzip` |
/// | `svhn` | `train_32x32.mat`, `test_32x32.mat` | `svhn`, `SVHN` |
///
/// IDX files may be compressed (`.gz`). Those of CIFAR-10 are `data_batch_1.bin` to
/// `data_batch_5.bin` and `test_batch.bin`; `cifar10/cifar-10-batches-bin` and
/// `cifar100/cifar-100-binary` are looked into as well. The files of MNIST and Fashion-MNIST have
/// the same names: keep them in subfolders.
///
/// # Errors
/// [`DataError::NotAFolder`] if `folder` or `ENTK_DATA` is not one; [`DataError::NotFound`], with
/// the folders looked in, if `folder` holds no file of the data set, or if none is given and there
/// is no other place; [`DataError::Incomplete`] if only some files are there;
/// [`DataError::OtherDataset`] if the labels are those of another published data set; otherwise the
/// errors of [`idx::read_split`](crate::idx::read_split),
/// [`cifar::read_split`](crate::cifar::read_split),
/// [`emnist::read_split`](crate::emnist::read_split)
/// and [`svhn::read_split`](crate::svhn::read_split).
///
/// ```
/// use entk_data::{DataSource, load};
///
/// let source: DataSource = "fashion-mnist".parse()?;
/// let loaded = load(source, None)?;
/// let (split, _) = loaded.split.standardized()?;
/// assert_eq!(split.train.images().image_shape(), (1, 28, 28));
/// # Ok::<(), entk_data::DataError>(())
/// ```
pub fn load(source: DataSource, folder: Option<&Path>) -> Result<Loaded> {
    load_from(source, folder, std::env::var_os(DATA_VARIABLE).map(PathBuf::from).as_deref())
}

/// [`load`] with the value of the environment variable as an argument.
fn load_from(source: DataSource, folder: Option<&Path>, variable: Option<&Path>) -> Result<Loaded> {
    let given = match (folder, variable) {
        (Some(folder), _) => Some((folder, "the data folder given")),
        (None, Some(variable)) if !variable.as_os_str().is_empty() => {
            Some((variable, "environment variable ENTK_DATA"))
        }
        _ => None,
    };
    let looked = match given {
        None => Vec::new(),
        Some((path, given_by)) if !path.is_dir() => {
            return Err(DataError::NotAFolder {
                given_by,
                path: path.to_owned(),
                dataset: source.name(),
            });
        }
        Some((path, _)) => source.folders(path),
    };
    if let Some(found) = looked.iter().find(|folder| source.is_in(folder)) {
        return Ok(Loaded { split: source.read(found)?, origin: Origin::Path(found.clone()) });
    }
    if source == DataSource::FashionMnist && folder.is_none() {
        return Ok(Loaded { split: embedded()?, origin: Origin::Embedded });
    }
    Err(DataError::NotFound {
        dataset: source.name(),
        files: source.files().join(", "),
        looked,
        advice: source.advice(),
    })
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Embedded => formatter.pad("embedded slice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sets::idx;

    /// Writes a data set of one training and one test image of `side` x `side` pixels.
    fn write_idx(folder: &Path, side: u8) {
        fs::create_dir_all(folder).expect("folder");
        for file in idx::FILES {
            let bytes = if file.contains("images") {
                let header = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, side, 0, 0, 0, side];
                [header.as_slice(), &vec![9; usize::from(side).pow(2)]].concat()
            } else {
                vec![0, 0, 8, 1, 0, 0, 0, 1, 3]
            };
            fs::write(folder.join(file), bytes).expect("written");
        }
    }

    #[test]
    fn the_lookup_order_is_path_variable_embedded() {
        let root = tempfile::tempdir().expect("temporary folder");
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        write_idx(&first, 4);
        write_idx(&second.join("fashion-mnist"), 5);
        let side = |folder, variable| {
            load_from(DataSource::FashionMnist, folder, variable)
                .expect("loaded")
                .split
                .test
                .images()
                .height()
        };
        assert_eq!(side(Some(first.as_path()), Some(second.as_path())), 4);
        assert_eq!(side(None, Some(second.as_path())), 5);
        assert_eq!(side(None, None), 28);
        assert_eq!(side(None, Some(Path::new(""))), 28);
    }

    #[test]
    fn a_subfolder_goes_before_the_folder_itself() {
        let root = tempfile::tempdir().expect("temporary folder");
        write_idx(root.path(), 3);
        write_idx(&root.path().join("MNIST/raw"), 6);
        let loaded = |source| load_from(source, None, Some(root.path())).expect("loaded");
        let mnist = loaded(DataSource::Mnist);
        assert_eq!(mnist.split.train.images().width(), 6);
        assert_eq!(mnist.origin, Origin::Path(root.path().join("MNIST/raw")));
        assert_eq!(loaded(DataSource::FashionMnist).split.train.images().width(), 3);
    }

    #[test]
    fn a_variable_without_this_data_set_leaves_the_embedded_slice() {
        let root = tempfile::tempdir().expect("temporary folder");
        let loaded = load_from(DataSource::FashionMnist, None, Some(root.path())).expect("loaded");
        assert_eq!(loaded.origin, Origin::Embedded);
        let error = load_from(DataSource::FashionMnist, Some(root.path()), None)
            .expect_err("nothing there");
        assert!(matches!(error, DataError::NotFound { .. }), "{error}");
    }

    #[test]
    fn nothing_found_says_where_it_looked_and_what_to_do() {
        let root = tempfile::tempdir().expect("temporary folder");
        let message = load_from(DataSource::Cifar10, None, Some(root.path()))
            .expect_err("nothing there")
            .to_string();
        for part in [
            "cifar10",
            "data_batch_1.bin, data_batch_2.bin",
            "test_batch.bin",
            "cifar-10-batches-bin",
            "ENTK_DATA",
            "cifar-10-binary.tar.gz",
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        let message =
            load_from(DataSource::Mnist, None, None).expect_err("nothing set").to_string();
        assert!(message.contains("ENTK_DATA not set"), "{message}");
    }

    #[test]
    fn a_wrong_folder_is_named_with_who_gave_it() {
        let missing = Path::new("no such folder");
        let message = load_from(DataSource::FashionMnist, None, Some(missing))
            .expect_err("no folder")
            .to_string();
        assert!(message.contains("ENTK_DATA") && message.contains("no such folder"), "{message}");
        let error = load_from(DataSource::Mnist, Some(missing), None).expect_err("no folder");
        assert!(matches!(error, DataError::NotAFolder { .. }), "{error}");
    }
}
