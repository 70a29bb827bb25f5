//! The engines of all devices of an assembly as one, and the way of their tiles to the host.

use std::collections::VecDeque;

use candle_core::{DType, Device};
use entk_device::{Entry, HostCopies, Precision, to_device};
use entk_models::Real;
use faer::{MatMut, prelude::ReborrowMut};
use rayon::prelude::*;

use crate::{
    config::DeviceConfig,
    device::{
        arithmetic::Arithmetic,
        engine::{Block, DeviceEngine},
        multi_device::{HostSink, partition_tiles, run_parallel},
        plan::{COPIES, MIRRORED_TILES, precision, workload},
    },
    error::{GramError, Result},
    ntk::Ntk,
    plan::{schedule::Schedule, workload::Workload},
    progress::Watch,
    tiles::{TileEngine, TileSink, Tiles, grid::TileIndex},
};

/// Rows of a tile that one task copies.
const ROWS: usize = 64;

/// One engine a device, each with its share of the tiles.
pub(crate) struct DeviceEngines<'a> {
    engines: Vec<DeviceEngine<'a>>,
}

impl<'a> DeviceEngines<'a> {
    /// The engines of the parameters' device and of the others in `config`, each with a copy of
    /// parameters and inputs.
    pub(crate) fn new(ntk: &Ntk<'a>, tiles: &Tiles<'_>, config: &DeviceConfig) -> Result<Self> {
        let count = 1 + config.devices.len();
        let shares = partition_tiles(&tiles.wanted, count, |tile| tiles.range(tile).entries());
        let first = std::iter::once(ntk.params.device());
        let engine = |(device, share): (&Device, Vec<_>)| {
            // Whole sets of inputs, and their blocks there: a part of a tensor carries all of it.
            let inputs = to_device(&ntk.inputs, device)?;
            let copy = ntk.moved(ntk.params.to_device(device)?, inputs);
            let others = tiles.others.map(|(others, _)| to_device(others, device)).transpose()?;
            let others = others.as_ref().map(|others| (others, tiles.cols()));
            let tiles = Tiles { rows: tiles.rows, others, wanted: share };
            let blocks = Block::all(&copy, &tiles)?;
            engine(copy, blocks, &tiles, false, config)
        };
        let engines = first.chain(&config.devices).zip(shares).map(engine);
        Ok(Self { engines: engines.collect::<Result<_>>()? })
    }
}

/// The engine of one device; with `keeps_tiles` its finished tiles are left there.
pub(crate) fn engine<'a>(
    ntk: Ntk<'a>,
    blocks: Vec<Block>,
    tiles: &Tiles<'_>,
    keeps_tiles: bool,
    config: &DeviceConfig,
) -> Result<DeviceEngine<'a>> {
    let (precision, params) = (precision(&ntk, config), ntk.params.dtype());
    if (precision == Precision::F64) != (params == DType::F64) {
        return Err(GramError::Precision { precision, params });
    }
    let work = workload(&ntk, &blocks, tiles, config)?;
    let mirrored = if keeps_tiles { MIRRORED_TILES * work.tile } else { 0 };
    let scratch = work.scratch.max(mirrored);
    let schedule = Schedule::new(&Workload { keeps_tiles, scratch, ..work })?;
    let arithmetic = Arithmetic { precision, entry: ntk.dtype() };
    let first_col = if tiles.others.is_some() { tiles.rows.side() } else { 0 };
    let micro_batch = ntk.micro_batch(tiles.side() / ntk.rows_per_example());
    let tiles = tiles.wanted.clone();
    Ok(DeviceEngine { ntk, blocks, first_col, tiles, schedule, arithmetic, micro_batch })
}

impl<A: Real + Entry> TileEngine<A> for DeviceEngines<'_> {
    fn run(&self, watch: &Watch<'_>, sink: &mut dyn TileSink<A>) -> Result<()> {
        watch.expect(self.engines.iter().map(DeviceEngine::work).sum());
        let mut host = |tile, values: &[A]| {
            sink.tile(tile, &mut |target| {
                copy(values, target);
                Ok(())
            })
        };
        if let [engine] = self.engines.as_slice() {
            return copied_to_host(engine, watch, &mut host);
        }
        let shares: Vec<_> = self.engines.iter().map(|engine| engine.tiles.clone()).collect();
        let compute = |at: usize, _: &[_], sink: &mut HostSink<'_, A>| {
            copied_to_host(&self.engines[at], watch, sink)
        };
        run_parallel(&shares, watch, compute, &mut host)
    }
}

/// Copies a tile, row by row, by all threads: most of the time goes into the first touch of the
/// target's memory.
fn copy<A: Real>(values: &[A], target: MatMut<'_, A>) {
    let cols = target.ncols();
    let rows = target.par_row_chunks_mut(ROWS).zip(values.par_chunks(ROWS * cols));
    rows.for_each(|(rows, values)| {
        for (mut row, values) in rows.row_iter_mut().zip(values.chunks_exact(cols)) {
            match row.rb_mut().try_as_row_major_mut() {
                Some(row) => row.as_slice_mut().copy_from_slice(values),
                None => row.iter_mut().zip(values).for_each(|(k, v)| *k = *v),
            }
        }
    });
}

/// Runs an engine whose finished tiles are copied to the host while the next are computed.
fn copied_to_host<A: Entry>(
    engine: &DeviceEngine<'_>,
    watch: &Watch<'_>,
    sink: &mut HostSink<'_, A>,
) -> Result<()> {
    let Some(capacity) = engine.tiles.iter().map(|tile| engine.entries(*tile)).max() else {
        return Ok(());
    };
    let device = engine.ntk.params.device();
    let mut copies = HostCopies::<A>::new(device, capacity, COPIES)?;
    let mut under_way = VecDeque::new();
    let mut take = |copies: &mut HostCopies<A>, under_way: &mut VecDeque<TileIndex>| {
        let Some(tile) = under_way.pop_front() else { return Ok(()) };
        let taken = copies.take(|values| sink(tile, values));
        taken.map_err(|error| GramError::from(error).at_tile(device, tile))?.unwrap_or(Ok(()))
    };
    let ran = engine.run(watch, &mut |tile, values| {
        if copies.is_full() {
            take(&mut copies, &mut under_way)?;
        }
        let started = values.contiguous().map_err(GramError::from);
        let started = started.and_then(|values| Ok(copies.start(values)?));
        started.map_err(|error| error.at_tile(device, tile))?;
        under_way.push_back(tile);
        Ok(())
    });
    // Tiles that were finished before a stop or a failure are kept.
    let mut taken = Ok(());
    while !copies.is_empty() {
        taken = taken.and(take(&mut copies, &mut under_way));
    }
    ran.and(taken)
}
