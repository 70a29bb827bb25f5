//! The engine of the CPU: factors on the host, products by faer on all threads. Called by
//! [`Assembly`](crate::Assembly); the bits of an entry depend neither on threads nor on memory.

mod embedding;
mod expansion;
mod host;
mod kept;
mod pixels;
pub(crate) mod plan;
mod rows;
mod sum;
mod tile;

use std::{marker::PhantomData, sync::OnceLock};

use candle_core::DType;
use entk_models::Real;
use faer::{MatMut, MatRef};

use crate::{
    cpu::{
        kept::{CpuLayer, KeptFactors},
        plan::{CpuJob, most_side_by_side, order_of_sums, schedule, surely_fits},
        sum::Sum,
        tile::{TileContraction, work},
    },
    error::{GramError, Result},
    input_gram::InputGram,
    memory::zeros,
    progress::Watch,
    store::chunk::Entry,
    tiles::{TileEngine, TileRange, TileSink, grid::TileIndex},
};

/// The element type of a kernel, and the CPU's engine for it.
pub(crate) trait KernelEntry: Real + Entry + entk_device::Entry {
    /// The engine, in the element type of the parameters.
    fn cpu_engine<'a>(job: CpuJob<'a>) -> Result<Box<dyn TileEngine<Self> + 'a>>;
}

impl KernelEntry for f32 {
    fn cpu_engine<'a>(job: CpuJob<'a>) -> Result<Box<dyn TileEngine<f32> + 'a>> {
        Ok(Box::new(CpuEngine::<f32>::new(job)))
    }
}

impl KernelEntry for f64 {
    fn cpu_engine<'a>(job: CpuJob<'a>) -> Result<Box<dyn TileEngine<f64> + 'a>> {
        Ok(match job.ntk.params.dtype() {
            DType::F32 => Box::new(CpuEngine::<f32>::new(job)),
            _ => Box::new(CpuEngine::<f64>::new(job)),
        })
    }
}

struct CpuEngine<'a, T> {
    job: CpuJob<'a>,
    layers: OnceLock<Vec<CpuLayer>>,
    params: PhantomData<T>,
}

/// The layers whose factors are kept at a time: all, or one group after the other, each a chunk of
/// the schedule with a sweep of its own.
struct Groups {
    layers: Vec<Option<Vec<usize>>>,
    /// Tiles that are summed at a time where there are several groups.
    resident_tiles: usize,
    /// Micro-batches that are swept at a time.
    side_by_side: usize,
}

/// The factors of both sides of a kernel; none on the right if they are those of the left.
struct Sides<T> {
    left: KeptFactors<T>,
    right: Option<KeptFactors<T>>,
    first: Vec<usize>,
}

impl<'a, T: Real> CpuEngine<'a, T> {
    fn new(job: CpuJob<'a>) -> Self {
        Self { job, layers: OnceLock::new(), params: PhantomData }
    }

    /// What fits the memory.
    fn groups(&self) -> Result<Groups> {
        // Given products of inputs are read once a tile, for which all layers are at hand.
        if self.job.products.is_some() || surely_fits(&self.job) {
            let side_by_side = most_side_by_side(&self.job);
            return Ok(Groups { layers: vec![None], resident_tiles: 1, side_by_side });
        }
        let layers = CpuLayer::all(self.job.ntk, &self.layers)?;
        let (side_by_side, schedule) = schedule(&self.job, layers);
        let schedule = schedule?;
        let order = order_of_sums(layers);
        let chunks = schedule.groups.iter().flat_map(|group| &group.chunks);
        let groups = chunks.map(|chunk| {
            let mut layers: Vec<_> = chunk.iter().flatten().map(|r| order[r.layer]).collect();
            layers.sort_unstable();
            Some(layers)
        });
        let layers = groups.collect();
        Ok(Groups { layers, resident_tiles: schedule.tiles, side_by_side })
    }

    /// Tells how many entries will be reported, once the layers are known.
    fn expect(&self, groups: &Groups, watch: &Watch<'_>) -> Result<()> {
        let CpuJob { ntk, tiles, config, .. } = &self.job;
        let layers = CpuLayer::all(ntk, &self.layers)?;
        let of_group = |range: &TileRange, group: &Option<Vec<usize>>| match group {
            Some(group) => work::<T>(range, group.iter().map(|at| &layers[*at]), config),
            None => work::<T>(range, layers.iter(), config),
        };
        let of_tile = |tile: &TileIndex| -> usize {
            let range = tiles.range(*tile);
            groups.layers.iter().map(|group| of_group(&range, group)).sum()
        };
        watch.expect(tiles.wanted.iter().map(of_tile).sum());
        Ok(())
    }

