//! The compiled half of the Python package `entk`: numpy arrays, names and settings come in from
//! the Python half, which has checked their types; classes and arrays go out, or exceptions. What
//! takes long runs in `interrupt`, with the interpreter free and Ctrl-C at work.

mod arrays;
mod datasets;
mod error;
mod interrupt;
mod kernel;
mod named;
mod network;
mod params;
mod prediction;
mod spectrum;
mod training;

use pyo3::prelude::*;

/// Sweeps allocate and free large tensors; handing pages back to the system costs a quarter of
/// their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The compiled half of `entk`.
#[pymodule]
mod _entk {
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::{
        datasets::fashion_mnist_slice,
        kernel::{CrossGram, Gram, cross_gram, gram},
        network::Network,
        params::Params,
        prediction::predict,
        spectrum::{Eigenpairs, alignment, eigh, eigsh, energy_concentration, rayleigh_alignment},
        training::{fit_linearized, linearized_outputs},
    };
}
