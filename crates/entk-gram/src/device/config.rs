//! Settings of an assembly in tensor operations.

use candle_core::Device;
use entk_device::Precision;

/// How a kernel is assembled in tensor operations: on the device of its parameters, by the same
/// code wherever that is.
///
/// The memory decides between two orders of work. Where the operands of all products fit, each tile
/// is finished at once. Else the tiles stay and the parameters are split: a sweep keeps the
/// gradient factors of a group of layers for all examples, chunk by chunk they become rows, each
/// formed once, and every tile takes their product; [`Assembly::plan`] says how many sweeps that
/// takes. The bits depend on the device, the precision and the edge of the tiles, not on the memory
/// or the number of devices. [`GramConfig`](crate::GramConfig) holds but for `tile` and
/// `expansion`, which are the CPU engine's.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `precision` | that of the parameters | arithmetic of the kernel's products |
/// | `memory` | what the device has free | bytes that may be used |
/// | `edge` | 1,024 to 2,048 | edge of the tiles of a kernel in memory |
/// | `together` | all that fit | tiles that are resident, and finished, together |
/// | `devices` | none | other devices that share the work |
#[derive(Debug, Clone, Default)]
pub struct DeviceConfig {
    /// What the operands of products are rounded to.
    pub precision: Option<Precision>,
    /// Bytes of the device's memory.
    pub memory: Option<u64>,
    /// Edge of the tiles in memory; a store has its own.
    pub edge: Option<usize>,
    /// Tiles that are finished together where tiles are resident, at most: a store keeps each
    /// finished set, and each repeats the sweeps.
    pub together: Option<usize>,
    /// Devices besides that of the parameters; each takes a share of the tiles, and gets its own
    /// copy of parameters and inputs.
    pub devices: Vec<Device>,
}
