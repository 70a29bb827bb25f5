use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use candle_core::DType;
use entk_device::files::{FileSystem, OsFiles};
use entk_models::Real;
use faer::{MatMut, MatRef};

use crate::{
    assembly::Assembly,
    config::Strategy,
    cpu::{Engine, Region, sum::Sum},
    device::config::DeviceConfig,
    error::{GramError, Result},
    grid::{Grid, TileIndex},
    memory::{check_disk, zeros},
    part::Part,
    progress::Watch,
    store::{Commit, Store, chunk::Entry, identity::Identity},
};

/// How a Gram goes to disk.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `edge` | 2048 | edge of a tile, in examples: 16 MiB of f32; at most N |
/// | `part` | 1/1 | the share of the tiles to compute |
/// | `disk` | [`OsFiles`] | the file system |
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Edge of a tile.
    pub edge: usize,
    /// The share of the tiles.
    pub part: Part,
    /// The file system, or one with faults.
    pub disk: Arc<dyn FileSystem>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { edge: 2048, part: Part::default(), disk: Arc::new(OsFiles) }
    }
}

/// What an assembly into a store did.
#[derive(Debug)]
pub struct Stored {
    /// The store.
    pub store: Store,
    /// Tiles that were computed.
    pub computed: usize,
    /// Tiles of this part that were there before.
    pub kept: usize,
    /// The commit, once the only part is done. Several parts end with [`Store::finish`].
    pub commit: Option<Commit>,
}

impl Assembly<'_> {
    /// What the bits of a store with tiles of `edge` depend on. Cost: one hash of weights and
    /// inputs.
    ///
    /// # Errors
    /// Those of the device.
    pub fn identity(&self, edge: usize) -> Result<Identity> {
        Identity::new(self, edge)
    }

    /// Computes the Gram, or a part of it, into the store in `folder`, and continues what an
    /// interrupted run left there.
    ///
    /// One tile is computed while the one before is written. Memory beside the factors: three
    /// tiles. The bits are those of [`Assembly::gram`].
    ///
    /// # Errors
    /// As [`Assembly::gram`] and [`Store::resume`]; [`GramError::Edge`] unless given products of
    /// inputs have tiles of the same edge; [`GramError::Stopped`] after a request to
    /// stop. In all cases finished tiles are kept.
    pub fn store(&self, folder: impl AsRef<Path>, config: &StoreConfig) -> Result<Stored> {
        if self.config.strategy == Strategy::PerExample {
            return Err(GramError::Unsupported("strategy PerExample has no store; use Structured"));
        }
        let identity = self.identity(config.edge)?;
        if let Some(products) = self.products.filter(|products| products.edge() != identity.edge) {
            return Err(GramError::Edge { expected: products.edge(), got: identity.edge });
        }
        let mut store = Store::resume_on(folder, &identity, Arc::clone(&config.disk))?;
        let mut tiles = config.part.share(store.grid());
        let share = tiles.len();
        let missing = store.missing()?;
        tiles.retain(|tile| missing.binary_search(tile).is_ok());
        if !tiles.is_empty() {
            check_disk(store.folder(), bytes_of(&store, tiles.len()))?;
            match (self.device_config(), self.params.dtype(), self.dtype()) {
                (Some(config), _, DType::F64) => {
                    self.tiles_of_device::<f64>(&tiles, &mut store, &config)
                }
                (Some(config), _, _) => self.tiles_of_device::<f32>(&tiles, &mut store, &config),
                (None, DType::F32, DType::F32) => self.tiles::<f32, f32>(&tiles, &mut store),
                (None, DType::F32, _) => self.tiles::<f32, f64>(&tiles, &mut store),
                _ => self.tiles::<f64, f64>(&tiles, &mut store),
            }?;
        }
        let commit = if config.part.is_whole() { Some(store.finish()?) } else { None };
        Ok(Stored { store, computed: tiles.len(), kept: share - tiles.len(), commit })
    }

    /// Computes tiles on this thread's pool and writes them on a thread beside it.
    fn tiles<T: Real, A: Sum<T> + Entry>(
        &self,
        tiles: &[TileIndex],
        store: &mut Store,
    ) -> Result<()> {
        let features = self.features::<T>(self.inputs)?;
        let engine = self.engine(&features, &features)?;
        let grid = store.grid();
        let watch =
            self.watch(tiles.iter().map(|tile| engine.work(&Region::of_tile(grid, *tile))).sum());
        written(store, |written| {
            tiles.iter().try_for_each(|&tile| {
                let products =
                    self.products.map(|products| products.tile::<A>(tile)).transpose()?;
                let entries = block(&engine, grid, tile, &watch, products, written.memory())?;
                written.send(tile, entries)
            })
        })
    }

    /// The same by the device's engine.
    fn tiles_of_device<A: Real + Entry + entk_device::Entry>(
        &self,
        tiles: &[TileIndex],
        store: &mut Store,
        config: &DeviceConfig,
    ) -> Result<()> {
        let (grid, blocks) = (store.grid(), self.blocks(self.inputs, store.grid().edge())?);
        written(store, |written: &Written<A>| {
            self.device_tiles(blocks, grid.edge(), tiles, config, &mut |tile, values: &[A]| {
                written.send(tile, padded(values, grid, tile, written.memory())?)
            })
        })
    }
}

