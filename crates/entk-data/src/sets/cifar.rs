//! The binary versions of CIFAR-10 and CIFAR-100.
//!
//! A record is its label bytes and 3,072 pixel bytes: the red, the green and the blue plane, each
//! 32 rows of 32 pixels; that is (C, H, W) in row-major order. CIFAR-10 has one label byte (0 to 9)
//! and six files of 10,000 records; CIFAR-100 has two, the coarse label (0 to 19) and the fine one
//! (0 to 99), and a file of 50,000 and one of 10,000 records. The files have no header, so the
//! published length is the only protection against one that was cut off.

use std::{io::Read, path::Path};

use entk_device::files;

use crate::{
    dataset::{Dataset, Split, check_labels},
    error::{DataError, Result},
    images::Images,
};

/// Records in each published file of CIFAR-10.
pub const RECORDS_PER_FILE: usize = 10_000;

const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PIXELS: usize = CHANNELS * SIDE * SIDE;

/// Which labels of CIFAR-100: 100 classes, or their 20 superclasses of five each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cifar100Labels {
    /// The 100 classes.
    #[default]
    Fine,
    /// The 20 superclasses.
    Coarse,
}

/// The files of a data set, each with its number of records, and their layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    name: &'static str,
    classes: usize,
    /// Label bytes of a record, and which of them is the label; all are checked.
    labels: &'static [usize],
    label: usize,
    train: &'static [(&'static str, usize)],
    test: (&'static str, usize),
}

pub(super) const CIFAR10: Version = Version {
    name: "cifar10",
    classes: 10,
    labels: &[10],
    label: 0,
    train: &[
        ("data_batch_1.bin", RECORDS_PER_FILE),
        ("data_batch_2.bin", RECORDS_PER_FILE),
        ("data_batch_3.bin", RECORDS_PER_FILE),
        ("data_batch_4.bin", RECORDS_PER_FILE),
        ("data_batch_5.bin", RECORDS_PER_FILE),
    ],
    test: ("test_batch.bin", RECORDS_PER_FILE),
};

impl Cifar100Labels {
    pub(super) const fn version(self) -> Version {
        let (name, label, classes) = match self {
            Self::Fine => ("cifar100", 1, 100),
            Self::Coarse => ("cifar100-coarse", 0, 20),
        };
        let (train, test) = (&[("train.bin", 50_000)], ("test.bin", 10_000));
        Version { name, classes, labels: &[20, 100], label, train, test }
    }
}

/// The 50,000 training and 10,000 test images of the folder with the six published files of
/// CIFAR-10, pixels / 255, in file order.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing; [`DataError::Truncated`] or
/// [`DataError::Oversized`] if one does not hold exactly 10,000 records; otherwise as
/// [`parse_batch`].
pub fn read_split(folder: impl AsRef<Path>) -> Result<Split> {
    CIFAR10.read_split(folder.as_ref())
}

/// The 50,000 training and 10,000 test images of the folder with `train.bin` and `test.bin` of
/// CIFAR-100, pixels / 255, in file order.
///
/// # Errors
/// As [`read_split`].
pub fn read_split_100(folder: impl AsRef<Path>, labels: Cifar100Labels) -> Result<Split> {
    labels.version().read_split(folder.as_ref())
}

/// One file in the CIFAR-10 record format, with at most 10,000 records.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`DataError::Oversized`] if it is longer, otherwise as
/// [`parse_batch`].
pub fn read_batch(path: impl AsRef<Path>) -> Result<Dataset> {
    let path = path.as_ref();
    parse_batch(&CIFAR10.read_records(path, RECORDS_PER_FILE)?, &path.display().to_string())
}

/// Images (N, 3, 32, 32), pixels / 255, and labels of the bytes of a CIFAR-10 file; `file` names
/// them in errors.
///
/// # Errors
/// [`DataError::Empty`] without a byte, [`DataError::Records`] if the length is not a multiple of
/// 3,073, [`DataError::Label`] at the first label above 9.
///
/// ```
/// let mut record = vec![255; 3073];
/// record[0] = 6;
/// let batch = entk_data::cifar::parse_batch(&record, "one white frog")?;
/// assert_eq!(batch.labels(), [6]);
/// assert_eq!(batch.images().image_shape(), (3, 32, 32));
/// # Ok::<(), entk_data::DataError>(())
/// ```
pub fn parse_batch(bytes: &[u8], file: &str) -> Result<Dataset> {
    CIFAR10.parse(bytes, file)
}

