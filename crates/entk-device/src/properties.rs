use candle_core::Device;

use crate::{device, error::Result};

/// What a GPU is and how much of its memory is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProperties {
    /// The maker's name.
    pub name: String,
    /// Compute capability, as (9, 0).
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub total_bytes: usize,
    /// Bytes of it that nobody holds now, those included that this program has freed and keeps.
    pub free_bytes: usize,
}

impl DeviceProperties {
    /// Those of a GPU; none for the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn of(device: &Device) -> Result<Option<Self>> {
        device::properties(device)
    }
}

/// GPUs that this program can open: 0 where there is no driver, and without the feature `cuda`.
pub fn device_count() -> usize {
    device::count()
}
