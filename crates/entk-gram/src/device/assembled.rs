use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use entk_cuda::{DeviceProperties, Precision};
use entk_models::Real;

use super::{
    engine::{Block, DeviceEngine},
    plan::{DevicePlan, Probe, Sizes},
    products::Arithmetic,
    schedule::{Schedule, edge},
};
use crate::{
    assembly::{Assembly, zeros},
    error::{GramError, Result},
    grid::{Grid, TileIndex},
    memory::MemoryLimit,
};

/// Columns that one product sums before the next adds to it: long enough that reading and writing the tile
/// is a few per cent of the time, short enough for sums in f32.
const DEPTH: usize = 8192;
/// The same where a wider type sums what products in f32 give.
const WIDE_DEPTH: usize = 1024;

/// How a kernel is assembled in tensor operations.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `precision` | that of the parameters | arithmetic of the kernel's products |
/// | `memory` | what the device has free | bytes that may be used |
/// | `edge` | 1,024 to 2,048 | edge of the tiles of a kernel in memory |
#[derive(Debug, Clone, Default)]
pub struct DeviceConfig {
    /// What the operands of products are rounded to.
    pub precision: Option<Precision>,
    /// Bytes of the device's memory.
    pub memory: Option<u64>,
    /// Edge of the tiles in memory; a store has its own.
    pub edge: Option<usize>,
}