/// The way of finished tiles to the thread that writes them, and of their memory back.
struct Written<A> {
    sender: mpsc::SyncSender<(TileIndex, Vec<A>)>,
    back: mpsc::Receiver<Vec<A>>,
}

impl<A> Written<A> {
    /// Memory of a written tile, or none: fresh pages cost more than the tile's products.
    fn memory(&self) -> Vec<A> {
        self.back.try_recv().unwrap_or_default()
    }

    fn send(&self, tile: TileIndex, entries: Vec<A>) -> Result<()> {
        // A writer that is gone has an error of its own, which comes first.
        self.sender.send((tile, entries)).map_err(|_| GramError::Stopped)
    }
}

/// Runs `compute` here, and a thread beside it that writes the tiles it sends.
fn written<A: Entry>(
    store: &mut Store,
    compute: impl FnOnce(&Written<A>) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<(TileIndex, Vec<A>)>(1);
        let (free, back) = mpsc::channel();
        let writer = scope.spawn(move || {
            receiver.into_iter().try_for_each(|(tile, entries)| {
                store.write(tile, &entries)?;
                let _ = free.send(entries); // nobody waits for the last ones
                Ok(())
            })
        });
        let written = Written { sender, back };
        let computed = compute(&written);
        drop(written);
        let result = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(computed)
    })
}

/// A tile of a device as a store has it.
fn padded<A: Real + Entry>(
    values: &[A],
    grid: Grid,
    tile: TileIndex,
    mut entries: Vec<A>,
) -> Result<Vec<A>> {
    let (cols, edge) = (grid.examples(tile.1).len(), grid.edge());
    if entries.is_empty() {
        entries = zeros::<A>(edge, edge)?;
    }
    for (to, from) in entries.chunks_mut(edge).zip(values.chunks_exact(cols)) {
        to[..cols].copy_from_slice(from);
    }
    complete(&mut entries, grid, tile);
    Ok(entries)
}

/// Bytes that these tiles take on disk.
fn bytes_of(store: &Store, tiles: usize) -> u64 {
    let edge = store.grid().edge() as u64;
    tiles as u64 * edge * edge * store.identity().item() as u64
}

/// One tile, edge x edge: symmetric on the diagonal, NaN beyond the last example. It is made in
/// `entries`, empty or a tile that is no longer needed.
fn block<T: Real, A: Sum<T> + Entry>(
    engine: &Engine<'_, T>,
    grid: Grid,
    tile: TileIndex,
    watch: &Watch<'_>,
    products: Option<Vec<A>>,
    mut entries: Vec<A>,
) -> Result<Vec<A>> {
    let (edge, region) = (grid.edge(), Region::of_tile(grid, tile));
    let (rows, cols) = (region.rows.len(), region.cols.len());
    if entries.is_empty() {
        entries = zeros::<A>(edge, edge)?;
    } else {
        entries.fill(A::zero());
    }
    let target = MatMut::from_row_major_slice_mut(&mut entries, edge, edge);
    let products = products.as_deref().map(|p| MatRef::from_row_major_slice(p, edge, edge));
    engine.fill(&region, watch, products, target.submatrix_mut(0, 0, rows, cols))?;
    complete(&mut entries, grid, tile);
    Ok(entries)
}

/// Makes a tile on the diagonal symmetric, and what is beyond the last example NaN.
fn complete<A: Entry>(entries: &mut [A], grid: Grid, tile: TileIndex) {
    let (edge, rows) = (grid.edge(), grid.examples(tile.0).len());
    let cols = grid.examples(tile.1).len();
    if tile.0 == tile.1 {
        for i in 0..rows {
            for j in i + 1..cols {
                entries[i * edge + j] = entries[j * edge + i];
            }
        }
    }
    for (i, row) in entries.chunks_mut(edge).enumerate() {
        row[if i < rows { cols } else { 0 }..].fill(A::NAN);
    }
}
