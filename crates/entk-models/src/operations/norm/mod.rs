//! Normalisations.

mod normalize;
mod normalize_batch;

pub use normalize::Normalize;
pub use normalize_batch::NormalizeBatch;
