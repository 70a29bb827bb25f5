use entk_models::Factor;

use super::{
    engine::{batch_leaves, settled},
    leaf::LeafSize,
    schedule::{Demand, SCRATCH_TILES, Schedule},
};
use crate::{
    assembly::Assembly,
    config::GramConfig,
    error::Result,
    plan::{LayerPlan, backward_operations, in_flight},
    sweeps::factors_from,
};

/// How a kernel will be assembled on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// Whether all operands are resident and tiles are finished one by one; else the tiles are resident,
    /// and the parameters are split.
    pub resident_rows: bool,
    /// Edge of the tiles.
    pub edge: usize,
    /// Tiles that are resident at a time, of `tiles`.
    pub resident_tiles: usize,
    /// Tiles of the lower triangle.
    pub tiles: usize,
    /// Sweeps over all examples, for each set of resident tiles.
    pub sweeps: usize,
    /// Passes over the resident tiles.
    pub passes: usize,
    /// Largest memory of the device in use, in bytes.
    pub peak: u64,
    /// Memory that it may have.
    pub limit: u64,
}

/// What one example shows of all.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) leaves: Vec<LeafSize>,
    /// Numbers of a sweep, per example: values and cotangents of all layers, and the patches of one.
    pub(crate) in_flight: usize,
    /// Operations of the products of a sweep, per example.
    pub(crate) operations: f64,
}

impl Probe {
    pub(crate) fn new(assembly: &Assembly<'_>) -> Result<Self> {
        let config = GramConfig { micro_batch: 1, ..assembly.config.clone() };
        let one = Assembly { config, ..assembly.borrowed() };
        let swept = factors_from(one.model, one.params, one.inputs, &one.config, 0)?;
        let factors: Vec<Factor> = swept.groups.into_iter().take(1).flatten().collect();
        let last = factors.len().saturating_sub(1);
        let patches = |factor: &Factor| match factor {
            Factor::Conv { geometry, .. } => geometry.patch() * geometry.output_pixels(),
            _ => 0,
        };
        let backward = factors.iter().enumerate();
        let backward: f64 = backward.map(|(at, f)| backward_operations(f, at == last)).sum();
        let leaves = batch_leaves(&one, one.inputs, 0)?;
        Ok(Self {
            leaves: leaves.into_iter().map(|l| Ok(settled(l)?.size())).collect::<Result<_>>()?,
            // Values and cotangents, of each layer and of the activation after it.
            in_flight: 2 * factors.iter().map(in_flight).sum::<usize>()
                + 2 * factors.iter().map(patches).max().unwrap_or(0),
            operations: assembly.model.operations() + backward,
        })
    }

    /// The layers, last first.
    pub(crate) fn layers(&self) -> Vec<LayerPlan> {
        self.leaves.iter().map(|size| size.layer.clone()).collect()
    }
}

/// The memory that tiles of this many rows and this many of them leave to decide about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Rows of the kernel, of both sides where they differ.
    pub(crate) rows: usize,
    /// Examples.
    pub(crate) examples: usize,
    /// Numbers of one example.
    pub(crate) example: usize,
    /// Parameters and statistics.
    pub(crate) parameters: usize,
    /// Edge of a tile.
    pub(crate) edge: usize,
    /// Tiles to compute.
    pub(crate) tiles: usize,
    /// Examples of a sweep.
    pub(crate) micro_batch: usize,
    /// Bytes of a number of the parameters, of an operand, and of the kernel.
    pub(crate) bytes: [u64; 3],
    /// Memory of the device.
    pub(crate) limit: u64,
}

impl Sizes {
    pub(crate) fn demand(&self, probe: &Probe) -> Demand {
        let [item, operand, entry] = self.bytes;
        Demand {
            leaves: probe.leaves.clone(),
            rows: self.rows,
            block: self.edge,
            tiles: self.tiles,
            item,
            operand,
            entry,
            held: (self.examples * self.example + self.parameters) as u64 * item,
            sweep: (self.micro_batch * probe.in_flight) as u64 * item,
            limit: self.limit,
        }
    }

    /// The plan in words.
    pub(crate) fn plan(&self, schedule: &Schedule) -> DevicePlan {
        let resident_rows = schedule.rows_are_resident();
        DevicePlan {
            resident_rows,
            edge: self.edge,
            resident_tiles: if resident_rows { SCRATCH_TILES as usize } else { schedule.tiles },
            tiles: self.tiles,
            sweeps: schedule.groups.len(),
            passes: schedule.passes(),
            peak: schedule.peak,
            limit: self.limit,
        }
    }
}
