//! Everything that can go wrong in a linearization.

use entk_memory::MemoryError;
use entk_models::ModelError;

/// Everything that can go wrong in a linearization.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinearizeError {
    /// A vector over the examples has the wrong length.
    #[error("{what}: expected {expected} numbers, got {got}")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Examples times outputs.
        expected: usize,
        /// Length found.
        got: usize,
    },
    /// NaN or infinity in a vector over the examples.
    #[error("{what} holds {value} at index {index}; remove or repair such entries before use")]
    NonFinite {
        /// Which vector.
        what: &'static str,
        /// Index of the first offending entry.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// A data set without examples.
    #[error("the data set is empty; at least one example is needed")]
    Empty,
    /// More memory than there is.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),
    /// The model or its parameters are at fault.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<candle_core::Error> for LinearizeError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, LinearizeError>;
