//! What the CPU's engine needs, for its schedule and for plans.

use std::{ops::Range, sync::OnceLock, time::Instant};

use candle_core::DType;
use entk_device::memory::MemoryLimit;
use faer::Par;
use rayon::prelude::*;

use crate::{
    config::CpuConfig,
    cpu::kept::{COSTS, CpuLayer},
    error::Result,
    factors::form::Form,
    input_gram::InputGram,
    ntk::Ntk,
    plan::{
        Buffer, EngineCosts, Place, Plan, Target,
        rate::rate,
        schedule::Schedule,
        workload::{LayerSize, PROGRAM, Workload},
    },
    tiles::Tiles,
};

/// Edge of the product that measures this machine's rate.
const RATE_EDGE: usize = 768;
/// Bytes of the sweeps that measure the machine: enough for threads to be busy, far less than an
/// assembly takes.
const MEASURED: usize = 64 << 20;
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

/// Whether a bound of everything takes less than half of the memory, so that no example need be
/// swept to find out: factors take no more than rows of all parameters, and in a sweep they take
/// no more than the values.
pub(crate) fn surely_fits(job: &CpuJob<'_>) -> bool {
    let CpuJob { ntk, tiles, config, .. } = job;
    let outputs = ntk.config.outputs.factors_per_row(ntk.model.outputs());
    let rows = tiles.rows.n() + tiles.others.map_or(0, |(_, cols)| cols.n());
    let factors = rows as f64 * (ntk.params.count() * outputs) as f64;
    let n = examples(job);
    let values = (2 + ntk.outputs_at_once()) * ntk.values;
    let swept = values * (most_side_by_side(job) * ntk.micro_batch(n)).min(n);
    let bytes = |numbers: f64, dtype: DType| numbers * dtype.size_in_bytes() as f64;
    let numbers = factors + (swept + ntk.inputs.elem_count()) as f64;
    let needed = bytes(numbers, ntk.params.dtype()) + bytes(tiles.largest() as f64, ntk.dtype());
    needed < 0.5 * limit(config) as f64
}

/// Examples of the larger side.
fn examples(CpuJob { ntk, tiles, .. }: &CpuJob<'_>) -> usize {
    tiles.side() / ntk.rows_per_example()
}

/// How many micro-batches are swept side by side at most.
pub(crate) fn most_side_by_side(job: &CpuJob<'_>) -> usize {
    let n = examples(job);
    let batches = n.div_ceil(job.ntk.micro_batch(n));
    rayon::current_num_threads().min(batches).max(1)
}

/// The order of work, and how many micro-batches are swept side by side: as many as there are
/// threads for, unless fewer leave memory for factors that would take more sweeps.
pub(crate) fn schedule(job: &CpuJob<'_>, layers: &[CpuLayer]) -> (usize, Result<Schedule>) {
    let of = |count: usize| workload(job, layers, count).and_then(|work| Schedule::new(&work));
    let mut count = most_side_by_side(job);
    let mut best = (count, of(count));
    while count > 1 {
        count /= 2;
        let other = of(count);
        let passes = |schedule: &Result<Schedule>| {
            schedule.as_ref().map_or(usize::MAX, |schedule| schedule.passes())
        };
        if best.1.is_err() || passes(&other) < passes(&best.1) {
            best = (count, other);
        }
    }
    best
}

/// What the engine has to compute and to hold where so many micro-batches are swept side by side.
pub(crate) fn workload(
    job: &CpuJob<'_>,
    layers: &[CpuLayer],
    side_by_side: usize,
) -> Result<Workload> {
    let CpuJob { ntk, tiles, config, waiting, products } = job;
    let bytes = |dtype: DType| dtype.size_in_bytes() as u64;
    let (item, entry) = (bytes(ntk.params.dtype()), bytes(ntk.dtype()));
    let size = |at: usize| {
        let (form, width) = (layers[at].form, layers[at].kept());
        LayerSize { form, kept: 0, width, channels: 1, factor: 0, inputs: 0, patches: 0, lent: 0 }
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
        sweep: sweeping(job, layers, side_by_side)?.bytes,
        waiting: *waiting,
        scratch,
        device: None,
        depth: usize::MAX,
        chunk_share: 1,
        // With given products of inputs all factors are kept, whatever the memory.
        limit: if products.is_some() { u64::MAX } else { limit(config) },
        share: 1.0,
    })
}

/// Values and cotangents of the micro-batches that are swept at a time, and the factors that they
/// leave.
fn sweeping(job: &CpuJob<'_>, layers: &[CpuLayer], side_by_side: usize) -> Result<Buffer> {
    let (ntk, n) = (job.ntk, examples(job));
    let batch = ntk.micro_batch(n);
    let kept: usize = layers.iter().map(CpuLayer::kept).sum();
    let kept = kept * ntk.rows_per_example() * ntk.item();
    let bytes = ((ntk.sweep_bytes()? + kept) * (side_by_side * batch).min(n)) as u64;
    Ok(Buffer { name: format!("sweeps of {side_by_side} micro-batches of {batch}"), bytes })
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

/// Seconds of one sweep over all examples, from that of the first micro-batches side by side, or of
/// as many of their examples as take little memory.
fn sweep_seconds(job: &CpuJob<'_>, side_by_side: usize) -> Result<f64> {
    let (ntk, n) = (job.ntk, job.ntk.inputs.dim(0)?);
    let few = (MEASURED / ntk.sweep_bytes()?.max(1)).div_ceil(side_by_side).max(1);
    let batch = ntk.micro_batch(n).min(few);
    let starts: Vec<usize> = (0..n).step_by(batch).collect();
    let first = &starts[..side_by_side.min(starts.len())];
    // The first group of outputs stands for all.
    let groups = ntk.output_groups();
    let share = groups.first().map_or(1, Range::len) as f64 / ntk.swept_outputs().max(1) as f64;
    let start = Instant::now();
    first.par_iter().try_for_each(|start| {
        let batch = ntk.inputs.narrow(0, *start, batch.min(n - start))?;
        ntk.sweep(&batch, Some(&[0]), &mut |_, _| Ok(()))
    })?;
    let batches = starts.len() as f64 / first.len().max(1) as f64;
    Ok(start.elapsed().as_secs_f64() * batches / share)
}

/// Plans an assembly: one example shows the layers, one micro-batch and one product the machine.
pub(crate) fn plan(job: &CpuJob<'_>, target: Target) -> Result<Plan> {
    let CpuJob { ntk, products, .. } = job;
    let found = OnceLock::new();
    let layers = CpuLayer::all(ntk, &found)?;
    let (side_by_side, _) = schedule(job, layers);
    let sweep_s = sweep_seconds(job, side_by_side)?;
    let threads = rayon::current_num_threads() as f64;
    let rate = match ntk.params.dtype() {
        DType::F64 => rate::<f64>(RATE_EDGE, Par::Seq),
        _ => rate::<f32>(RATE_EDGE, Par::Seq),
    };
    let sweeping = sweeping(job, layers, side_by_side)?;
    let place = Place::Host { sweeping, contracting: scratch(job, layers) };
    let (work, rate) = (workload(job, layers, side_by_side)?, rate * threads);
    let costs = EngineCosts { forms: &COSTS, work, place, sweep_s, rate };
    let plan = Plan::new(ntk, target, costs)?;
    Ok(if products.is_some() { plan.with_given_products(ntk.example_len()?) } else { plan })
}
