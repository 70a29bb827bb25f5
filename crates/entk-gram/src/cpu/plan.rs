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
    let numbers = factors + (swept + ntk.inputs.elem_count() + ntk.held_inputs) as f64;
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
    let held = (ntk.inputs.elem_count() + ntk.held_inputs + ntk.params.count()) as u64;
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
    let pairs = job.tiles.pairs();
    let costs = EngineCosts { forms: &COSTS, work, place, pairs, sweep_s, rate };
    let plan = Plan::new(ntk, target, costs)?;
    Ok(if products.is_some() { plan.with_given_products(ntk.example_len()?) } else { plan })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use entk_models::{Activation, MlpConfig, Model, Params};

    use super::*;
    use crate::{
        config::{Accumulate, GramConfig, Outputs},
        tiles::grid::Grid,
    };

    const THREADS: usize = 4;

    /// With so many threads, whatever the machine has.
    fn on_threads<T: Send>(function: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build();
        pool.expect("threads").install(function)
    }

    /// 6-4-3 with parameters of this type, on some inputs, two at a time.
    fn with_kernel<T: Send>(
        (outputs, dtype, accumulate): (Outputs, DType, Accumulate),
        n: usize,
        function: impl FnOnce(&Ntk<'_>) -> T + Send,
    ) -> Result<T> {
        let network = MlpConfig {
            input: [1, 2, 3],
            hidden: vec![4],
            outputs: 3,
            activation: Activation::Gelu,
            ..MlpConfig::default()
        };
        let network = network.network()?;
        let params = Params::standard_normal(&network.specs(), 1, dtype, &Device::Cpu)?;
        let x = Tensor::arange(0f64, (6 * n) as f64, &Device::Cpu)?.to_dtype(dtype)?;
        let x = x.reshape((n, 1, 2, 3))?;
        let config =
            GramConfig { outputs, accumulate, micro_batch: Some(2), ..GramConfig::default() };
        let ntk = Ntk::new(&network, &params, &x, &config)?;
        Ok(on_threads(|| function(&ntk)))
    }

    fn job<'a>(ntk: &'a Ntk<'a>, tiles: Tiles<'a>, memory: u64) -> CpuJob<'a> {
        let config = CpuConfig { tile: 16, memory: Some(memory), ..CpuConfig::default() };
        CpuJob { ntk, tiles, config, waiting: 0, products: None }
    }

    #[test]
    fn what_takes_less_than_half_of_the_memory_surely_fits() -> Result<()> {
        let parameters = 6 * 4 + 4 + 4 * 3 + 3;
        let cases = [
            // Outputs of a row; numbers of a sweep beside its values; rows; bytes of entries.
            ((Outputs::SumOfLogits, DType::F64, Accumulate::Native), 1, 1, 7, 8),
            ((Outputs::Trace, DType::F64, Accumulate::Native), 3, 3, 7, 8),
            ((Outputs::Full, DType::F64, Accumulate::Native), 1, 3, 21, 8),
            ((Outputs::One(1), DType::F32, Accumulate::Native), 1, 1, 7, 4),
            ((Outputs::One(1), DType::F32, Accumulate::F64), 1, 1, 7, 8),
        ];
        for (kernel, per_row, at_once, rows, entry) in cases {
            let item = kernel.1.size_in_bytes();
            with_kernel(kernel, 7, |ntk| {
                // Four micro-batches of two side by side, but no more than the seven.
                let swept = (2 + at_once) * ntk.values * 7;
                let numbers = rows * parameters * per_row + swept + 7 * 6;
                let needed = (numbers * item + 3 * 3 * entry) as u64;
                let tiles = Tiles::lower(Grid::new(rows, 3));
                let fits = |memory| surely_fits(&job(ntk, tiles.clone(), memory));
                assert!(!fits(2 * needed) && fits(2 * needed + 1), "{kernel:?}");
            })?;
        }
        // Rows and columns where they differ, and a tile of both.
        with_kernel(cases[0].0, 5, |ntk| {
            let others = Tensor::zeros((9, 1, 2, 3), DType::F64, &Device::Cpu).expect("zeros");
            let tiles = Tiles::between(Grid::new(5, 2), &others, Grid::new(9, 4));
            let swept = 3 * ntk.values * 8;
            let needed = 8 * ((5 + 9) * parameters + swept + 5 * 6 + 2 * 4) as u64;
            let fits = |memory| surely_fits(&job(ntk, tiles.clone(), memory));
            assert!(!fits(2 * needed) && fits(2 * needed + 1));
        })
    }

    #[test]
    fn no_more_micro_batches_are_swept_than_there_are_threads_or_examples() -> Result<()> {
        let kernel = (Outputs::Full, DType::F64, Accumulate::Native);
        for (n, expected) in [(1, 1), (2, 1), (3, 2), (5, 3), (7, 4), (8, 4), (30, 4)] {
            let found = with_kernel(kernel, n, |ntk| {
                most_side_by_side(&job(ntk, Tiles::lower(Grid::new(3 * n, 4)), 1 << 30))
            })?;
            assert_eq!(found, expected, "{n}");
        }
        Ok(())
    }

    #[test]
    fn fewer_sweep_side_by_side_where_that_leaves_memory_for_all_factors() -> Result<()> {
        let kernel = (Outputs::SumOfLogits, DType::F64, Accumulate::Native);
        // Micro-batches so large that their sweeps take more than products do.
        with_kernel(kernel, 4000, |ntk| {
            let mut ntk = ntk.clone();
            ntk.config.micro_batch = Some(1000);
            let found = OnceLock::new();
            let layers = CpuLayer::all(&ntk, &found).expect("layers");
            let of = |memory| job(&ntk, Tiles::lower(Grid::new(4000, 16)), memory);
            let enough = |count| workload(&of(0), layers, count).expect("sizes").whole();
            assert!(enough(1) < enough(2) && enough(2) < enough(4));
            for (memory, side_by_side) in [
                (u64::MAX >> 12, 4),
                (enough(4), 4),
                (enough(4) - 1, 2),
                (enough(2), 2),
                (enough(2) - 1, 1),
                (enough(1), 1),
            ] {
                let (count, schedule) = schedule(&of(memory), layers);
                let passes = schedule.map(|schedule| schedule.passes());
                assert_eq!((count, passes.ok()), (side_by_side, Some(1)), "{memory}");
            }
            assert!(schedule(&of(1), layers).1.is_err());
        })
    }
}
