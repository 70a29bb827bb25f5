//! What an error is about: an error of any crate of the family comes in, its [`ErrorKind`] goes
//! out. Whoever acts on errors calls it: the programs for their exit codes, Python for exceptions.

#[cfg(test)]
mod tests;

use std::{error::Error as StdError, io, iter::successors};

use crate::{
    data::DataError,
    device::{DeviceError, files::FileError, memory::MemoryError},
    error::Error,
    gram::GramError,
    linearize::LinearizeError,
    models::ModelError,
    predict::PredictError,
    spectral::SpectralError,
    torch::TorchError,
    train::TrainError,
};

/// What an [`Error`] is about, for callers that act on it; [`Error::kind`] says it.
///
/// ```
/// use entk::prelude::*;
///
/// let error = Error::from(Gram::from_lower_f64(0, vec![]).expect_err("no rows"));
/// assert_eq!(error.kind(), ErrorKind::Input);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something that was passed: a shape, NaN, a setting out of range, a file that holds something
    /// else. All that is of no other kind.
    Input,
    /// More memory than there is, or may be used.
    Memory,
    /// A file that the system refused to read or to write, or a disk without room.
    File,
    /// A device that is not there, or that this program was built without.
    NoDevice,
    /// A device that failed at its work; the same call may go on where it was.
    DeviceFailed,
    /// An entry of a kernel that is wrong beyond what round-off explains.
    WrongEntry,
    /// A number beyond the range of its type, or a kernel that is not positive definite to working
    /// accuracy, where inputs were in order one by one: scale them, take f64 or a larger ridge.
    Numerical,
    /// A solver that found no answer or a training that diverged, on inputs in order.
    NoResult,
    /// A request to stop that was heeded.
    Stopped,
}

impl ErrorKind {
    /// The kind of an error that is of this family, or that one of it or of the file system is
    /// among the causes of; none for any other.
    ///
    /// What the file system says counts more than what was made of it, unless it is that the file
    /// was read and its contents are wrong: that is [`Input`](Self::Input).
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut causes = successors(Some(error), |&error| error.source());
        let kind = causes.clone().find_map(of_family);
        match kind {
            Some(Self::Stopped | Self::WrongEntry | Self::NoDevice) => kind,
            _ if causes.clone().any(is_of_driver) => Some(Self::DeviceFailed),
            _ if causes.any(is_of_system) => Some(Self::File),
            _ => kind,
        }
    }
}

impl Error {
    /// What the error is about, whichever crate it is of.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::of(self).unwrap_or(ErrorKind::Input)
    }
}

/// What a driver or cuBLAS says passes through the tensor library as text.
fn is_of_driver(cause: &(dyn StdError + 'static)) -> bool {
    let text = cause.to_string();
    text.contains("CUDA_ERROR") || text.contains("CUBLAS_STATUS")
}

fn is_of_system(cause: &(dyn StdError + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| is_refusal(error.kind()))
}

/// Whether the system refused a file; contents that are not what they should be are no refusal.
fn is_refusal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, OutOfMemory, UnexpectedEof};
    !matches!(kind, InvalidData | OutOfMemory | UnexpectedEof)
}

/// The kind of one error, without its causes, if it is of this family.
fn of_family(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    None.or_else(|| error.downcast_ref().map(of_any))
        .or_else(|| error.downcast_ref().map(of_device))
        .or_else(|| error.downcast_ref().map(|_: &FileError| ErrorKind::Input))
        .or_else(|| error.downcast_ref().map(|_: &MemoryError| ErrorKind::Memory))
        .or_else(|| error.downcast_ref().map(of_data))
        .or_else(|| error.downcast_ref().map(of_model))
        .or_else(|| error.downcast_ref().map(of_torch))
        .or_else(|| error.downcast_ref().map(of_linearize))
        .or_else(|| error.downcast_ref().map(of_gram))
        .or_else(|| error.downcast_ref().map(of_spectral))
        .or_else(|| error.downcast_ref().map(of_predict))
        .or_else(|| error.downcast_ref().map(of_train))
}

