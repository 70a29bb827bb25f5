//! SVHN, house numbers cut to one digit: the official MATLAB files come in, a data set goes out.
//!
//! Each of `train_32x32.mat` and `test_32x32.mat` has a matrix X of bytes, (32, 32, 3, N) with rows
//! first, and labels y, (N, 1). The digit 0 is labelled 10 in the files and 0 here.

use std::{io::BufReader, path::Path};

use entk_device::files;

use crate::{
    dataset::{Dataset, Split},
    error::{DataError, Result},
    images::Images,
    sets::matlab::{self, Matrix},
};

/// The training and the test file.
pub(super) const FILES: [&str; 2] = ["train_32x32.mat", "test_32x32.mat"];

const CLASSES: usize = 10;
const SIDE: usize = 32;
const CHANNELS: usize = 3;

/// The 73,257 training and 26,032 test images of the folder with the two published files, (N, 3,
/// 32, 32), pixels / 255, labels 0 to 9.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing, otherwise as [`read_file`].
pub fn read_split(folder: impl AsRef<Path>) -> Result<Split> {
    let folder = folder.as_ref();
    let missing: Vec<String> = FILES
        .iter()
        .filter(|file| !folder.join(file).is_file())
        .map(|&file| file.to_owned())
        .collect();
    if !missing.is_empty() {
        return Err(DataError::Incomplete { folder: folder.to_owned(), missing });
    }
    let read = |file: &str, name| named(read_file(folder.join(file))?, name);
    Ok(Split { train: read(FILES[0], "svhn train")?, test: read(FILES[1], "svhn test")? })
}

/// One file in the layout of SVHN, such as `extra_32x32.mat`. Memory: the pixels as bytes and as
/// f32.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`DataError::Format`] if it is no MATLAB file of version
/// 5 or has no X and y, [`DataError::Truncated`] if it is cut off, [`DataError::Shape`] if X is not
/// (32, 32, 3, N) or y has not N labels, [`DataError::Dtype`] for labels that are not 1 to 10.
pub fn read_file(path: impl AsRef<Path>) -> Result<Dataset> {
    let path = path.as_ref();
    let file = path.display().to_string();
    // Twice, since y may stand before X.
    let images = images(matrix(path, "X", &file)?, &file)?;
    let labels = matrix(path, "y", &file)?;
    if labels.shape.iter().any(|size| ![1, images.count() as u64].contains(size)) {
        return Err(shape("y", format!("({}, 1)", images.count()), &labels.shape, &file));
    }
    if let Some(index) = labels.values.iter().position(|label| !(1..=10).contains(label)) {
        return Err(DataError::Dtype {
            what: format!("{file}:y at index {index}"),
            expected: "labels from 1 to 10, which is the digit 0",
            found: labels.values[index].to_string(),
            advice: "is it the right file?",
        });
    }
    let digits = labels.values.iter().map(|label| label % 10).collect();
    Dataset::new(file, images, digits, CLASSES)
}

fn matrix(path: &Path, name: &str, file: &str) -> Result<Matrix> {
    let opened = files::open(path).map_err(DataError::io("open", path))?;
    let length = opened.length().map_err(DataError::io("read the size of", path))?;
    matlab::read(BufReader::new(opened), length, name, file)
}

/// Images of X, whose first axis is that of rows and the fastest.
fn images(mut x: Matrix, file: &str) -> Result<Images> {
    let count = match x.shape.as_slice() {
        [32, 32, 3, count] => *count as usize,
        // MATLAB leaves out a last axis of length 1.
        [32, 32, 3] => 1,
        found => return Err(shape("X", "(32, 32, 3, N)".to_owned(), found, file)),
    };
    let mut turned = [0; SIDE * SIDE];
    for plane in x.values.chunks_exact_mut(SIDE * SIDE) {
        for (at, pixel) in plane.iter().enumerate() {
            turned[at % SIDE * SIDE + at / SIDE] = *pixel;
        }
        plane.copy_from_slice(&turned);
    }
    Images::from_bytes(&x.values, (count, CHANNELS, SIDE, SIDE))
}

fn named(data: Dataset, name: &str) -> Result<Dataset> {
    Dataset::new(name, data.images().clone(), data.labels().to_vec(), data.classes())
}

fn shape(name: &str, expected: String, found: &[u64], file: &str) -> DataError {
    let found = found.iter().map(|&size| size as usize).collect();
    DataError::Shape { what: format!("{file}:{name}"), expected, found }
}
