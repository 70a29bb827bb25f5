//! Training in the space of weights: a whole run, or one epoch at a time with checkpoints.

mod checkpoint;
pub(crate) mod fit;
mod gradient;
pub(crate) mod trainer;
