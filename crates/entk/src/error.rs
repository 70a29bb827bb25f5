//! One error for programs that use several of the crates: each crate's own converts into it by `?`.

use std::{fmt, path::PathBuf};

use crate::{
    data::DataError,
    device::{DeviceError, files::FileError, memory::MemoryError},
    gram::GramError,
    linearize::LinearizeError,
    models::ModelError,
    predict::PredictError,
    spectral::SpectralError,
    torch::TorchError,
    train::TrainError,
};

/// An error of any crate of the family. Its message is that of the crate's own error; what it is
/// about, [`kind`](Self::kind) says. `Debug` writes the message too: it is what a `main` prints
/// that returns this error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of a tensor operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Of a device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Of writing a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Of memory that there is not.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Of a data set or a file of arrays.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Of a network, its parameters or a file of weights.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Of an archive of PyTorch.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// Of a linearization.
    #[error(transparent)]
    Linearize(#[from] LinearizeError),
    /// Of the assembly or the store of a Gram.
    #[error(transparent)]
    Gram(#[from] GramError),
    /// Of eigenpairs, targets or metrics.
    #[error(transparent)]
    Spectral(#[from] SpectralError),
    /// Of a prediction from a kernel.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Of training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Of a file of results that cannot be read as what was asked for, or a result that cannot be
    /// written: see [`Save`](crate::Save).
    #[error("{}: {reason}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// The message and, a line each, what it came from.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  because: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an error within another, and of one with a cause.
    #[test]
    fn what_main_prints_is_the_message_with_its_causes() {
        let shape = ModelError::Shape {
            what: "inputs".to_owned(),
            expected: "(N, 3)".to_owned(),
            got: vec![4],
        };
        let error = Error::from(GramError::from(shape));
        assert_eq!(format!("{error:?}"), "inputs: expected shape (N, 3), got [4]");
        let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Error::from(FileError::new("read", std::path::Path::new("absent"))(absent));
        let lines = format!("{error:?}");
        assert!(lines.starts_with(&error.to_string()), "{lines}");
    }
}
