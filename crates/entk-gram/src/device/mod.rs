//! The engine in tensor operations: the same code for tensors on a GPU and on the CPU.

pub(crate) mod arithmetic;
pub(crate) mod config;
pub(crate) mod engine;
mod fused;
mod leaf;
mod multi_device;
pub(crate) mod resident;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod sizes;
mod term;
