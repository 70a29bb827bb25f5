//! Devices of the entk crates, CPU and CUDA, and what every crate needs below its algorithms.
//!
//! Device, precision and kernel launches are plain values here, so that algorithms in other crates
//! hold no conditional compilation: without the feature `cuda` the same names exist, and the CPU is
//! the only device.
//!
//! * [`DeviceChoice`]: which device a run uses, from a flag;
//! * [`Precision`], [`Operand`] and [`add_product`]: matrix products in a chosen arithmetic;
//! * [`Launch`]: a kernel with its sizes, compiled at first use and checked before it starts;
//! * [`to_device`]: tensors to another device;
//! * [`HostCopies`]: copies to the host that overlap with computation;
//! * [`Geometry`], [`Windows`], [`Activation`] and [`Function`]: what host loops and kernels
//!   compute by;
//! * [`InputSource`]: examples that are read some at a time;
//! * [`files`] and [`hash`]: files that are whole or absent, and what tells tensors apart;
//! * [`memory`]: what a process may have;
//! * [`self_test`]: known answers of every kernel on random data.
//!
//! This is the only crate of the family with unsafe code, and only its device module has any.
#![deny(unsafe_code)]

mod activation;
mod choice;
mod error;
pub mod files;
mod function;
mod geometry;
pub mod hash;
mod input_source;
mod launch;
pub use entk_memory as memory;
mod products;
mod properties;
mod self_test;
mod transfer;

#[cfg(feature = "cuda")]
#[expect(unsafe_code, reason = "calls of the driver, of cuBLAS and of our kernels")]
mod device;
#[cfg(not(feature = "cuda"))]
#[path = "no_device.rs"]
mod device;

pub use activation::Activation;
pub use choice::{DeviceChoice, OpenedDevice};
pub use device::{Entry, device_count};
pub use error::{DeviceError, Result};
pub use function::Function;
pub use geometry::{Geometry, Windows};
pub use input_source::{InputSource, SourceRange};
#[cfg(any(test, feature = "__host-check"))]
pub use launch::host::{HostCompiler, HostEntry};
pub use launch::{
    Launch,
    kernels::{Entrywise, ImageSizes, MaskPlace},
    sources::Source,
};
pub use products::{add_product, operand::Operand, precision::Precision};
pub use properties::{DeviceProperties, PoolUse};
pub use self_test::{known_answers::KnownAnswer, self_test};
pub use transfer::{host_copies::HostCopies, to_device};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
