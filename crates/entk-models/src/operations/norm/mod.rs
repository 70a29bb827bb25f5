//! Normalisations.

mod normalize_batch;

pub use normalize_batch::NormalizeBatch;
