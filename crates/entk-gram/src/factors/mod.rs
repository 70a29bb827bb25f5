//! Gradient factors, their sizes and forms, and the oracle that forms every gradient by itself.

pub(crate) mod form;
pub(crate) mod outputs;
pub(crate) mod per_example;
