//! What the engine in tensor operations needs, for its schedule and for plans.

use candle_core::{DType, Device};
use entk_device::{DeviceProperties, Precision, memory::MemoryLimit};
use entk_models::NodeSummary;

use crate::{
    config::{DeviceConfig, Strategy},
    device::{
        engine::Block,
        kept::{COSTS, layer_sizes},
        operand::strip_side,
    },
    error::Result,
    factors::form::{FactorSizes, Form},
    ntk::Ntk,
    plan::{EngineCosts, Place, Plan, Target, workload::Workload},
    tiles::Tiles,
};

/// Columns that one product sums before the next adds to it: long enough that reading and writing
/// the tile is a few per cent of the time, short enough for sums in f32.
const DEPTH: usize = 8192;
/// That where a wider type sums what products in f32 give.
const WIDE_DEPTH: usize = 1024;
/// Share of a device's memory that is planned with; allocators lose some to fragments.
const SHARE: f64 = 0.95;
/// One part in so many of the memory goes to a chunk of operands.
const CHUNK_SHARE: u64 = 32;
/// Tiles that exist beside those of the kernel: the products of an entry-wise form and their sum.
const SCRATCH_TILES: u64 = 4;

/// Edge of the tiles of a kernel of n rows that goes to memory: large enough for fast products,
/// small enough that the halves of tiles above the diagonal are few.
pub(crate) fn default_edge(n: usize) -> usize {
    (n / 8).next_power_of_two().clamp(1024, 2048).min(n)
}

/// What the operands of products are rounded to.
pub(crate) fn precision(ntk: &Ntk<'_>, config: &DeviceConfig) -> Precision {
    let is_double = ntk.params.dtype() == DType::F64;
    config.precision.unwrap_or(if is_double { Precision::F64 } else { Precision::F32 })
}

/// What computes the products: part of what the bits of a kernel depend on.
pub(crate) fn engine_name(ntk: &Ntk<'_>, config: &DeviceConfig) -> String {
    let device = if ntk.params.device().is_cpu() { "the CPU" } else { "CUDA" };
    format!("tensors on {device}, {}", precision(ntk, config))
}

/// What the engine of one device has to compute and to hold.
pub(crate) fn workload(
    ntk: &Ntk<'_>,
    blocks: &[Block],
    tiles: &Tiles<'_>,
    config: &DeviceConfig,
) -> Result<Workload> {
    let width = |dtype: DType| dtype.size_in_bytes() as u64;
    let (item, entry) = (width(ntk.params.dtype()), width(ntk.dtype()));
    let inputs: usize = blocks.iter().map(|block| block.inputs.elem_count()).sum();
    let wanted = tiles.wanted.len().max(1);
    let tile = tiles.largest() as u64 * entry;
    let layers = ntk.layers()?;
    let block = tiles.rows.edge().max(tiles.cols().edge());
    let strips = strip_products(layers, ntk.config.strategy, block, item != entry);
    let micro_batch = ntk.micro_batch(tiles.side() / ntk.rows_per_example());
    Ok(Workload {
        layers: layer_sizes(layers, ntk.config.strategy),
        rows: blocks.iter().map(|block| block.rows).sum(),
        block,
        tiles: wanted,
        resident_tiles: config.resident_tiles.unwrap_or(wanted),
        keeps_tiles: false,
        tile,
        bytes_per_kept: item,
        bytes_per_operand: precision(ntk, config).operand_bytes() as u64,
        held: (inputs + ntk.params.count()) as u64 * item,
        sweep: (micro_batch * in_flight(ntk, layers)) as u64 * item,
        waiting: 0,
        scratch: SCRATCH_TILES * tile + strips * entry,
        sweeps_end_first: false,
        depth: if item == entry { DEPTH } else { WIDE_DEPTH },
        chunk_share: CHUNK_SHARE,
        limit: memory(ntk.params.device(), config)?,
        share: SHARE,
    })
}

/// Numbers of a sweep, per example: the values of all layers, whichever are contracted; the factors
/// of these; cotangents on their way; and twice the left operand of the largest product, patches as
/// a rule.
fn in_flight(ntk: &Ntk<'_>, layers: &[FactorSizes]) -> usize {
    let nodes = ntk.model.network().summary().nodes;
    let operand = |node: &NodeSummary| {
        let outputs = node.shape.first().map_or(1, |n| (*n).max(1));
        (node.operations / (2 * outputs) as f64) as usize
    };
    let value = |node: &NodeSummary| node.shape.iter().product::<usize>();
    let largest = |of: &dyn Fn(&NodeSummary) -> usize| nodes.iter().map(of).max().unwrap_or(0);
    let factors: usize = layers.iter().map(FactorSizes::factor_len).sum();
    ntk.values + factors + 2 * largest(&value) + 2 * largest(&operand)
}

/// Numbers of the products of two strips of pixels or tokens, in the type of the entries: those of
/// inputs and of cotangents, and what they are converted or compared to.
fn strip_products(layers: &[FactorSizes], strategy: Strategy, rows: usize, converts: bool) -> u64 {
    let numbers = |layer: &FactorSizes| {
        let products = match layer.form(strategy, &COSTS) {
            Form::Pixels => 2 + u64::from(converts),
            Form::Embedding => 4,
            _ => 0,
        };
        products * (strip_side(layer, rows) as u64).pow(2)
    };
    layers.iter().map(numbers).max().unwrap_or(0)
}

/// Plans an assembly in these tiles; times are not estimated.
pub(crate) fn plan(
    ntk: &Ntk<'_>,
    tiles: &Tiles<'_>,
    config: &DeviceConfig,
    target: Target,
) -> Result<Plan> {
    let work = workload(ntk, &Block::all(ntk, tiles)?, tiles, config)?;
    let place = Place::Device { is_cpu: ntk.params.device().is_cpu() };
    let costs = EngineCosts { forms: &COSTS, work, place, sweep_s: 0.0, rate: f64::INFINITY };
    Plan::new(ntk, target, costs)
}

/// Memory that an assembly may use on a device.
fn memory(device: &Device, config: &DeviceConfig) -> Result<u64> {
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
