//! The slice of Fashion-MNIST inside the crate, as a [`Split`].
//!
//! [`load`](crate::load) falls back on it without a data folder; tests and examples call it
//! directly.

use crate::{
    dataset::{Dataset, Split},
    error::Result,
    sets::idx,
};

macro_rules! data {
    ($file:literal) => {
        (include_bytes!(concat!("../../data/", $file)).as_slice(), concat!("embedded ", $file))
    };
}

/// 6,000 training and 2,000 test images of Fashion-MNIST, (N, 1, 28, 28), pixels / 255; no file or
/// network is needed.
///
/// Ten classes of 600 and 200 images: the first of each class in the published splits, in published
/// order (`data/README.md` beside the source has the rule and the licence). Nothing is normalised:
/// use [`Split::standardized`]. Decompressing takes some ten milliseconds.
///
/// # Errors
/// None in practice: the files are part of the program. The type is that of every other reader.
///
/// ```
/// let split = entk_data::embedded()?;
/// assert_eq!((split.train.count(), split.test.count()), (6000, 2000));
/// assert_eq!(split.train.class_counts(), [600; 10]);
/// # Ok::<(), entk_data::DataError>(())
/// ```
pub fn embedded() -> Result<Split> {
    Ok(Split {
        train: part(
            "train",
            data!("train-images-idx3-ubyte.gz"),
            data!("train-labels-idx1-ubyte.gz"),
        )?,
        test: part("test", data!("t10k-images-idx3-ubyte.gz"), data!("t10k-labels-idx1-ubyte.gz"))?,
    })
}

type Named = (&'static [u8], &'static str);

fn part(name: &str, (images, images_file): Named, (labels, labels_file): Named) -> Result<Dataset> {
    let images = idx::parse_images(images, images_file)?;
    let labels = idx::parse_labels(labels, labels_file, idx::CLASSES)?;
    Dataset::new(format!("fashion-mnist (embedded slice) {name}"), images, labels, idx::CLASSES)
}
