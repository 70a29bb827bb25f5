//! EMNIST: handwritten digits and letters, in six splits of IDX files.
//!
//! The published images are stored column by column, so that read as IDX says they are mirrored and
//! turned; they are transposed here, and stand upright as those of MNIST do. The letters are
//! labelled from 1 in their file and from 0 here.

use std::path::Path;

use crate::{
    dataset::{Dataset, Split},
    error::{DataError, Result},
    images::Images,
    sets::idx,
};

/// The six splits of EMNIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmnistSplit {
    /// 47 classes of equal size; letters whose lower case looks the same are one class: 112,800 +
    /// 18,800 images.
    #[default]
    Balanced,
    /// 62 classes, digits and letters of both cases, as frequent as in the source: 697,932 +
    /// 116,323 images.
    ByClass,
    /// The 47 classes of [`EmnistSplit::Balanced`], as frequent as in the source.
    ByMerge,
    /// 10 digits of equal number: 240,000 + 40,000 images.
    Digits,
    /// 26 letters of either case: 124,800 + 20,800 images.
    Letters,
    /// 10 digits, of the size of MNIST: 60,000 + 10,000 images.
    Mnist,
}

impl EmnistSplit {
    /// All splits.
    pub const ALL: [Self; 6] =
        [Self::Balanced, Self::ByClass, Self::ByMerge, Self::Digits, Self::Letters, Self::Mnist];

    /// Number of classes.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            Self::Balanced | Self::ByMerge => 47,
            Self::ByClass => 62,
            Self::Digits | Self::Mnist => 10,
            Self::Letters => 26,
        }
    }

    /// The name of the data set in [`DataSource`](crate::DataSource).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Balanced => "emnist-balanced",
            Self::ByClass => "emnist-byclass",
            Self::ByMerge => "emnist-bymerge",
            Self::Digits => "emnist-digits",
            Self::Letters => "emnist-letters",
            Self::Mnist => "emnist-mnist",
        }
    }

    /// Images and labels of the training part, then of the test part, without `.gz`.
    pub(super) fn files(self) -> [&'static str; 4] {
        macro_rules! files {
            ($name:literal) => {
                [
                    concat!("emnist-", $name, "-train-images-idx3-ubyte"),
                    concat!("emnist-", $name, "-train-labels-idx1-ubyte"),
                    concat!("emnist-", $name, "-test-images-idx3-ubyte"),
                    concat!("emnist-", $name, "-test-labels-idx1-ubyte"),
                ]
            };
        }
        match self {
            Self::Balanced => files!("balanced"),
            Self::ByClass => files!("byclass"),
            Self::ByMerge => files!("bymerge"),
            Self::Digits => files!("digits"),
            Self::Letters => files!("letters"),
            Self::Mnist => files!("mnist"),
        }
    }

    /// The label of the first class in the files.
    fn first_label(self) -> u8 {
        u8::from(self == Self::Letters)
    }
}

/// Train and test part of a split from the four files of a folder, each with or without `.gz`: (N,
/// 1, 28, 28), pixels / 255, upright, labels from 0.
///
/// # Errors
/// As [`idx::read_split`](crate::idx::read_split), and [`DataError::Format`] for a letter whose
/// label is 0.
pub fn read_split(folder: impl AsRef<Path>, split: EmnistSplit) -> Result<Split> {
    idx::read_files(folder.as_ref(), split.files(), split.name(), |images, labels, name| {
        read_part(images, labels, name, split)
    })
}

fn read_part(images: &Path, labels: &Path, name: String, split: EmnistSplit) -> Result<Dataset> {
    let ([count, columns, rows], mut pixels) = idx::read_pixels(images)?;
    let mut turned = vec![0; columns * rows];
    for image in pixels.chunks_exact_mut(columns * rows) {
        for (at, pixel) in image.iter().enumerate() {
            turned[at % rows * columns + at / rows] = *pixel;
        }
        image.copy_from_slice(&turned);
    }
    let upright = Images::from_bytes(&pixels, (count, 1, rows, columns))?;
    let (classes, first) = (split.classes(), split.first_label());
    let mut values = idx::read_labels(labels, classes + usize::from(first))?;
    if let Some(index) = values.iter().position(|label| *label < first) {
        return Err(DataError::Format {
            file: labels.display().to_string(),
            format: "labels of letters",
            problem: format!("label 0 at index {index}, expected 1 to 26"),
            advice: "is it the label file of this data set?",
        });
    }
    values.iter_mut().for_each(|label| *label -= first);
    idx::dataset(name, (upright, images), (values, labels), classes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes two training and one test image of 2 x 3 upright pixels, and these labels.
    fn write(folder: &Path, split: EmnistSplit, labels: [&[u8]; 2]) {
        for (index, file) in split.files().iter().enumerate() {
            let count = if index < 2 { 2_u8 } else { 1 };
            let bytes = if index % 2 == 0 {
                // Three columns of two pixels each.
                let header = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 3, 0, 0, 0, 2];
                let pixels = (0..count).flat_map(|image| [0, 3, 1, 4, 2, 5].map(|p| p + 6 * image));
                header.into_iter().chain(pixels).collect()
            } else {
                [&[0, 0, 8, 1, 0, 0, 0, count], labels[index / 2]].concat()
            };
            fs::write(folder.join(file), bytes).expect("written");
        }
    }

    #[test]
    fn images_stand_upright_and_letters_count_from_0() {
        for split in EmnistSplit::ALL {
            let folder = tempfile::tempdir().expect("temporary folder");
            let first = split.first_label();
            let last = split.classes() as u8 - 1 + first;
            write(folder.path(), split, [&[first, last], &[last]]);
            let read = read_split(folder.path(), split).expect("read");
            assert_eq!(read.train.labels(), [0, last - first]);
            assert_eq!(read.train.name(), format!("{} train", split.name()));
            assert_eq!(read.test.images().image_shape(), (1, 2, 3));
            let pixels = read.train.images().to_vec().expect("values");
            let expected: Vec<f32> = (0..12_u8).map(|pixel| f32::from(pixel) / 255.0).collect();
            assert_eq!(pixels, expected);
            write(folder.path(), split, [&[first, last + 1], &[last]]);
            let error = read_split(folder.path(), split).expect_err("a label too many");
            assert!(matches!(error, DataError::Label { index: 1, .. }), "{error}");
        }
    }

    #[test]
    fn files_that_are_missing_or_wrong_are_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let split = EmnistSplit::Letters;
        write(folder.path(), split, [&[1, 0], &[2]]);
        let message = read_split(folder.path(), split).expect_err("label 0").to_string();
        assert!(message.contains("label 0 at index 1") && message.contains("labels"), "{message}");
        write(folder.path(), split, [&[1, 2, 3], &[2]]);
        let error = read_split(folder.path(), split).expect_err("three labels");
        assert!(matches!(error, DataError::Oversized { .. }), "{error}");
        fs::remove_file(folder.path().join(split.files()[3])).expect("removed");
        let message = read_split(folder.path(), split).expect_err("missing").to_string();
        assert!(message.contains("emnist-letters-test-labels-idx1-ubyte"), "{message}");
    }
}
