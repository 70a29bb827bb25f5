//! The engine in tensor operations: the same code for tensors on a GPU and on the CPU.

mod assembled;
mod deal;
mod engine;
mod fused;
mod leaf;
mod plan;
mod products;
mod resident;
mod schedule;
mod term;

pub use assembled::DeviceConfig;
pub use plan::DevicePlan;
pub(crate) use plan::Probe;
pub use resident::DeviceGram;
pub(crate) use schedule::edge as device_edge;
