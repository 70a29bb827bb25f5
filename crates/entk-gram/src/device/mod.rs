//! The engine in tensor operations: the same code for tensors on a GPU and on the CPU.

mod assembled;
mod engine;
mod leaf;
mod pixels;
mod plan;
mod precision;
mod products;
mod schedule;
mod term;

pub use assembled::DeviceConfig;
pub use plan::DevicePlan;
pub use precision::Precision;
