//! Assembly of empirical neural tangent kernel Gram matrices.
//!
//! [`gram`] and [`cross_gram`] take any [`Model`](entk_models::Model) and a batch of inputs, and
//! return an [`entk_spectral::Gram`]. One forward and backward sweep collects per-example
//! gradient factors; tiles of the lower triangle are then contractions of them. The
//! [`Strategy`] says which contraction, and the three are tested against each other.
#![forbid(unsafe_code)]

mod assemble;
mod config;
mod error;
mod features;
mod gram;
mod per_example;
mod sweeps;
mod tile;

pub use assemble::Observer;
pub use config::{GramConfig, Outputs, Strategy};
pub use error::{GramError, Result};
pub use gram::{cross_gram, gram, gram_observed};
