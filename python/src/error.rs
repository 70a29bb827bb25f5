//! Errors of the library as exceptions: an error comes in, the class of Python that fits it goes
//! out, with the same words. Everything here that fails calls it.

use std::error::Error as _;

use entk::{
    Error, data::DataError, gram::GramError, linearize::LinearizeError, models::ModelError,
    predict::PredictError, spectral::SpectralError, torch::TorchError, train::TrainError,
};
use pyo3::{PyErr, import_exception};

import_exception!(entk._errors, ComputationError);
import_exception!(entk._errors, FileError);
import_exception!(entk._errors, InternalError);
import_exception!(entk._errors, InvalidInput);
import_exception!(entk._errors, OutOfMemory);

/// What an error is about, as Python tells errors apart.
enum Kind {
    /// Something that was passed.
    Input,
    /// Memory that there is not.
    Memory,
    /// A solver that found no answer, a training that diverged, a number out of range.
    Computation,
}

/// An error of any crate as an exception.
pub(crate) fn exception(error: impl Into<Error>) -> PyErr {
    let error = error.into();
    let words = error.to_string();
    if is_of_system(&error) {
        return FileError::new_err(words);
    }
    match kind(&error) {
        Kind::Input => InvalidInput::new_err(words),
        Kind::Memory => OutOfMemory::new_err(words),
        Kind::Computation => ComputationError::new_err(words),
    }
}

/// Whether the system refused a file.
fn is_of_system(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Memory(_) | Error::Data(DataError::NoMemory(_)) => Kind::Memory,
        Error::Model(error) => of_model(error),
        Error::Torch(TorchError::Model(error)) => of_model(error),
        Error::Linearize(LinearizeError::NoMemory(_)) => Kind::Memory,
        Error::Linearize(LinearizeError::Model(error)) => of_model(error),
        Error::Gram(error) => of_gram(error),
        Error::Spectral(error) => of_spectral(error),
        Error::Predict(error) => of_predict(error),
        Error::Train(error) => of_train(error),
        _ => Kind::Input,
    }
}

fn of_model(error: &ModelError) -> Kind {
    if matches!(error, ModelError::NoMemory(_)) { Kind::Memory } else { Kind::Input }
}

fn of_gram(error: &GramError) -> Kind {
    match error {
        GramError::OutOfMemory { .. }
        | GramError::TooMuchMemory { .. }
        | GramError::Memory { .. } => Kind::Memory,
        GramError::NonFinite { .. } | GramError::WrongEntry { .. } | GramError::Failed { .. } => {
            Kind::Computation
        }
        GramError::Model(error) => of_model(error),
        GramError::Matrix(error) => of_spectral(error),
        _ => Kind::Input,
    }
}

fn of_spectral(error: &SpectralError) -> Kind {
    match error {
        SpectralError::NoMemory(_) | SpectralError::OutOfMemory { .. } => Kind::Memory,
        SpectralError::NotConverged { .. }
        | SpectralError::NoConvergence { .. }
        | SpectralError::UntrustedSolution { .. }
        | SpectralError::NonFiniteImage { .. }
        | SpectralError::Overflow { .. } => Kind::Computation,
        _ => Kind::Input,
    }
}

fn of_predict(error: &PredictError) -> Kind {
    match error {
        PredictError::NoMemory(_) | PredictError::OutOfMemory { .. } => Kind::Memory,
        PredictError::NotConverged { .. }
        | PredictError::NotPositiveDefinite { .. }
        | PredictError::Overflow { .. } => Kind::Computation,
        PredictError::Spectral(error) => of_spectral(error),
        _ => Kind::Input,
    }
}

fn of_train(error: &TrainError) -> Kind {
    match error {
        TrainError::NoMemory(_) | TrainError::OutOfMemory { .. } => Kind::Memory,
        TrainError::Diverged { .. } | TrainError::NonFiniteLogit { .. } => Kind::Computation,
        TrainError::Model(error) => of_model(error),
        TrainError::Spectral(error) => of_spectral(error),
        _ => Kind::Input,
    }
}