/// Images (N, 3, 32, 32), pixels / 255, and labels of the bytes of a CIFAR-100 file; `file` names
/// them in errors.
///
/// # Errors
/// [`DataError::Empty`] without a byte, [`DataError::Records`] if the length is not a multiple of
/// 3,074, [`DataError::Label`] at the first coarse label above 19 or fine label above 99.
pub fn parse_batch_100(bytes: &[u8], file: &str, labels: Cifar100Labels) -> Result<Dataset> {
    labels.version().parse(bytes, file)
}

impl Version {
    /// The names of all files, the first training file first.
    pub(super) fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().chain([&self.test]).map(|(file, _)| *file)
    }

    fn record(&self) -> usize {
        self.labels.len() + PIXELS
    }

    pub(super) fn read_split(&self, folder: &Path) -> Result<Split> {
        let missing: Vec<String> =
            self.files().filter(|file| !folder.join(file).is_file()).map(str::to_owned).collect();
        if !missing.is_empty() {
            return Err(DataError::Incomplete { folder: folder.to_owned(), missing });
        }
        let read = |files: &[(&str, usize)], part: &str| {
            self.read_files(folder, files)?.into_dataset(&format!("{} {part}", self.name), self)
        };
        Ok(Split { train: read(self.train, "train")?, test: read(&[self.test], "test")? })
    }

    /// The records of several files, each of exactly its number of them.
    fn read_files(&self, folder: &Path, files: &[(&str, usize)]) -> Result<Records> {
        let mut all = Records::default();
        for (name, records) in files {
            let path = folder.join(name);
            let file = path.display().to_string();
            let bytes = self.read_records(&path, *records)?;
            let (expected, found) = ((self.record() * records) as u64, bytes.len() as u64);
            if found < expected {
                return Err(DataError::Truncated { file, what: "records", expected, found });
            }
            all.push(&bytes, &file, self)?;
        }
        Ok(all)
    }

    /// The content of a file of at most `most_records` records.
    fn read_records(&self, path: &Path, most_records: usize) -> Result<Vec<u8>> {
        let expected = (self.record() * most_records) as u64;
        let mut file = files::open(path).map_err(DataError::io("open", path))?.take(expected + 1);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
        if bytes.len() as u64 > expected {
            let file = path.display().to_string();
            return Err(DataError::Oversized { file, what: "records", expected });
        }
        Ok(bytes)
    }

    fn parse(&self, bytes: &[u8], file: &str) -> Result<Dataset> {
        let mut records = Records::default();
        records.push(bytes, file, self)?;
        records.into_dataset(file, self)
    }
}

/// Labels and pixels of the records read so far.
#[derive(Default)]
struct Records {
    labels: Vec<u8>,
    pixels: Vec<u8>,
}

impl Records {
    fn push(&mut self, bytes: &[u8], file: &str, version: &Version) -> Result<()> {
        let record = version.record();
        let records = bytes.chunks_exact(record);
        if !records.remainder().is_empty() {
            let (file, found) = (file.to_owned(), bytes.len());
            return Err(DataError::Records { file, record, found });
        }
        for (at, classes) in version.labels.iter().enumerate() {
            let labels: Vec<u8> = records.clone().map(|record| record[at]).collect();
            check_labels(&labels, *classes, file)?;
            if at == version.label {
                self.labels.extend(labels);
            }
        }
        for record in records {
            self.pixels.extend_from_slice(&record[version.labels.len()..]);
        }
        Ok(())
    }

