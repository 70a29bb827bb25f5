//! Errors of the library as exceptions: an error comes in, the class of Python that fits it goes
//! out, with the same words. Everything here that fails calls it.

use entk::{Error, ErrorKind};
use pyo3::{PyErr, PyResult, import_exception};

import_exception!(entk._errors, ComputationError);
import_exception!(entk._errors, FileError);
import_exception!(entk._errors, InternalError);
import_exception!(entk._errors, InvalidInput);
import_exception!(entk._errors, OutOfMemory);

/// An error of any crate as an exception.
pub(crate) fn exception(error: impl Into<Error>) -> PyErr {
    let error = error.into();
    let words = error.to_string();
    match error.kind() {
        ErrorKind::Input | ErrorKind::NoDevice => InvalidInput::new_err(words),
        ErrorKind::Memory => OutOfMemory::new_err(words),
        ErrorKind::File => FileError::new_err(words),
        _ => ComputationError::new_err(words),
    }
}

/// Refuses a word that a setting does not know.
pub(crate) fn unknown<T>(setting: &str, found: &str, expected: &str) -> PyResult<T> {
    Err(InvalidInput::new_err(format!("{setting} is {found:?}; expected {expected}")))
}
