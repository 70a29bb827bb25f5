//! Loops along one axis of a tensor: copies of strided views, sums, weighted sums, largest entries,
//! and rows by their numbers. Pooling, resampling, reductions, shapes and look-ups are made of
//! them.

pub(crate) mod largest;
pub(crate) mod phases;
pub(crate) mod rows;
pub(crate) mod strided;
pub(crate) mod sums;
pub(crate) mod taps;
pub(crate) mod weighted;
