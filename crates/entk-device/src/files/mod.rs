//! Every operation on files of all crates and programs, and files that are whole or absent.
//!
//! In come a path and the bytes to be there; out goes the file, under its name only when all of it
//! is on the disk. Weights, stores, checkpoints, arrays and records are written by [`write()`], and
//! read by [`read`] and [`open`]. A check of the workspace keeps `std::fs` out of everything else,
//! so that tests can let any operation of any program fail: see [`operations`].

#[cfg(debug_assertions)]
#[doc(hidden)]
pub mod faults;
pub mod operations;
mod temporary;
mod whole;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use operations::{
    append, create_folder, create_new, list, open, open_to_lock, read, read_text, remove,
    remove_folder, sync_folder,
};
pub use temporary::{TEMPORARY, check_writable, is_at, remove_abandoned};
pub use whole::{write, write_then, write_with};

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The reason given.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: what was tried, and where.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}
