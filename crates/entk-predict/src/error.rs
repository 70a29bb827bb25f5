//! [`PredictError`], the one error type of this crate: in come the numbers that made a call fail,
//! out goes a message that says what to do about it. Every fallible function returns [`Result`].

use entk_memory::MemoryError;
use entk_spectral::SpectralError;

/// What fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, PredictError>;

/// Everything that can go wrong in a prediction from a kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// A table of another shape than the others need.
    #[error(
        "the {what} have shape ({}, {}), expected ({}, {}): one row for each row of the kernel, the same columns everywhere",
        found[0], found[1], expected[0], expected[1]
    )]
    Shape {
        /// Which table.
        what: &'static str,
        /// Rows and columns needed.
        expected: [usize; 2],
        /// Rows and columns found.
        found: [usize; 2],
    },

    /// A list of the wrong length.
    #[error("{found} {what}, expected {expected}; pass one for each")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many are needed.
        expected: usize,
        /// How many were found.
        found: usize,
    },

    /// A NaN or an infinity in a table.
    #[error("row {row}, column {column} is {value}; every value must be finite")]
    NonFinite {
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// Its value.
        value: f64,
    },

    /// A setting outside its range.
    #[error("{field} is {found}; it must be {range}")]
    Setting {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: f64,
        /// What it must be.
        range: &'static str,
    },

    /// A pivot of the Cholesky factorization that is not positive.
    #[error(
        "pivot {index} of the Cholesky factorization of the {n} x {n} kernel plus {ridge:e} is {pivot:e} (largest entry {largest:e}): the matrix is singular or indefinite to working accuracy; raise the ridge by {:.0e} or more, assemble the kernel in f64, or use its eigenpairs",
        missing(*pivot, *largest)
    )]
    NotPositiveDefinite {
        /// Rows of the kernel.
        n: usize,
        /// First pivot that is not positive, from 0.
        index: usize,
        /// Its value.
        pivot: f64,
        /// The ridge that was added.
        ridge: f64,
        /// Largest magnitude of the kernel's entries.
        largest: f64,
    },

    /// A solution that does not satisfy its equations as well as asked.
    #[error(
        "the solution of (K + {ridge:e}) x = y for column {column} has relative residual {reached:e}, asked {asked:e} (pivots from {smallest_pivot:e} to {largest_pivot:e}); raise the ridge, assemble the kernel in f64, loosen the tolerance, or use eigenpairs and leave small eigenvalues out"
    )]
    Residual {
        /// Column of the targets.
        column: usize,
        /// ||(K + ridge) x - y|| / ||y||, measured.
        reached: f64,
        /// Largest accepted value.
        asked: f64,
        /// The ridge.
        ridge: f64,
        /// Smallest pivot of the factorization.
        smallest_pivot: f64,
        /// Largest pivot of the factorization.
        largest_pivot: f64,
    },

    /// A shifted kernel without an inverse where one is needed.
    #[error(
        "the kernel plus {ridge:e} has no inverse to working accuracy: smallest eigenvalue {smallest:e}, floor {floor:e}; raise the ridge to well above {floor:e}"
    )]
    Singular {
        /// Smallest eigenvalue of the kernel.
        smallest: f64,
        /// What smallest plus ridge must exceed.
        floor: f64,
        /// The ridge.
        ridge: f64,
    },

    /// A variance that is negative beyond round-off.
    #[error(
        "the variance at test input {index} is {value:e}, more negative than round-off explains ({bound:e}); the kernels do not belong to one positive semi-definite kernel: assemble all of them from the same parameters, in f64, or raise the noise"
    )]
    NegativeVariance {
        /// Index of the test input.
        index: usize,
        /// The variance found.
        value: f64,
        /// The most negative value accepted.
        bound: f64,
    },

    /// Conjugate gradients that stopped before the residual was reached.
    #[error(
        "conjugate gradients reached relative residual {reached:e} in {iterations} iterations, asked {asked:e}; raise the ridge, give more eigenpairs to the preconditioner, allow more iterations, or loosen the tolerance"
    )]
    NotConverged {
        /// Iterations done.
        iterations: usize,
        /// Largest true relative residual of all columns.
        reached: f64,
        /// Largest accepted value.
        asked: f64,
    },

    /// A direction along which the shifted kernel is not positive.
    #[error(
        "iteration {iteration} found p . (K + {ridge:e}) p = {curvature:e}: the kernel or the preconditioner is not positive definite; raise the ridge, or assemble the kernel in f64"
    )]
    Indefinite {
        /// Iteration, from 1.
        iteration: usize,
        /// The quadratic form found.
        curvature: f64,
        /// The ridge.
        ridge: f64,
    },

    /// A computation that its caller stopped.
    #[error("stopped after {iterations} iterations at relative residual {reached:e}")]
    Stopped {
        /// Iterations done.
        iterations: usize,
        /// Largest relative residual then.
        reached: f64,
    },

    /// A table that memory cannot hold.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),

    /// An allocation failed.
    #[error(
        "no memory for {bytes} bytes of {what}; use fewer examples, or conjugate gradients over a store"
    )]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// How many bytes.
        bytes: usize,
    },

    /// A result beyond the range of f64.
    #[error("the {quantity} is beyond the range of f64; divide kernel and ridge by a constant")]
    Overflow {
        /// What overflowed.
        quantity: &'static str,
    },

    /// Of the kernel or its eigenpairs.
    #[error(transparent)]
    Spectral(#[from] SpectralError),
}

/// Refuses a setting that its caller has not accepted.
pub(crate) fn check_setting(
    field: &'static str,
    found: f64,
    accepted: bool,
    range: &'static str,
) -> Result<()> {
    if accepted { Ok(()) } else { Err(PredictError::Setting { field, found, range }) }
}

/// Accepts a ridge or noise: finite and not negative.
pub(crate) fn check_ridge(ridge: f64) -> Result<()> {
    let accepted = ridge.is_finite() && ridge >= 0.0;
    check_setting("ridge", ridge, accepted, "finite and not negative")
}

/// What a ridge has to grow by at least: the pivot, or the rounding of entries in f32.
fn missing(pivot: f64, largest: f64) -> f64 {
    (-pivot).max(largest * f64::from(f32::EPSILON))
}
