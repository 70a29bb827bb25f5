//! CUDA devices for the entk crates.
//!
//! Device, precision and kernel launches are plain values here, so that algorithms in other crates
//! hold no conditional compilation: without the feature `cuda` the same names exist, and the CPU is
//! the only device.
//!
//! * [`DeviceChoice`]: which device a run uses, from a flag;
//! * [`Precision`], [`Operand`] and [`add_product`]: matrix products in a chosen arithmetic;
//! * [`Launch`]: a kernel with its sizes, compiled at first use and checked before it starts;
//! * [`HostCopies`]: copies to the host that overlap with computation;
//! * [`files`] and [`hash`]: files that are whole or absent, and what tells tensors apart;
//! * [`self_test`]: known answers of every kernel on random data.
//!
//! This is the only crate of the family with unsafe code, and only its device module has any.
#![deny(unsafe_code)]

mod choice;
mod error;
pub mod files;
pub mod hash;
#[cfg(any(test, feature = "host-check"))]
mod host;
mod host_copies;
mod kernels;
mod known;
mod launch;
mod operand;
mod precision;
mod product;
mod properties;
#[cfg(any(test, feature = "cuda", feature = "host-check"))]
mod sizes;
mod sources;

#[cfg(feature = "cuda")]
#[expect(unsafe_code, reason = "calls of the driver, of cuBLAS and of our kernels")]
mod device;
#[cfg(not(feature = "cuda"))]
#[path = "no_device.rs"]
mod device;

pub use choice::{DeviceChoice, OpenedDevice};
pub use device::Entry;
pub use error::{DeviceError, Result};
#[cfg(any(test, feature = "host-check"))]
pub use host::{HostCompiler, HostEntry};
pub use host_copies::HostCopies;
pub use kernels::{
    Entrywise, ImageSizes, MaskPlace, Nonlinearity, PatchSizes, PixelSizes, PoolSizes,
};
pub use known::{KernelCheck, self_test};
pub use launch::Launch;
pub use operand::Operand;
pub use precision::Precision;
pub use product::add_product;
pub use properties::{DeviceProperties, device_count};
pub use sources::Source;
