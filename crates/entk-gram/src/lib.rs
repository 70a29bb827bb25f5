//! Assembly of empirical neural tangent kernel Gram matrices.
//!
//! [`gram`] and [`cross_gram`] take any [`Model`](entk_models::Model) and a batch of inputs, and
//! return an [`entk_spectral::Gram`]. One forward and backward sweep collects per-example
//! gradient factors; tiles of the lower triangle are then contractions of them. The
//! [`Strategy`] says which contraction, and the three are tested against each other.
//! [`Assembly`] is the same as a value, with progress and a way to stop it, and
//! [`Assembly::store`] writes the tiles to a [`Store`] on disk that any interruption leaves
//! resumable.
#![forbid(unsafe_code)]

mod assembly;
mod config;
mod cpu;
mod device;
mod error;
mod estimate;
mod factors;
mod gram;
mod input_gram;
mod jacobian;
mod memory;
mod micro_batch;
mod ntk;
pub mod plan;
mod progress;
pub mod store;
mod tiles;
mod to_store;
mod ways;

pub use assembly::Assembly;
pub use config::{Accumulate, CpuConfig, DeviceConfig, Engine, GramConfig, Outputs, Strategy};
pub use device::{resident::DeviceGram, streamed::StreamedGram};
pub use entk_device::{InputSource, memory::MemoryLimit};
pub use error::{GramError, Result};
pub use estimate::ErrorEstimate;
pub use gram::{cross_gram, gram, gram_observed};
pub use input_gram::InputGram;
pub use jacobian::JacobianOperator;
pub use plan::rate::product_rate;
pub use progress::Observer;
pub use store::{Store, StoreConfig};
pub use ways::{Cluster, CostProbe, EigenpairsCost, PassRate, Way, WayCost};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
