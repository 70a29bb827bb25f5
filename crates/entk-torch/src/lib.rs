//! Networks of PyTorch: what `torch.export.save` writes goes in, a
//! [`Network`](entk_models::Network) and its parameters come out. No Python, no libtorch.
#![forbid(unsafe_code)]

mod archive;
mod config;
mod error;
mod import;
mod operations;
mod rules;
mod trace;
mod verify;

pub use config::Import;
pub use error::{Result, TorchError};
pub use import::{Imported, import, import_bytes};
pub use rules::supported_operations;
pub use verify::{Verified, verify, verify_network};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
