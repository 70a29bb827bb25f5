//! One error for programs that use several of the crates: each crate's own converts into it by `?`.

use std::path::PathBuf;

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
/// about, [`kind`](Self::kind) says.
#[derive(Debug, thiserror::Error)]
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

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