    fn into_dataset(self, name: &str, version: &Version) -> Result<Dataset> {
        if self.labels.is_empty() {
            return Err(DataError::Empty { what: name.to_owned() });
        }
        let images = Images::from_bytes(&self.pixels, (self.labels.len(), CHANNELS, SIDE, SIDE))?;
        Dataset::new(name, images, self.labels, version.classes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// CIFAR-10 with two records in each file.
    fn small() -> Version {
        const TRAIN: [(&str, usize); 5] = [
            ("data_batch_1.bin", 2),
            ("data_batch_2.bin", 2),
            ("data_batch_3.bin", 2),
            ("data_batch_4.bin", 2),
            ("data_batch_5.bin", 2),
        ];
        Version { train: &TRAIN, test: (CIFAR10.test.0, 2), ..CIFAR10 }
    }

    /// A folder with six files of two records; record r of file f has label (f + r) % 10 and pixels
    /// f.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (index, file) in CIFAR10.files().enumerate() {
            let bytes: Vec<u8> = (0..2)
                .flat_map(|record| {
                    let mut bytes = vec![index as u8; 1 + PIXELS];
                    bytes[0] = ((index + record) % 10) as u8;
                    bytes
                })
                .collect();
            fs::write(folder.path().join(file), bytes).expect("written");
        }
        folder
    }

    #[test]
    fn six_files_are_read_in_order() {
        let folder = folder();
        let split = small().read_split(folder.path()).expect("read");
        assert_eq!(split.train.labels(), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(split.test.labels(), [5, 6]);
        let pixels = split.train.images().to_vec().expect("values");
        assert_eq!((pixels[0], pixels[9 * PIXELS]), (0.0, 4.0 / 255.0));
    }

    #[test]
    fn a_file_cut_off_between_two_records_is_refused() {
        let folder = folder();
        let path = folder.path().join("data_batch_4.bin");
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..1 + PIXELS]).expect("written");
        let error = small().read_split(folder.path()).expect_err("short file");
        assert!(matches!(&error, DataError::Truncated { found: 3073, .. }), "{error}");
        assert!(error.to_string().contains("data_batch_4.bin"), "{error}");
        fs::write(&path, [bytes.as_slice(), &[0]].concat()).expect("written");
        assert!(matches!(
            small().read_split(folder.path()),
            Err(DataError::Oversized { expected: 6146, .. })
        ));
    }

    #[test]
    fn cifar_100_has_two_labels() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let version = |labels: Cifar100Labels| Version {
            train: &[("train.bin", 2)],
            test: ("test.bin", 1),
            ..labels.version()
        };
        // Coarse labels 3 and 19, fine ones 99 and 0; the first red pixel 7, the last blue one 9.
        let record = |coarse, fine| {
            let mut record = vec![0; 2 + PIXELS];
            (record[0], record[1], record[2], record[1 + PIXELS]) = (coarse, fine, 7, 9);
            record
        };
        let train = [record(3, 99), record(19, 0)].concat();
        fs::write(folder.path().join("train.bin"), &train).expect("written");
        let error = version(Cifar100Labels::Fine).read_split(folder.path()).expect_err("half");
        assert!(matches!(&error, DataError::Incomplete { .. }), "{error}");
        fs::write(folder.path().join("test.bin"), record(0, 50)).expect("written");
        let read = |labels| version(labels).read_split(folder.path()).expect("read");
        let (fine, coarse) = (read(Cifar100Labels::Fine), read(Cifar100Labels::Coarse));
        assert_eq!((fine.train.labels(), fine.train.classes()), ([99, 0].as_slice(), 100));
        assert_eq!((coarse.train.labels(), coarse.train.classes()), ([3, 19].as_slice(), 20));
        assert_eq!((fine.test.labels(), fine.test.name()), ([50].as_slice(), "cifar100 test"));
        let pixels = fine.train.images().to_vec().expect("values");
        assert_eq!((pixels[0], pixels[PIXELS - 1]), (7.0 / 255.0, 9.0 / 255.0));
        // Records of CIFAR-10, and a label beyond the classes.
        assert!(matches!(
            parse_batch_100(&[0; 3073], "f", Cifar100Labels::Fine),
            Err(DataError::Records { record: 3074, .. })
        ));
        for labels in [Cifar100Labels::Fine, Cifar100Labels::Coarse] {
            for record in [record(20, 0), record(0, 100)] {
                let parsed = parse_batch_100(&record, "f", labels);
                assert!(matches!(parsed, Err(DataError::Label { index: 0, .. })), "{parsed:?}");
            }
        }
    }
}
