//! What the tests of the crates share, as a dev-dependency by path: the one list of networks under
//! test ([`networks`], [`published`], [`Case`]) and that of operations ([`operations`]), random
//! numbers ([`normals`]), distances that fail on NaN ([`relative_error`]), [`archives`] of PyTorch,
//! the device of tests ([`test_device`]), built programs ([`program`], [`run_program`]) and
//! documents ([`check_document`]), and the result of a test ([`TestResult`]).
#![forbid(unsafe_code)]

pub mod archives;
mod case;
mod compare;
mod conv_networks;
mod device;
mod files;
pub mod networks;
pub mod operations;
mod programs;
pub mod published;
mod random;
mod references;
mod token_networks;

pub use case::{Case, derivative_cases, kernel_cases, moved_statistics, with_zero_branches};
pub use compare::{entrywise_error, relative_error, tensor_error};
pub use device::{more_test_devices, needs_cpu, test_device};
pub use files::{built, check_document};
pub use programs::{program, program_fails, program_succeeds, run_program};
pub use random::{normal, normals, separable};
pub use references::{direction, stream};

/// The result of a test: `?` on any error.
pub type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;