fn of_any(error: &Error) -> ErrorKind {
    match error {
        Error::Candle(_) | Error::File(_) | Error::Contents { .. } => ErrorKind::Input,
        Error::Memory(_) => ErrorKind::Memory,
        Error::Device(error) => of_device(error),
        Error::Data(error) => of_data(error),
        Error::Model(error) => of_model(error),
        Error::Torch(error) => of_torch(error),
        Error::Linearize(error) => of_linearize(error),
        Error::Gram(error) => of_gram(error),
        Error::Spectral(error) => of_spectral(error),
        Error::Predict(error) => of_predict(error),
        Error::Train(error) => of_train(error),
    }
}

fn of_device(error: &DeviceError) -> ErrorKind {
    match error {
        DeviceError::NotCompiled { .. } | DeviceError::Absent { .. } => ErrorKind::NoDevice,
        _ => ErrorKind::Input,
    }
}

fn of_data(error: &DataError) -> ErrorKind {
    match error {
        DataError::NoMemory(_) => ErrorKind::Memory,
        _ => ErrorKind::Input,
    }
}

fn of_model(error: &ModelError) -> ErrorKind {
    match error {
        ModelError::NoMemory(_) => ErrorKind::Memory,
        _ => ErrorKind::Input,
    }
}

fn of_torch(error: &TorchError) -> ErrorKind {
    match error {
        TorchError::Model(error) | TorchError::Graph { source: error, .. } => of_model(error),
        _ => ErrorKind::Input,
    }
}

fn of_linearize(error: &LinearizeError) -> ErrorKind {
    match error {
        LinearizeError::NoMemory(_) => ErrorKind::Memory,
        LinearizeError::Model(error) => of_model(error),
        _ => ErrorKind::Input,
    }
}

fn of_gram(error: &GramError) -> ErrorKind {
    match error {
        GramError::OutOfMemory { .. }
        | GramError::TooMuchMemory { .. }
        | GramError::Memory { .. } => ErrorKind::Memory,
        GramError::DiskSpace { .. } => ErrorKind::File,
        GramError::NonFinite { .. } => ErrorKind::Numerical,
        GramError::Failed { .. } => ErrorKind::DeviceFailed,
        GramError::WrongEntry { .. } => ErrorKind::WrongEntry,
        GramError::Stopped => ErrorKind::Stopped,
        GramError::Model(error) => of_model(error),
        GramError::Device(error) => of_device(error),
        GramError::Matrix(error) => of_spectral(error),
        _ => ErrorKind::Input,
    }
}

fn of_spectral(error: &SpectralError) -> ErrorKind {
    match error {
        SpectralError::NoMemory(_) | SpectralError::OutOfMemory { .. } => ErrorKind::Memory,
        SpectralError::Unreadable { kind, .. } if is_refusal(*kind) => ErrorKind::File,
        SpectralError::NonFiniteImage { .. }
        | SpectralError::Overflow { .. }
        | SpectralError::NotPositiveSemidefinite { .. }
        | SpectralError::Singular { .. } => ErrorKind::Numerical,
        SpectralError::NotConverged { .. }
        | SpectralError::NoConvergence { .. }
        | SpectralError::UntrustedSolution { .. }
        | SpectralError::OtherRank { .. } => ErrorKind::NoResult,
        SpectralError::Stopped { .. } => ErrorKind::Stopped,
        _ => ErrorKind::Input,
    }
}

fn of_predict(error: &PredictError) -> ErrorKind {
    match error {
        PredictError::NoMemory(_) | PredictError::OutOfMemory { .. } => ErrorKind::Memory,
        PredictError::NotPositiveDefinite { .. }
        | PredictError::Residual { .. }
        | PredictError::Singular { .. }
        | PredictError::NegativeVariance { .. }
        | PredictError::Indefinite { .. }
        | PredictError::Overflow { .. } => ErrorKind::Numerical,
        PredictError::NotConverged { .. } => ErrorKind::NoResult,
        PredictError::Stopped { .. } => ErrorKind::Stopped,
        PredictError::Spectral(error) => of_spectral(error),
        _ => ErrorKind::Input,
    }
}

fn of_train(error: &TrainError) -> ErrorKind {
    match error {
        TrainError::NoMemory(_) | TrainError::OutOfMemory { .. } => ErrorKind::Memory,
        TrainError::NonFiniteLogit { .. } => ErrorKind::Numerical,
        TrainError::Diverged { .. } => ErrorKind::NoResult,
        TrainError::Model(error) => of_model(error),
        TrainError::Spectral(error) => of_spectral(error),
        _ => ErrorKind::Input,
    }
}
