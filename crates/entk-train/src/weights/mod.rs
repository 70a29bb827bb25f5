//! Training of any model in the space of its weights: whole runs in `fit`, one epoch at a time in
//! `trainer`, with the gradient of a minibatch and with checkpoints.

mod checkpoint;
pub(crate) mod fit;
mod gradient;
pub(crate) mod trainer;
