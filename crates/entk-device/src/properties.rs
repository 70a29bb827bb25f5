//! What a GPU is: read by plans, which ask for free memory, and by the programs' reports.

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
    /// Free bytes, including those that this program has freed and its pool keeps.
    pub free_bytes: usize,
}

/// Bytes of a GPU's memory that tensors of this program hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Now.
    pub now: u64,
    /// The most since this was asked last.
    pub highest: u64,
}
