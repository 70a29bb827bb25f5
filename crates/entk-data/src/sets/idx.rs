//! IDX files, plain or gzip-compressed: the format of MNIST and Fashion-MNIST.
//!
//! An IDX file is a magic number (0x00000803 for images, 0x00000801 for labels), one big-endian
//! 32-bit length for each axis, and the bytes in row-major order. The length that the header
//! declares is compared with the length of the file, or with what its compressed bytes can expand
//! to, before anything is allocated. Whether a file is compressed is seen from its first two bytes,
//! not from its name.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use entk_device::files::{self, operations::InputFile};
use flate2::bufread::MultiGzDecoder;

use crate::{
    dataset::{Dataset, Split, check_labels},
    error::{DataError, Result},
    images::Images,
};

/// The two kinds of IDX file: magic number, number of axes, name in messages.
#[derive(Debug, Clone, Copy)]
struct Kind {
    magic: u32,
    axes: usize,
    format: &'static str,
    what: &'static str,
}

const IMAGES: Kind = Kind {
    magic: 0x803,
    axes: 3,
    format: "IDX images: bytes with three axes, plain or gzip",
    what: "pixels",
};
const LABELS: Kind = Kind {
    magic: 0x801,
    axes: 1,
    format: "IDX labels: bytes with one axis, plain or gzip",
    what: "labels",
};

/// Largest accepted payload, 20 times that of the largest data set read here.
const MAX_BYTES: u64 = 1 << 30;
/// One byte of a deflate stream expands to at most 1,032.
const MAX_EXPANSION: u64 = 1032;
/// Images expand to a few times their compressed bytes; more than this is no image, but memory.
const LIKELY_EXPANSION: u64 = 100;
/// Up to here any expansion is taken: a few blank images.
const SMALL_BYTES: u64 = 1 << 26;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Names of the image and label files of the two splits, without `.gz`.
pub(super) const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Number of classes of MNIST and Fashion-MNIST.
pub(super) const CLASSES: usize = 10;

/// Images of an IDX file as (N, 1, H, W), pixels / 255.
///
/// # Errors
/// As [`parse_images`], and [`DataError::Io`] if the file cannot be read.
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    let (reader, length, file) = open(path.as_ref())?;
    images_from(reader, length, &file)
}

/// Labels of an IDX file, each below `classes`.
///
/// # Errors
/// As [`parse_labels`], and [`DataError::Io`] if the file cannot be read.
pub fn read_labels(path: impl AsRef<Path>, classes: usize) -> Result<Vec<u8>> {
    let (reader, length, file) = open(path.as_ref())?;
    labels_from(reader, length, &file, classes)
}

/// Images of the bytes of an IDX file, plain or gzip; `file` names them in errors.
///
/// # Errors
/// [`DataError::Magic`], [`DataError::Truncated`], [`DataError::Oversized`],
/// [`DataError::TooLarge`], [`DataError::Empty`] for an axis of length 0, [`DataError::Gzip`] for a
/// damaged stream, a wrong checksum included.
///
/// ```
/// let bytes = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255];
/// let images = entk_data::idx::parse_images(&bytes, "two pixels")?;
/// assert_eq!(images.to_vec()?, [0.0, 1.0]);
/// # Ok::<(), entk_data::DataError>(())
/// ```
pub fn parse_images(bytes: &[u8], file: &str) -> Result<Images> {
    images_from(bytes, bytes.len() as u64, file)
}

/// Labels of the bytes of an IDX file, plain or gzip; `file` names them in errors.
///
/// # Errors
/// As [`parse_images`], and [`DataError::Label`] at the first label that is not below `classes`.
pub fn parse_labels(bytes: &[u8], file: &str, classes: usize) -> Result<Vec<u8>> {
    labels_from(bytes, bytes.len() as u64, file, classes)
}

/// Train and test part from the four files of a folder in MNIST's names, each with or without
/// `.gz`.
///
/// Where both are there the plain file is read. The numbers of images are those that the files
/// declare, so that a reduced copy can be read too.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing, [`DataError::CountMismatch`] if images and
/// labels differ in number, otherwise as [`read_images`] and [`read_labels`].
pub fn read_split(folder: impl AsRef<Path>, name: &str) -> Result<Split> {
    read_files(folder.as_ref(), FILES, name, |images, labels, name| {
        dataset(
            name,
            (read_images(images)?, images),
            (read_labels(labels, CLASSES)?, labels),
            CLASSES,
        )
    })
}

/// Train and test part from these files: images and labels of the training part, then of the test
/// part, each pair read by `read` with the name of the part.
pub(super) fn read_files(
    folder: &Path,
    files: [&str; 4],
    name: &str,
    read: impl Fn(&Path, &Path, String) -> Result<Dataset>,
) -> Result<Split> {
    let missing: Vec<String> = files
        .iter()
        .filter(|file| find(folder, file).is_none())
        .map(|file| format!("{file} (or {file}.gz)"))
        .collect();
    let paths: Vec<PathBuf> = files.iter().filter_map(|file| find(folder, file)).collect();
    let [train_images, train_labels, test_images, test_labels] = paths.as_slice() else {
        return Err(DataError::Incomplete { folder: folder.to_owned(), missing });
    };
    Ok(Split {
        train: read(train_images, train_labels, format!("{name} train"))?,
        test: read(test_images, test_labels, format!("{name} test"))?,
    })
}

