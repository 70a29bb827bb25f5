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

pub use config::Import;
pub use error::{Result, TorchError};
pub use import::{Imported, import};
