//! What the CPU's engine needs, for its schedule and for plans.

use std::{sync::OnceLock, time::Instant};

use candle_core::DType;
use entk_device::memory::MemoryLimit;
use faer::Par;

use crate::{
    config::{CpuConfig, Outputs},
    cpu::kept::{COSTS, CpuLayer},
    error::Result,
    factors::form::{FactorSizes, Form},
    input_gram::InputGram,
    ntk::Ntk,
    plan::{
        Buffer, EngineCosts, Place, Plan, Target,
        rate::rate,
        workload::{LayerSize, PROGRAM, Workload},
    },
    tiles::Tiles,
};

/// Edge of the product that measures this machine's rate.
const RATE_EDGE: usize = 768;
/// Buffers of a part of a tile that a thread has: entries, products of inputs and of cotangents.
const SCRATCH: u64 = 3;

/// What the CPU is to compute.
pub(crate) struct CpuJob<'a> {
    pub(crate) ntk: &'a Ntk<'a>,
    pub(crate) tiles: Tiles<'a>,
    pub(crate) config: CpuConfig,
    /// Tiles that wait beside those that are computed, on their way elsewhere.
    pub(crate) waiting: u64,
    /// Products of the inputs, in tiles like those wanted.
    pub(crate) products: Option<&'a InputGram>,
}

/// The layers in the order in which their shares are added to an entry, as
/// [`TileContraction::add_to`](super::tile::TileContraction::add_to) adds them: that order and this
/// one must be the same.
pub(crate) fn order_of_sums(layers: &[CpuLayer]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|at| match layers[*at].form {
        Form::Rows => 0,
        Form::Embedding => 2,
        Form::Expanded => 3,
        _ => 1,
    });
    order
}

/// Memory that the process may have.
fn limit(config: &CpuConfig) -> u64 {
    let detected = || MemoryLimit::detect(None).map_or(u64::MAX, |limit| limit.bytes);
    config.memory.unwrap_or_else(detected)
}

/// Whether rows of all parameters would take less than half of the memory beside the tiles: factors
/// take no more, so that no example need be swept to find out.
pub(crate) fn surely_fits(CpuJob { ntk, tiles, config, .. }: &CpuJob<'_>) -> Result<bool> {
    let outputs = if ntk.config.outputs == Outputs::Trace { ntk.model.outputs() } else { 1 };
    let rows = tiles.rows.n() + tiles.others.map_or(0, |(_, cols)| cols.n());
    let factors = rows as f64 * (ntk.params.count() * outputs) as f64;
    let bytes = |numbers: f64, dtype: DType| numbers * dtype.size_in_bytes() as f64;
    let needed = bytes(factors + ntk.inputs.elem_count() as f64, ntk.params.dtype())
        + bytes(tiles.largest() as f64, ntk.dtype());
    Ok(needed < 0.5 * limit(config) as f64)
}

/// What the engine has to compute and to hold.
pub(crate) fn workload(job: &CpuJob<'_>, layers: &[CpuLayer]) -> Result<Workload> {
    let CpuJob { ntk, tiles, config, waiting, products } = job;
    let bytes = |dtype: DType| dtype.size_in_bytes() as u64;
    let (item, entry) = (bytes(ntk.params.dtype()), bytes(ntk.dtype()));
    let size = |at: usize| {
        let (form, width) = (layers[at].form, layers[at].kept());
        LayerSize { form, kept: 0, width, channels: 1 }
    };
    let tile = (tiles.largest() as u64).saturating_mul(entry);
    let scratch: u64 = scratch(job, layers).iter().map(|buffer| buffer.bytes).sum();
    let held = (ntk.inputs.elem_count() + ntk.params.count()) as u64;
    Ok(Workload {
        layers: order_of_sums(layers).into_iter().map(size).collect(),
        rows: tiles.rows.n() + tiles.others.map_or(0, |(_, cols)| cols.n()),
        block: 1,
        tiles: tiles.wanted.len(),
        resident_tiles: tiles.wanted.len(),
        keeps_tiles: false,
        tile,
        bytes_per_kept: 0,
        bytes_per_operand: item,
        held: held * item + PROGRAM,
        sweep: sweeping(ntk)?.bytes,
        waiting: *waiting,
        scratch,
        sweeps_end_first: true,
        depth: usize::MAX,
        chunk_share: 1,
        // With given products of inputs all factors are kept, whatever the memory.
        limit: if products.is_some() { u64::MAX } else { limit(config) },
        share: 1.0,
    })
}

/// Values and cotangents, of each layer and of the activation after it, of the micro-batches that
/// are swept at a time.
fn sweeping(ntk: &Ntk<'_>) -> Result<Buffer> {
    let (threads, batch) = (rayon::current_num_threads(), ntk.config.micro_batch);
    let numbers: usize = ntk.layers()?.iter().map(FactorSizes::factor_len).sum();
    let bytes = (2 * numbers * batch * threads * ntk.params.dtype().size_in_bytes()) as u64;
    Ok(Buffer { name: format!("sweeps of {threads} micro-batches of {batch}"), bytes })
}

/// What products need beside factors and tiles.
fn scratch(CpuJob { ntk, config, .. }: &CpuJob<'_>, layers: &[CpuLayer]) -> Vec<Buffer> {
    let (threads, tile) = (rayon::current_num_threads() as u64, config.tile as u64);
    let entry = ntk.dtype().size_in_bytes() as u64;
    let bytes = SCRATCH * tile * tile * entry * threads;
    let mut buffers = vec![Buffer { name: "scratch of the threads".into(), bytes }];
    if layers.iter().any(|layer| layer.form == Form::Expanded) {
        let bytes = config.expansion as u64;
        buffers.push(Buffer { name: "expanded convolution rows".into(), bytes });
    }
    buffers
}

/// Plans an assembly: one example shows the layers, one micro-batch and one product the machine.
pub(crate) fn plan(job: &CpuJob<'_>, target: Target) -> Result<Plan> {
    let CpuJob { ntk, products, .. } = job;
    let start = Instant::now();
    ntk.swept(&ntk.inputs, 0, ntk.config.micro_batch)?;
    let threads = rayon::current_num_threads() as f64;
    let batches = ntk.inputs.dim(0)?.div_ceil(ntk.config.micro_batch) as f64;
    let sweep_s = start.elapsed().as_secs_f64() * batches / threads;
    let rate = match ntk.params.dtype() {
        DType::F64 => rate::<f64>(RATE_EDGE, Par::Seq),
        _ => rate::<f32>(RATE_EDGE, Par::Seq),
    };
    let found = OnceLock::new();
    let layers = CpuLayer::all(ntk, &found)?;
    let place = Place::Host { sweeping: sweeping(ntk)?, contracting: scratch(job, layers) };
    let (work, rate) = (workload(job, layers)?, rate * threads);
    let costs = EngineCosts { forms: &COSTS, work, place, sweep_s, rate };
    let plan = Plan::new(ntk, target, costs)?;
    Ok(if products.is_some() { plan.with_given_products(ntk.example_len()?) } else { plan })
}
