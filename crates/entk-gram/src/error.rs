use candle_core::DType;
use entk_models::ModelError;
use entk_spectral::SpectralError;

/// Everything that can go wrong while a Gram is assembled.
#[derive(Debug, thiserror::Error)]
pub enum GramError {
    /// A setting that no run can have.
    #[error("{field} is {got}; it must be at least {least}")]
    Setting {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        got: usize,
        /// The smallest value allowed.
        least: usize,
    },
    /// Parameters in an element type that the engine does not compute in.
    #[error("parameters are {0:?}; convert them with `to_dtype` to F32 or F64")]
    DType(DType),
    /// A matrix larger than the address space.
    #[error(
        "a {rows} x {cols} matrix does not fit this machine's address space; use fewer examples"
    )]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// Memory that the system refused.
    #[error("the system refused {:.3} GiB of memory; use fewer examples or a store on disk", *bytes as f64 / (1u64 << 30) as f64)]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The caller asked to stop.
    #[error("stopped on request; finished tiles of a store are kept")]
    Stopped,
    /// The model, its parameters or the inputs are at fault.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The assembled matrix is no Gram: it holds NaN or infinity.
    #[error(transparent)]
    Matrix(#[from] SpectralError),
}

impl From<candle_core::Error> for GramError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, GramError>;
