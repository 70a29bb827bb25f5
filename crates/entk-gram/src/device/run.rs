use std::{collections::VecDeque, ops::Range};

use candle_core::{DType, Device, Tensor};
use entk_device::{DeviceProperties, Entry, HostCopies, Precision};
use entk_models::{Params, Real};

use crate::{
    assembly::Assembly,
    device::{
        arithmetic::Arithmetic,
        config::DeviceConfig,
        engine::{Block, DeviceEngine, HostSink},
        multi_device::{run_on_all, shares},
        schedule::{Schedule, edge},
        sizes::{DevicePlan, Probe, Sizes},
    },
    error::{GramError, Result},
    grid::{Grid, TileIndex},
    memory::{MemoryLimit, zeros},
    progress::Watch,
};

/// Columns that one product sums before the next adds to it: long enough that reading and writing
/// the tile is a few per cent of the time, short enough for sums in f32.
const DEPTH: usize = 8192;
/// The same where a wider type sums what products in f32 give.
const WIDE_DEPTH: usize = 1024;
/// Tiles that are copied to the host at a time.
const COPIES: usize = 2;

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
    pub(crate) fn by_device<A: Real + Entry>(
        &self,
        others: Option<&Tensor>,
        config: &DeviceConfig,
    ) -> Result<Vec<A>> {
        let (m, n) = (self.rows_of(self.inputs)?, self.rows_of(others.unwrap_or(self.inputs))?);
        let edge = config.edge.unwrap_or_else(|| edge(m.max(n))).clamp(1, m.max(n));
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
        let mut entries = zeros::<A>(m, n)?;
        self.device_tiles(blocks, edge, &tiles, config, &mut |tile, values: &[A]| {
            let (rows, cols) = (rows.examples(tile.0), cols.examples(tile.1 - first));
            for (row, from) in rows.zip(values.chunks_exact(cols.len())) {
                entries[row * n + cols.start..row * n + cols.end].copy_from_slice(from);
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// Computes tiles between blocks of up to `edge` rows on the device of the parameters and the
    /// others of `config`, and passes their entries, row-major, to `sink`.
    pub(crate) fn device_tiles<A: Real + Entry>(
        &self,
        blocks: Vec<Block>,
        edge: usize,
        tiles: &[TileIndex],
        config: &DeviceConfig,
        sink: &mut HostSink<'_, A>,
    ) -> Result<()> {
        if self.products.is_some() {
            let reason = "products of inputs serve the CPU's engine; a device computes them faster \
                          than it could read them";
            return Err(GramError::Unsupported(reason));
        }
        let copies = (config.devices.iter())
            .map(|device| Copy::new(self, &blocks, device))
            .collect::<Result<Vec<_>>>()?;
        let assemblies: Vec<_> = copies.iter().map(|copy| copy.assembly(self)).collect();
        let work = |tile: TileIndex| blocks[tile.0].rows * blocks[tile.1].rows;
        let shares = shares(tiles, 1 + copies.len(), work);
        let mut engines =
            vec![self.device_engine(blocks.clone(), edge, shares[0].len(), false, config)?];
        for ((assembly, copy), share) in assemblies.iter().zip(&copies).zip(&shares[1..]) {
            let blocks = copy.blocks.clone();
            engines.push(assembly.device_engine(blocks, edge, share.len(), false, config)?);
        }
        let works = engines.iter().zip(&shares);
        let works = works.flat_map(|(engine, share)| share.iter().map(|tile| engine.work(*tile)));
        let watch = self.watch(works.sum());
        match engines.as_slice() {
            [engine] => copied_to_host(engine, tiles, &watch, sink),
            engines => run_on_all(
                &shares,
                |at, tiles, sink| copied_to_host(&engines[at], tiles, &watch, sink),
                sink,
            ),
        }
    }

    /// The engine for so many tiles between blocks of up to `edge` rows, which may all `stay`.
    pub(crate) fn device_engine(
        &self,
        blocks: Vec<Block>,
        edge: usize,
        tiles: usize,
        stay: bool,
        config: &DeviceConfig,
    ) -> Result<DeviceEngine<'_>> {
        let arithmetic = self.arithmetic(config)?;
        let sizes = Sizes { stay, ..self.sizes(&blocks, tiles.max(1), edge, config)? };
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
            together: config.together.unwrap_or(tiles),
            stay: false,
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
    // What was freed counts once the work that used it is done.
    device.synchronize()?;
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

/// Runs an engine whose finished tiles are copied to the host while the next are computed.
fn copied_to_host<A: Real + Entry>(
    engine: &DeviceEngine<'_>,
    tiles: &[TileIndex],
    watch: &Watch<'_>,
    sink: &mut HostSink<'_, A>,
) -> Result<()> {
    let Some(capacity) = tiles.iter().map(|tile| engine.entries(*tile)).max() else {
        return Ok(());
    };
    let mut copies = HostCopies::<A>::new(engine.assembly.params.device(), capacity, COPIES)?;
    let mut under_way = VecDeque::new();
    let mut take = |copies: &mut HostCopies<A>, under_way: &mut VecDeque<TileIndex>| {
        let Some(tile) = under_way.pop_front() else { return Ok(()) };
        copies.take(|values| sink(tile, values))?.unwrap_or(Ok(()))
    };
    let ran = engine.run(tiles, watch, &mut |tile, values| {
        if copies.is_full() {
            take(&mut copies, &mut under_way)?;
        }
        copies.start(values.contiguous()?)?;
        under_way.push_back(tile);
        Ok(())
    });
    // Tiles that were finished before a stop are kept.
    while !copies.is_empty() {
        take(&mut copies, &mut under_way)?;
    }
    ran
}

/// Parameters and inputs on another device.
struct Copy {
    params: Params,
    inputs: Tensor,
    blocks: Vec<Block>,
}

impl Copy {
    fn new(assembly: &Assembly<'_>, blocks: &[Block], device: &Device) -> Result<Self> {
        let block =
            |block: &Block| Ok(Block { inputs: block.inputs.to_device(device)?, ..block.clone() });
        Ok(Self {
            params: assembly.params.to_device(device)?,
            // One example shows the layers; the blocks have the rest.
            inputs: assembly.inputs.narrow(0, 0, 1)?.to_device(device)?,
            blocks: blocks.iter().map(block).collect::<Result<_>>()?,
        })
    }

    fn assembly<'a>(&'a self, of: &'a Assembly<'_>) -> Assembly<'a> {
        Assembly { params: &self.params, inputs: &self.inputs, ..of.borrowed() }
    }
}
