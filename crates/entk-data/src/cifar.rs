//! The binary version of CIFAR-10.
//!
//! Six files of 10,000 records. A record is one label byte (0 to 9) and 3,072 pixel bytes: the red,
//! the green and the blue plane, each 32 rows of 32 pixels; that is (C, H, W) in row-major order.
//! The files have no header, so the published length is the only protection against one that was
//! cut off.

use std::{io::Read, path::Path};

use entk_device::files;

use crate::{
    dataset::{Dataset, Split, check_labels},
    error::{DataError, Result},
    images::Images,
};

/// The five training files and the test file.
pub(crate) const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// Records in each published file.
pub const RECORDS_PER_FILE: usize = 10_000;

const CLASSES: usize = 10;
const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PIXELS: usize = CHANNELS * SIDE * SIDE;
const RECORD: usize = 1 + PIXELS;

/// The 50,000 training and 10,000 test images of the folder with the six published files, pixels /
/// 255, in file order.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing; [`DataError::Truncated`] or
/// [`DataError::Oversized`] if one does not hold exactly 10,000 records; otherwise as
/// [`parse_batch`].
pub fn read_split(folder: impl AsRef<Path>) -> Result<Split> {
    read_split_of(folder.as_ref(), RECORDS_PER_FILE)
}

/// One file in the CIFAR-10 record format, with at most 10,000 records.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`DataError::Oversized`] if it is longer, otherwise as
/// [`parse_batch`].
pub fn read_batch(path: impl AsRef<Path>) -> Result<Dataset> {
    let path = path.as_ref();
    parse_batch(&read_records(path, RECORDS_PER_FILE)?, &path.display().to_string())
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
    let mut records = Records::default();
    records.push(bytes, file)?;
    records.into_dataset(file)
}

fn read_split_of(folder: &Path, records_per_file: usize) -> Result<Split> {
    let missing: Vec<String> = FILES
        .iter()
        .filter(|file| !folder.join(file).is_file())
        .map(|&file| file.to_owned())
        .collect();
    if !missing.is_empty() {
        return Err(DataError::Incomplete { folder: folder.to_owned(), missing });
    }
    let (train_files, test_files) = FILES.split_at(5);
    Ok(Split {
        train: read_files(folder, train_files, records_per_file)?.into_dataset("cifar10 train")?,
        test: read_files(folder, test_files, records_per_file)?.into_dataset("cifar10 test")?,
    })
}

/// The records of several files, each of exactly `records_per_file` records.
fn read_files(folder: &Path, files: &[&str], records_per_file: usize) -> Result<Records> {
    let mut records = Records::default();
    for name in files {
        let path = folder.join(name);
        let file = path.display().to_string();
        let bytes = read_records(&path, records_per_file)?;
        let (expected, found) = ((RECORD * records_per_file) as u64, bytes.len() as u64);
        if found < expected {
            return Err(DataError::Truncated { file, what: "records", expected, found });
        }
        records.push(&bytes, &file)?;
    }
    Ok(records)
}

/// The content of a file of at most `most_records` records.
fn read_records(path: &Path, most_records: usize) -> Result<Vec<u8>> {
    let expected = (RECORD * most_records) as u64;
    let mut file = files::open(path).map_err(DataError::io("open", path))?.take(expected + 1);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
    if bytes.len() as u64 > expected {
        return Err(DataError::Oversized {
            file: path.display().to_string(),
            what: "records",
            expected,
        });
    }
    Ok(bytes)
}

/// Labels and pixels of the records read so far.
#[derive(Default)]
struct Records {
    labels: Vec<u8>,
    pixels: Vec<u8>,
}

impl Records {
    fn push(&mut self, bytes: &[u8], file: &str) -> Result<()> {
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(DataError::Records {
                file: file.to_owned(),
                record: RECORD,
                found: bytes.len(),
            });
        }
        let labels: Vec<u8> = records.iter().map(|record| record[0]).collect();
        check_labels(&labels, CLASSES, file)?;
        self.labels.extend(labels);
        for record in records {
            self.pixels.extend_from_slice(&record[1..]);
        }
        Ok(())
    }

    fn into_dataset(self, name: &str) -> Result<Dataset> {
        if self.labels.is_empty() {
            return Err(DataError::Empty { what: name.to_owned() });
        }
        let images = Images::from_bytes(&self.pixels, (self.labels.len(), CHANNELS, SIDE, SIDE))?;
        Dataset::new(name, images, self.labels, CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with six files of `records` records; record r of file f has label (f + r) % 10 and
    /// pixels f.
    fn folder(records: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (index, file) in FILES.iter().enumerate() {
            let bytes: Vec<u8> = (0..records)
                .flat_map(|record| {
                    let mut bytes = vec![index as u8; RECORD];
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
        let folder = folder(2);
        let split = read_split_of(folder.path(), 2).expect("read");
        assert_eq!(split.train.labels(), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(split.test.labels(), [5, 6]);
        let pixels = split.train.images().to_vec().expect("values");
        assert_eq!((pixels[0], pixels[9 * PIXELS]), (0.0, 4.0 / 255.0));
    }

    #[test]
    fn a_file_cut_off_between_two_records_is_refused() {
        let folder = folder(2);
        let path = folder.path().join(FILES[3]);
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..RECORD]).expect("written");
        let error = read_split_of(folder.path(), 2).expect_err("short file");
        assert!(matches!(&error, DataError::Truncated { found: 3073, .. }), "{error}");
        assert!(error.to_string().contains(FILES[3]), "{error}");
        fs::write(&path, [bytes.as_slice(), &[0]].concat()).expect("written");
        assert!(matches!(
            read_split_of(folder.path(), 2),
            Err(DataError::Oversized { expected: 6146, .. })
        ));
    }
}
