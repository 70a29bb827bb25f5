//! Everything that can go wrong between this crate and a device.

use candle_core::DType;

/// Everything that can go wrong between this crate and a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A device that no flag names.
    #[error("`{found}` is no device; use auto, cpu, cuda or cuda:N with N counted from 0")]
    UnknownDevice {
        /// What was given.
        found: String,
    },
    /// A precision that no flag names.
    #[error("`{found}` is no precision; use f64, f32, tf32, bf16, tf32x3 or bf16x3")]
    UnknownPrecision {
        /// What was given.
        found: String,
    },
    /// A GPU asked for in a program without CUDA.
    #[error(
        "GPU {ordinal} was asked for, but this program was built without CUDA; build it with \
         `--features cuda` (docs/cuda.md), or use the device `cpu`"
    )]
    NotCompiled {
        /// The GPU.
        ordinal: usize,
    },
    /// A GPU that cannot be opened.
    #[error(
        "GPU {ordinal} was asked for and cannot be used: {reason}; look at `nvidia-smi`, check the \
         driver (580 or newer), or use the device `cpu`"
    )]
    Absent {
        /// The GPU.
        ordinal: usize,
        /// What the driver said.
        reason: String,
    },
    /// Tensors whose sizes do not fit together.
    #[error("{what}: expected {expected}, got {got:?}")]
    Shape {
        /// The operation.
        what: &'static str,
        /// What fits.
        expected: String,
        /// What was given.
        got: Vec<usize>,
    },
    /// Tensors of an element type that the operation does not take.
    #[error("{what}: expected {expected}, got {got:?}")]
    DType {
        /// The operation.
        what: &'static str,
        /// What fits.
        expected: &'static str,
        /// What was given.
        got: DType,
    },
    /// More entries than a kernel counts.
    #[error("{what}: {got} entries exceed the {most} of one launch; use smaller batches")]
    TooLarge {
        /// The kernel.
        what: &'static str,
        /// Entries asked for.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// More copies under way than there are buffers.
    #[error("all {slots} buffers for copies to the host are in use; take one first")]
    Busy {
        /// The buffers.
        slots: usize,
    },
    /// The device or the tensor library refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, DeviceError>;

/// Code that candle calls back returns candle's errors.
impl From<DeviceError> for candle_core::Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}
