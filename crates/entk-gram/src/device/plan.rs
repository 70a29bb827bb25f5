//! What the engine in tensor operations needs, for its schedule and for plans.

use candle_core::{DType, Device};
use entk_device::{DeviceProperties, PoolUse, Precision, memory::MemoryLimit};
use entk_models::NodeSummary;

use crate::{
    config::DeviceConfig,
    device::{
        engine::{Block, batch_factors},
        kept::{COSTS, layer_sizes},
        operand::{PATCHES, strip_side},
    },
    error::Result,
    factors::form::{FactorSizes, Form},
    ntk::Ntk,
    plan::{
        EngineCosts, Place, Plan, Target,
        workload::{DeviceSteps, Workload},
    },
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
/// Tiles that are copied to the host at a time.
pub(super) const COPIES: usize = 2;
/// Tiles that exist beside one that is added to: the products of a dense layer and their sum.
const DENSE_TILES: u64 = 3;
/// That while a square is mirrored: its lower triangle, what is under the diagonal, and masks.
pub(super) const MIRRORED_TILES: u64 = 4;

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

/// What computes the products: part of what the bits of a kernel depend on, since the libraries of
/// GPUs choose the order of their sums by the kind of GPU.
pub(crate) fn engine_name(ntk: &Ntk<'_>, config: &DeviceConfig) -> Result<String> {
    let gpu = DeviceProperties::of(ntk.params.device())?;
    let device = gpu.map_or_else(|| "the CPU".to_owned(), |gpu| format!("CUDA ({})", gpu.name));
    Ok(format!("tensors on {device}, {}", precision(ntk, config)))
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
    let held = (inputs + ntk.params.count()) as u64 * item;
    let wanted = tiles.wanted.len().max(1);
    let tile = tiles.largest() as u64 * entry;
    let layers = ntk.layers()?;
    let mut sizes = layer_sizes(layers, ntk.config.strategy);
    // The first layer of a network reads its inputs.
    if let (Some(size), Some(first)) = (sizes.last_mut(), layers.last()) {
        let is_input = first.lengths()[0] == ntk.example_len()? && size.kept == first.factor_len();
        size.lent = if is_input { first.lengths()[0] } else { 0 };
    }
    let block = tiles.rows.edge().max(tiles.cols().edge());
    let micro_batch = ntk.micro_batch(tiles.side() / ntk.rows_per_example());
    Ok(Workload {
        layers: sizes,
        rows: blocks.iter().map(|block| block.rows).sum(),
        block,
        tiles: wanted,
        resident_tiles: config.resident_tiles.unwrap_or(wanted),
        keeps_tiles: false,
        tile,
        bytes_per_kept: item,
        bytes_per_operand: precision(ntk, config).operand_bytes() as u64,
        held,
        sweep: sweep_bytes(ntk, layers, micro_batch)?,
        waiting: 0,
        scratch: scratch(ntk, layers, block, tile)?,
        device: Some(DeviceSteps {
            batch: micro_batch * ntk.rows_per_example(),
            filled_up: (micro_batch * ntk.example_len()?) as u64 * item,
            copies: COPIES as u64,
            unrounded: unrounded(precision(ntk, config)),
            patches: PATCHES,
        }),
        depth: if item == entry { DEPTH } else { WIDE_DEPTH },
        chunk_share: CHUNK_SHARE,
        limit: memory(ntk.params.device(), config, held)?,
        share: SHARE,
    })
}

/// Numbers that stand beside an operand while it is rounded, for each of its own.
fn unrounded(precision: Precision) -> u64 {
    match precision {
        Precision::F64 | Precision::F32 => 0,
        Precision::Tf32 | Precision::Bf16 => 1,
        _ => 2,
    }
}

/// What a micro-batch takes until its factors are there: on a GPU as sweeps of few examples show,
/// elsewhere counted.
fn sweep_bytes(ntk: &Ntk<'_>, layers: &[FactorSizes], micro_batch: usize) -> Result<u64> {
    if let Some([constant, example]) = measured_sweep(ntk) {
        return Ok(constant + example * micro_batch as u64);
    }
    Ok((micro_batch * in_flight(ntk, layers) * ntk.item()) as u64)
}

/// Bytes of a sweep of a GPU whatever the examples, and for each of them, from sweeps of one and of
/// three; none elsewhere, and where these fail.
fn measured_sweep(ntk: &Ntk<'_>) -> Option<[u64; 2]> {
    let device = ntk.params.device();
    let swept = |count: usize| -> Result<Option<u64>> {
        let Some(before) = PoolUse::take(device)? else { return Ok(None) };
        let examples = ntk.inputs.narrow(0, 0, count.min(ntk.inputs.dim(0)?))?;
        batch_factors(ntk, &examples, count, &[])?;
        Ok(PoolUse::take(device)?.map(|after| after.highest.saturating_sub(before.now)))
    };
    *ntk.sweep_cost.get_or_init(|| {
        let (one, three) = (swept(1).ok()??, swept(3).ok()??);
        let example = three.saturating_sub(one).div_ceil(2);
        Some([one.saturating_sub(example), example])
    })
}

/// Numbers of a sweep, per example: the values of all layers, whichever are contracted, among them
/// the inputs of factors; the cotangents of these, and on their way; and twice the left operand of
/// the largest product, patches as a rule.
fn in_flight(ntk: &Ntk<'_>, layers: &[FactorSizes]) -> usize {
    let nodes = ntk.model.network().summary().nodes;
    let operand = |node: &NodeSummary| {
        let outputs = node.shape.first().map_or(1, |n| (*n).max(1));
        (node.operations / (2 * outputs) as f64) as usize
    };
    let value = |node: &NodeSummary| node.shape.iter().product::<usize>();
    let largest = |of: &dyn Fn(&NodeSummary) -> usize| nodes.iter().map(of).max().unwrap_or(0);
    let cotangents: usize = layers.iter().map(|layer| layer.lengths()[1]).sum();
    ntk.values + cotangents + 2 * largest(&value) + 2 * largest(&operand)
}

/// What products take beside the tile that they are added to, for the form that takes most: of rows
/// in a narrower type than the entries the product, that converted and the sum; of a dense layer
/// three tiles; of pairs of pixels or tokens the products of two strips, in the type of the entries
/// or compared in it, and a tile of their sums, or that and its copy or the sum with the tile.
fn scratch(ntk: &Ntk<'_>, layers: &[FactorSizes], rows: usize, tile: u64) -> Result<u64> {
    let entry = ntk.dtype().size_in_bytes() as u64;
    let converts = ntk.dtype() != ntk.params.dtype();
    let of_layer = |layer: &FactorSizes| {
        let form = layer.form(ntk.config.strategy, &COSTS);
        let strips = |products: u64| products * (strip_side(layer, rows) as u64).pow(2) * entry;
        match form {
            Form::Dense => DENSE_TILES * tile,
            Form::Pixels => (strips(2 + u64::from(converts)) + tile).max(2 * tile),
            Form::Embedding => (strips(4) + tile).max(2 * tile),
            _ if converts => 3 * tile,
            _ => 0,
        }
    };
    // Biases have rows of their own.
    let of_rows = if converts { 3 * tile } else { 0 };
    Ok(layers.iter().map(of_layer).max().unwrap_or(0).max(of_rows))
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
    let (pairs, sweep_s, rate) = (tiles.pairs(), 0.0, f64::INFINITY);
    let costs = EngineCosts { forms: &COSTS, work, place, pairs, sweep_s, rate };
    Plan::new(ntk, target, costs)
}

/// Memory that an assembly may use on a device, with the inputs and parameters that are `held`
/// there already.
fn memory(device: &Device, config: &DeviceConfig, held: u64) -> Result<u64> {
    if let Some(bytes) = config.memory {
        return Ok(bytes);
    }
    // What was freed counts once the work that used it is done.
    device.synchronize()?;
    if let Some(properties) = DeviceProperties::of(device)? {
        return Ok(properties.free_bytes as u64 + held);
    }
    Ok(MemoryLimit::detect(None).map_or(u64::MAX, |limit| limit.bytes))
}
