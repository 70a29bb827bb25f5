//! Errors of the operating system, of files and of tensors come in, a [`DataError`] goes out.
//! Called by `?` in every module of the crate.

use std::{io, path::PathBuf};

use entk_device::files::FileError;

use crate::error::DataError;

impl DataError {
    /// Attaches what was tried, and on which path, to an error of the operating system.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<FileError> for DataError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

impl From<candle_core::Error> for DataError {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}
