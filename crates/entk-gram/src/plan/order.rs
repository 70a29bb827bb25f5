//! In which order tiles and parameters are worked through: a summary of a schedule for plans.

use std::fmt;

use entk_device::memory::in_gib;
use serde::Serialize;

use crate::plan::{schedule::Schedule, workload::Workload};

/// In which order the work is done, and the memory it takes where the products are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Whether all operands are resident and tiles are finished one by one; else the tiles are
    /// resident, and the parameters are split.
    pub resident_operands: bool,
    /// Tiles that one set of sweeps serves, of `tiles`: all, unless they do not fit.
    pub resident_tiles: usize,
    /// Tiles to compute.
    pub tiles: usize,
    /// Sweeps over all examples, for each set of resident tiles.
    pub sweeps: usize,
    /// Passes over the resident tiles.
    pub passes: usize,
    /// Largest memory in use, in bytes.
    pub peak: u64,
    /// Memory that may be used.
    pub limit: u64,
}

impl Order {
    pub(crate) fn new(work: &Workload, schedule: &Schedule) -> Self {
        let resident_operands = schedule.operands_are_resident();
        // Where factors are operands, each chunk of them takes a sweep.
        let sweeps =
            if work.bytes_per_kept == 0 { schedule.passes() } else { schedule.groups.len() };
        Self {
            resident_operands,
            resident_tiles: if resident_operands { work.tiles } else { schedule.tiles },
            tiles: work.tiles,
            sweeps,
            passes: schedule.passes(),
            peak: schedule.peak,
            limit: work.limit,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tiles, resident_tiles, sweeps, passes, .. } = self;
        match self.resident_operands {
            true => write!(f, "all operands resident, {tiles} tiles one by one"),
            false => write!(
                f,
                "parameters split: {resident_tiles} of {tiles} tiles resident, {sweeps} sweeps and \
                 {passes} passes for each such set"
            ),
        }?;
        write!(f, "; peak {} of {}", in_gib(self.peak), in_gib(self.limit))
    }
}
