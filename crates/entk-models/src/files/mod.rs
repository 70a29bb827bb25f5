//! Files of weights: our own, and those of flax.

pub(crate) mod flax;
pub(crate) mod tensors;
pub(crate) mod weights;
