//! Published data sets: their names, folders and files, a reader for each format, and the slice
//! that is embedded in this crate.

pub mod cifar;
pub mod embedded;
pub mod emnist;
pub mod idx;
pub mod load;
mod matlab;
mod published;
pub mod source;
pub mod svhn;
