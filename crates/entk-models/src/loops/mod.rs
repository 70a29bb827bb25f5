//! The hot loops behind the layers, and the functions of tensors that call them.

pub(crate) mod add_scaled;
pub(crate) mod attention;
pub(crate) mod axis;
pub(crate) mod batched;
pub(crate) mod channel;
pub(crate) mod conv;
pub(crate) mod entrywise;
pub(crate) mod host_op;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod padding;
pub(crate) mod pool;
pub(crate) mod real;
pub(crate) mod row;