/// The path of this IDX file in the folder, plain or compressed, if there.
pub(super) fn find(folder: &Path, file: &str) -> Option<PathBuf> {
    [folder.join(file), folder.join(format!("{file}.gz"))].into_iter().find(|path| path.is_file())
}

/// The images and labels of two files, which must be of one number.
pub(super) fn dataset(
    name: String,
    (images, images_path): (Images, &Path),
    (labels, labels_path): (Vec<u8>, &Path),
    classes: usize,
) -> Result<Dataset> {
    if images.count() != labels.len() {
        return Err(DataError::CountMismatch {
            images_from: images_path.display().to_string(),
            images: images.count(),
            labels_from: labels_path.display().to_string(),
            labels: labels.len(),
        });
    }
    Dataset::new(name, images, labels, classes)
}

/// Number, rows and columns of the images of a file, and their bytes.
pub(super) fn read_pixels(path: &Path) -> Result<([usize; 3], Vec<u8>)> {
    let (reader, length, file) = open(path)?;
    let (sizes, pixels) = decode(reader, length, &file, IMAGES)?;
    Ok(([sizes[0], sizes[1], sizes[2]], pixels))
}

/// The file, its length in bytes and its name for messages.
fn open(path: &Path) -> Result<(BufReader<InputFile>, u64, String)> {
    let file = files::open(path).map_err(DataError::io("open", path))?;
    let length = file.length().map_err(DataError::io("read the size of", path))?;
    Ok((BufReader::new(file), length, path.display().to_string()))
}

fn images_from(reader: impl BufRead, length: u64, file: &str) -> Result<Images> {
    let (sizes, pixels) = decode(reader, length, file, IMAGES)?;
    Images::from_bytes(&pixels, (sizes[0], 1, sizes[1], sizes[2]))
}

fn labels_from(reader: impl BufRead, length: u64, file: &str, classes: usize) -> Result<Vec<u8>> {
    let (_, labels) = decode(reader, length, file, LABELS)?;
    check_labels(&labels, classes, file)?;
    Ok(labels)
}

/// The axis lengths and the payload of an IDX stream of `length` bytes, compressed or not.
fn decode(
    mut reader: impl BufRead,
    length: u64,
    file: &str,
    kind: Kind,
) -> Result<(Vec<usize>, Vec<u8>)> {
    let start = reader.fill_buf().map_err(DataError::io("read", file))?;
    if start.starts_with(&GZIP_MAGIC) {
        let most = length.saturating_mul(MAX_EXPANSION);
        let limit = length.saturating_mul(LIKELY_EXPANSION).clamp(SMALL_BYTES, MAX_BYTES);
        let broken = |source| DataError::Gzip { file: file.to_owned(), source };
        Stream { reader: MultiGzDecoder::new(reader), most, limit, file, broken }.decode(kind)
    } else {
        let broken = |source| DataError::Io { action: "read", path: file.into(), source };
        Stream { reader, most: length, limit: MAX_BYTES, file, broken }.decode(kind)
    }
}

/// Bytes of an IDX file after decompression: at most `most` of them, and at most `limit` accepted.
struct Stream<'a, R, E> {
    reader: R,
    most: u64,
    limit: u64,
    file: &'a str,
    broken: E,
}

impl<R: Read, E: Fn(std::io::Error) -> DataError> Stream<'_, R, E> {
    fn decode(mut self, kind: Kind) -> Result<(Vec<usize>, Vec<u8>)> {
        let sizes = self.header(kind)?;
        let file = self.file.to_owned();
        let expected =
            sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(u64::from(size)));
        if expected == 0 {
            return Err(DataError::Empty { what: format!("{file} (axes {sizes:?})") });
        }
        let limit = if expected > self.most { MAX_BYTES } else { self.limit };
        if expected > limit {
            return Err(DataError::TooLarge { file, what: kind.what, limit, found: expected });
        }
        if expected > self.most {
            return Err(DataError::Truncated { file, what: kind.what, expected, found: self.most });
        }
        // One byte more than declared, to see whether the stream ends there; reaching the end also
        // verifies the checksum.
        let payload = self.read_at_most(expected + 1)?;
        let found = payload.len() as u64;
        if found < expected {
            return Err(DataError::Truncated { file, what: kind.what, expected, found });
        }
        if found > expected {
            return Err(DataError::Oversized { file, what: kind.what, expected });
        }
        Ok((sizes.iter().map(|&size| size as usize).collect(), payload))
    }

    /// Checks the magic number and returns the length of each axis.
    fn header(&mut self, kind: Kind) -> Result<Vec<u32>> {
        let expected = 4 + 4 * kind.axes as u64;
        let header = self.read_at_most(expected)?;
        let words: Vec<u32> = header
            .chunks_exact(4)
            .map(|word| word.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
            .collect();
        let file = self.file.to_owned();
        match words.split_first() {
            Some((&found, _)) if found != kind.magic => {
                Err(DataError::Magic { file, format: kind.format, expected: kind.magic, found })
            }
            Some((_, sizes)) if sizes.len() == kind.axes => Ok(sizes.to_vec()),
            _ => Err(DataError::Truncated {
                file,
                what: "IDX header",
                expected,
                found: header.len() as u64,
            }),
        }
    }

    fn read_at_most(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(limit.min(self.most.saturating_add(1)) as usize);
        self.reader.by_ref().take(limit).read_to_end(&mut bytes).map_err(&self.broken)?;
        Ok(bytes)
    }
}