impl Assembly<'_> {
    /// How this kernel is assembled in tensor operations, if it is.
    pub(crate) fn device_config(&self) -> Option<DeviceConfig> {
        let elsewhere = !self.params.device().is_cpu();
        self.device.clone().or_else(|| elsewhere.then(DeviceConfig::default))
    }

    /// What computes the products: part of what the bits of a kernel depend on.
    pub(crate) fn engine_name(&self) -> String {
        let Some(config) = self.device_config() else { return "cpu".into() };
        let device = if self.params.device().is_cpu() { "the CPU" } else { "CUDA" };
        format!("tensors on {device}, {}", self.precision(&config))
    }

    fn precision(&self, config: &DeviceConfig) -> Precision {
        let is_double = self.params.dtype() == DType::F64;
        config.precision.unwrap_or(if is_double { Precision::F64 } else { Precision::F32 })
    }

    /// The rows of the kernel of these inputs, cut at `edge`.
    pub(crate) fn blocks(&self, inputs: &Tensor, edge: usize) -> Result<Vec<Block>> {
        let per = self.rows_of(inputs)? / inputs.dim(0)?;
        let grid = Grid::new(self.rows_of(inputs)?, edge);
        let block = |rows: Range<usize>| {
            let (first, last) = (rows.start / per, rows.end.div_ceil(per));
            let inputs = inputs.narrow(0, first, last - first)?;
            Ok(Block { inputs, skip: rows.start - first * per, rows: rows.len() })
        };
        (0..grid.side()).map(|at| block(grid.examples(at))).collect()
    }

    /// The kernel with `others`, or its lower triangle with itself, row-major on the host.
    pub(crate) fn by_device<A: Real>(
        &self,
        others: Option<&Tensor>,
        config: &DeviceConfig,
    ) -> Result<Vec<A>> {
        let (m, n) = (self.rows_of(self.inputs)?, self.rows_of(others.unwrap_or(self.inputs))?);
        let edge = config.edge.unwrap_or_else(|| edge(m.max(n))).max(1);
        let (rows, cols) = (Grid::new(m, edge), Grid::new(n, edge));
        // The columns of other inputs have blocks of their own, behind those of the rows.
        let first = if others.is_some() { rows.side() } else { 0 };
        let tiles: Vec<TileIndex> = match others {
            None => rows.lower().collect(),
            Some(_) => {
                let row = |i| (0..cols.side()).map(move |j| TileIndex(i, first + j));
                (0..rows.side()).flat_map(row).collect()
            }
        };
        let mut blocks = self.blocks(self.inputs, edge)?;
        if let Some(others) = others {
            blocks.extend(self.blocks(others, edge)?);
        }
        let engine = self.device_engine(blocks, edge, &tiles, config)?;
        let mut entries = zeros::<A>(m, n)?;
        let watch = self.watch(tiles.iter().map(|tile| engine.work(*tile)).sum());
        engine.run(&tiles, &watch, &mut |tile, values| {
            let (values, width) = (host::<A>(&values)?, values.dim(1)?);
            let (row, col) = (rows.examples(tile.0).start, cols.examples(tile.1 - first).start);
            for (i, from) in values.chunks_exact(width).enumerate() {
                let at = (row + i) * n + col;
                entries[at..at + width].copy_from_slice(from);
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// The engine for some tiles between blocks of up to `edge` rows.
    pub(crate) fn device_engine(
        &self,
        blocks: Vec<Block>,
        edge: usize,
        tiles: &[TileIndex],
        config: &DeviceConfig,
    ) -> Result<DeviceEngine<'_>> {
        if self.products.is_some() {
            let reason = "products of inputs serve the CPU's engine; a device computes them faster \
                          than it could read them";
            return Err(GramError::Unsupported(reason));
        }
        let arithmetic = self.arithmetic(config)?;
        let sizes = self.sizes(&blocks, tiles.len(), edge, config)?;
        let schedule = Schedule::new(&sizes.demand(&Probe::new(self)?))?;
        Ok(DeviceEngine { assembly: self, blocks, schedule, arithmetic })
    }

    fn sizes(
        &self,
        blocks: &[Block],
        tiles: usize,
        edge: usize,
        config: &DeviceConfig,
    ) -> Result<Sizes> {
        let width = |dtype: DType| dtype.size_in_bytes() as u64;
        let examples = blocks.iter().map(|block| block.inputs.dim(0));
        let item = width(self.params.dtype());
        Ok(Sizes {
            rows: blocks.iter().map(|block| block.rows).sum(),
            examples: examples.sum::<std::result::Result<usize, _>>()?,
            example: self.inputs.elem_count() / self.inputs.dim(0)?,
            parameters: self.params.count(),
            edge,
            tiles,
            micro_batch: self.config.micro_batch,
            bytes: [item, operand_bytes(self.precision(config)), width(self.dtype())],
            depth: if item == width(self.dtype()) { DEPTH } else { WIDE_DEPTH },
            limit: device_memory(self.params.device(), config)?,
        })
    }

    fn arithmetic(&self, config: &DeviceConfig) -> Result<Arithmetic> {
        let precision = self.precision(config);
        if (precision == Precision::F64) != (self.params.dtype() == DType::F64) {
            let reason = "products in f64 go with parameters in f64, all others with f32";
            return Err(GramError::Unsupported(reason));
        }
        Ok(Arithmetic { precision, entry: self.dtype() })
    }

    /// The plan on a device for the lower triangle in tiles of `edge`.
    pub(crate) fn device_plan(
        &self,
        edge: usize,
        probe: &Probe,
        config: &DeviceConfig,
    ) -> Result<DevicePlan> {
        let blocks = self.blocks(self.inputs, edge)?;
        let tiles = Grid::new(self.rows_of(self.inputs)?, edge).lower().count();
        let sizes = self.sizes(&blocks, tiles, edge, config)?;
        Ok(sizes.plan(&Schedule::new(&sizes.demand(probe))?))
    }
}

/// Memory that an assembly may use on a device.
fn device_memory(device: &Device, config: &DeviceConfig) -> Result<u64> {
    if let Some(bytes) = config.memory {
        return Ok(bytes);
    }
    if let Some(properties) = DeviceProperties::of(device)? {
        return Ok(properties.free_bytes as u64);
    }
    Ok(MemoryLimit::detect(None).map_or(u64::MAX, |limit| limit.bytes))
}

/// Bytes of one number as products read it.
fn operand_bytes(precision: Precision) -> u64 {
    match precision {
        Precision::Bf16 => 2,
        Precision::F32 | Precision::Tf32 | Precision::Bf16x3 => 4,
        Precision::F64 | Precision::Tf32x3 => 8,
    }
}

/// The entries of a tile, row-major.
pub(crate) fn host<A: Real>(tile: &Tensor) -> Result<Vec<A>> {
    Ok(tile.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<A>()?)
}
