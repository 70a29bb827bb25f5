use std::fmt;

use entk_models::Factor;

use crate::{
    assembly::Assembly,
    config::GramConfig,
    device::{
        engine::{batch_leaves, settled},
        leaf::LeafSize,
        schedule::{Demand, Schedule},
    },
    error::Result,
    factors::{
        factors_from,
        form::{LayerPlan, backward_operations, in_flight},
    },
    units::gib,
};

/// How a kernel will be assembled on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// Whether all operands are resident and tiles are finished one by one; else the tiles are
    /// resident, and the parameters are split.
    pub resident_rows: bool,
    /// Edge of the tiles.
    pub edge: usize,
    /// Tiles that one set of sweeps serves, of `tiles`: all, unless they do not fit.
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

impl fmt::Display for DevicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edge, tiles, resident_tiles, sweeps, passes, .. } = self;
        match self.resident_rows {
            true => write!(f, "device: all rows resident, {tiles} tiles of {edge} one by one"),
            false => write!(
                f,
                "device: {resident_tiles} of {tiles} tiles of {edge} resident, {sweeps} sweeps and \
                 {passes} passes for each such set"
            ),
        }?;
        write!(f, "; peak {} of {}", gib(self.peak), gib(self.limit))
    }
}

/// What one example shows of all.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) leaves: Vec<LeafSize>,
    /// Numbers of a sweep, per example: values and cotangents of all layers, and the patches of
    /// one.
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
    /// Tiles that may be resident together.
    pub(crate) together: usize,
    /// Whether they all stay on the device.
    pub(crate) stay: bool,
    /// Examples of a sweep.
    pub(crate) micro_batch: usize,
    /// Bytes of a number of the parameters, of an operand, and of the kernel.
    pub(crate) bytes: [u64; 3],
    /// Columns that one product sums.
    pub(crate) depth: usize,
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
            together: self.together,
            stay: self.stay,
            item,
            operand,
            entry,
            held: (self.examples * self.example + self.parameters) as u64 * item,
            sweep: (self.micro_batch * probe.in_flight) as u64 * item,
            depth: self.depth,
            limit: self.limit,
        }
    }

    /// The plan in words.
    pub(crate) fn plan(&self, schedule: &Schedule) -> DevicePlan {
        let resident_rows = schedule.rows_are_resident();
        DevicePlan {
            resident_rows,
            edge: self.edge,
            resident_tiles: if resident_rows { self.tiles } else { schedule.tiles },
            tiles: self.tiles,
            sweeps: schedule.groups.len(),
            passes: schedule.passes(),
            peak: schedule.peak,
            limit: self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use entk_models::{Model, Params, ResNetConfig};

    use super::*;

    /// The paper's ResNet18 at its initial law or moved away from it, seen on one image.
    fn resnet18(moved: f64) -> Result<Probe> {
        let network = ResNetConfig::default().network()?;
        let theta = network.init(0, DType::F32, &Device::Cpu)?;
        let noise = Params::standard_normal(&network.specs(), 1, DType::F32, &Device::Cpu)?;
        let theta = theta.add_scaled(moved, &noise)?;
        let x = Tensor::randn(0f32, 1.0, (1, 3, 32, 32), &Device::Cpu)?;
        Probe::new(&Assembly::new(&network, &theta, &x, &GramConfig::default())?)
    }

    /// So many images in tiles of 2,048 on a GPU of 78 GiB.
    fn plan(probe: &Probe, n: usize, operand: u64) -> Result<(DevicePlan, Schedule)> {
        let side = n.div_ceil(2048);
        let sizes = Sizes {
            rows: n,
            examples: n,
            example: 3 * 32 * 32,
            parameters: 11_169_345,
            edge: 2048,
            tiles: side * (side + 1) / 2,
            together: usize::MAX,
            stay: false,
            micro_batch: 64,
            bytes: [4, operand, 4],
            depth: 8192,
            limit: 78 << 30,
        };
        let schedule = Schedule::new(&sizes.demand(probe))?;
        Ok((sizes.plan(&schedule), schedule))
    }

    /// Multiply-adds of all products of one pair of images.
    fn columns(probe: &Probe) -> usize {
        probe.leaves.iter().map(|size| size.layer.columns).sum()
    }

    #[test]
    fn resnet18_of_60_000_images_fits_78_gib() -> Result<()> {
        let initial = resnet18(0.0)?;
        let (small, _) = plan(&initial, 60_000, 4)?;
        // 180,033 parameters are active: 43.2 GB of rows.
        assert_eq!(columns(&initial), 180_033);
        assert!(small.resident_rows && small.sweeps == 1, "{small}");
        assert!((44..48).contains(&(small.peak / 1_000_000_000)), "{small}");

        let moved = resnet18(0.01)?;
        // Rows of 11,169,345 parameters, but 3 layers of 2,359,296 by pairs of 16 pixels.
        let pixels = 3 * 256 * (512 + 512);
        assert_eq!(columns(&moved), 11_169_345 - 3 * 2_359_296 + pixels);
        for (operand, sweeps, passes) in [(4, 4, 300), (2, 4, 300), (8, 4, 620)] {
            let (large, schedule) = plan(&moved, 60_000, operand)?;
            assert!(!large.resident_rows, "{large}");
            // All tiles at once: no sweep is repeated.
            assert_eq!((large.resident_tiles, large.tiles), (465, 465), "{large}");
            assert!(large.sweeps <= sweeps && large.passes <= passes, "{large}");
            assert!(large.peak <= large.limit && large.peak > large.limit / 2, "{large}");
            assert!(schedule.groups.iter().all(|group| !group.chunks.is_empty()));
        }
        // A fifth of the images: one sweep.
        assert_eq!(plan(&moved, 12_000, 4)?.0.sweeps, 1);
        Ok(())
    }
}
