//! Image data sets for experiments with the empirical neural tangent kernel.
//!
//! The nouns: [`Images`] are a finite f32 tensor of shape **(N, C, H, W)**; a [`Dataset`] is images
//! with labels and a name; a [`Split`] is a training and a test data set. A [`DataSource`] names a
//! published split, and [`load`] finds its files in an explicit folder or in the folder of the
//! environment variable `ENTK_DATA`, or takes the slice of Fashion-MNIST that is [`embedded`] in
//! this crate. A [`Standardizer`] holds the per-channel mean and standard deviation of the training
//! part. [`linearly_separable`] draws synthetic data. [`AugmentedImages`]
//! and [`arrays::ArrayRows`] give examples as they are asked for. [`idx`], [`cifar`], [`emnist`]
//! and [`svhn`] read the published files, [`arrays`] reads what numpy and PyTorch write, [`npy`]
//! writes it, [`tables`] reads CSV and, with the feature `parquet`, Parquet, and the module
//! `folders` of the feature `images` reads images in folders. [`examples`] reads any of these as
//! inputs or labels.
//!
//! ```
//! use entk_data::{DataSource, load};
//!
//! // Normalise first: subsets keep the normalisation of the full training set.
//! let (split, _) = load(DataSource::FashionMnist, None)?.split.standardized()?;
//! let train = split.train.stratified_subset(500, 0)?;
//! assert_eq!(train.images().tensor().dims(), [500, 1, 28, 28]);
//! assert_eq!(train.binary_labels().iter().filter(|&&label| label == 1).count(), 250);
//! # Ok::<(), entk_data::DataError>(())
//! ```
//!
//! Files are never trusted: what a header declares is compared with the size of the file before
//! memory is allocated, and every refusal is a [`DataError`] that says what was expected and found.
//! Random numbers come from ChaCha8 with a seed of the caller's, the same on every machine. Nothing
//! is printed and nothing is downloaded.
//!
//! To add a data set: write `read_split` over a folder in a module beside `sets/idx.rs`, and a
//! variant of [`DataSource`] with its folders, its files and its advice.
#![forbid(unsafe_code)]

pub mod arrays;
mod augmented;
mod dataset;
mod error;
mod error_sources;
pub mod examples;
#[cfg(feature = "images")]
pub mod folders;
mod images;
pub mod npy;
mod separable;
mod sets;
mod standardizer;
mod stratify;
pub mod tables;

pub use augmented::AugmentedImages;
pub use dataset::{Dataset, Split};
pub use error::{DataError, Result};
pub use images::{Images, Layout};
pub use separable::{SeparableConfig, UNIT_TOLERANCE, linearly_separable};
pub use sets::{
    cifar,
    cifar::Cifar100Labels,
    embedded::embedded,
    emnist,
    emnist::EmnistSplit,
    idx,
    load::{DATA_VARIABLE, Loaded, Origin, load},
    source::DataSource,
    svhn,
};
pub use standardizer::Standardizer;

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
