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
mod grid;
mod input_gram;
mod memory;
mod part;
mod plan;
mod progress;
mod store;
mod to_store;
mod units;

pub use assembly::Assembly;
pub use config::{Accumulate, GramConfig, Outputs, Strategy};
pub use device::{config::DeviceConfig, resident::DeviceGram, sizes::DevicePlan};
pub use error::{GramError, Result};
pub use estimate::ErrorEstimate;
pub use factors::form::{Form, LayerPlan};
pub use gram::{cross_gram, gram, gram_observed};
pub use grid::{Grid, TileIndex};
pub use input_gram::InputGram;
pub use memory::MemoryLimit;
pub use part::Part;
pub use plan::{Buffer, Plan, Target, rate::product_rate};
pub use progress::Observer;
pub use store::{Commit, Store, identity::Identity, rows::StoredRows};
pub use to_store::{StoreConfig, Stored};
