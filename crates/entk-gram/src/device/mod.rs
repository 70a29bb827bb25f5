//! The engine in tensor operations: the same code for tensors on a GPU and on the CPU.

mod arithmetic;
mod engine;
mod fused;
mod images;
mod kept;
mod multi_device;
mod operand;
pub(crate) mod plan;
pub(crate) mod resident;
pub(crate) mod run;
pub(crate) mod streamed;
