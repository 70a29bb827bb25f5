//! The engine in tensor operations: the same code for tensors on a GPU and on the CPU.

mod assembled;
mod engine;
mod leaf;
mod pixels;
mod plan;
mod products;
mod schedule;
mod term;

pub use assembled::DeviceConfig;
pub(crate) use assembled::host;
pub use plan::DevicePlan;
pub(crate) use plan::Probe;
pub(crate) use schedule::edge as device_edge;
