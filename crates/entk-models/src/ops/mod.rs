//! Kernels behind the layers, and the tensor functions that call them.

pub(crate) mod activation;
pub(crate) mod add_scaled;
pub(crate) mod channel;
pub(crate) mod conv;
mod conv_products;
pub(crate) mod conv_rows;
pub(crate) mod entrywise;
pub(crate) mod geometry;
pub(crate) mod kernel;
pub(crate) mod lowering;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod norm_channels;
mod patches;
pub(crate) mod pool;
pub(crate) mod real;