    /// Sweeps the examples of both sides, and keeps the factors of some layers.
    fn keep(&self, group: Option<&[usize]>, side_by_side: usize) -> Result<Sides<T>> {
        let CpuJob { ntk, tiles, products, .. } = &self.job;
        let collect = |inputs| KeptFactors::collect(ntk, inputs, &self.layers, group, side_by_side);
        let left = collect(&ntk.inputs)?;
        let right = tiles.others.map(|(others, _)| collect(others)).transpose()?;
        let mut first = Vec::new();
        if products.is_some() {
            first = left.first_layers(&ntk.inputs)?;
            if first.is_empty() {
                let reason = "serve models whose first layer is dense, under Strategy::Structured";
                return Err(GramError::InputGram { reason });
            }
        }
        Ok(Sides { left, right, first })
    }

    /// Adds the share of the kept layers to a tile.
    fn add<A: Sum<T> + Entry>(
        &self,
        Sides { left, right, first }: &Sides<T>,
        tile: TileIndex,
        watch: &Watch<'_>,
        target: MatMut<'_, A>,
    ) -> Result<()> {
        let config = &self.job.config;
        let right = right.as_ref().unwrap_or(left);
        let products = self.job.products.filter(|_| self.job.tiles.others.is_none());
        let edge = products.map_or(0, InputGram::edge);
        let products = products.map(|products| products.tile::<A>(tile)).transpose()?;
        let products = products.as_deref().map(|p| MatRef::from_row_major_slice(p, edge, edge));
        let range = self.job.tiles.range(tile);
        TileContraction { left, right, first, config }.add_to(&range, watch, products, target)
    }

    /// Tiles whose sums wait for the next group of layers, the last group's go to the sink.
    fn run_resident<A: Sum<T> + Entry>(
        &self,
        groups: &Groups,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
        sink: &mut dyn TileSink<A>,
    ) -> Result<()> {
        let shape = |tile: TileIndex| {
            let range = self.job.tiles.range(tile);
            (range.rows.len(), range.cols.len())
        };
        let sum = |tile: &TileIndex| zeros::<A>(shape(*tile).0, shape(*tile).1);
        let mut sums = tiles.iter().map(sum).collect::<Result<Vec<_>>>()?;
        let Groups { layers, side_by_side, .. } = groups;
        for (at, group) in layers.iter().enumerate() {
            let sides = self.keep(group.as_deref(), *side_by_side)?;
            for (&tile, sum) in tiles.iter().zip(&mut sums) {
                let (rows, cols) = shape(tile);
                if at + 1 < layers.len() {
                    let sum = MatMut::from_row_major_slice_mut(sum, rows, cols);
                    self.add(&sides, tile, watch, sum)?;
                    continue;
                }
                sink.tile(tile, &mut |mut target| {
                    target.copy_from(MatRef::from_row_major_slice(sum, rows, cols));
                    self.add(&sides, tile, watch, target)
                })?;
            }
        }
        Ok(())
    }
}

impl<T: Real, A: Sum<T> + Entry> TileEngine<A> for CpuEngine<'_, T> {
    fn run(&self, watch: &Watch<'_>, sink: &mut dyn TileSink<A>) -> Result<()> {
        let (wanted, groups) = (&self.job.tiles.wanted, self.groups()?);
        if let [group] = groups.layers.as_slice() {
            let sides = self.keep(group.as_deref(), groups.side_by_side)?;
            self.expect(&groups, watch)?;
            return wanted.iter().try_for_each(|&tile| {
                sink.tile(tile, &mut |target| self.add(&sides, tile, watch, target))
            });
        }
        self.expect(&groups, watch)?;
        let Groups { layers, resident_tiles, side_by_side } = &groups;
        wanted.chunks(*resident_tiles.max(&1)).try_for_each(|tiles| match tiles {
            // Summed where it stays.
            &[tile] => sink.tile(tile, &mut |mut target| {
                layers.iter().try_for_each(|group| {
                    let sides = self.keep(group.as_deref(), *side_by_side)?;
                    self.add(&sides, tile, watch, target.as_mut())
                })
            }),
            tiles => self.run_resident(&groups, tiles, watch, sink),
        })
    }
}
