use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use candle_core::DType;
use entk_models::Real;
use faer::{MatMut, MatRef};

use crate::{
    assembly::{Assembly, zeros},
    config::Strategy,
    engine::{Engine, Region, Watch},
    error::{GramError, Result},
    grid::{Grid, TileIndex},
    memory::check_disk,
    part::Part,
    store::{Commit, Disk, Entry, Files, Identity, Store},
    sum::Sum,
};

/// How a Gram goes to disk.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `edge` | 2048 | edge of a tile, in examples: 16 MiB of f32; at most N |
/// | `part` | 1/1 | the share of the tiles to compute |
/// | `disk` | [`Files`] | the file system |
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Edge of a tile.
    pub edge: usize,
    /// The share of the tiles.
    pub part: Part,
    /// The file system, or one with faults.
    pub disk: Arc<dyn Disk>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { edge: 2048, part: Part::default(), disk: Arc::new(Files) }
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
            match (self.params.dtype(), self.dtype()) {
                (DType::F32, DType::F32) => self.tiles::<f32, f32>(&tiles, &mut store),
                (DType::F32, _) => self.tiles::<f32, f64>(&tiles, &mut store),
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
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel::<(TileIndex, Vec<A>)>(1);
            let (back, written) = mpsc::channel();
            let writer = scope.spawn(move || {
                receiver.into_iter().try_for_each(|(tile, entries)| {
                    store.write(tile, &entries)?;
                    let _ = back.send(entries); // nobody waits for the last ones
                    Ok(())
                })
            });
            let computed = tiles.iter().try_for_each(|&tile| {
                // Memory of a written tile: fresh pages cost more than the tile's products.
                let memory = written.try_recv().unwrap_or_default();
                let products =
                    self.products.map(|products| products.tile::<A>(tile)).transpose()?;
                let entries = block(&engine, grid, tile, &watch, products, memory)?;
                // A writer that is gone has an error of its own, which comes first.
                sender.send((tile, entries)).map_err(|_| GramError::Stopped)
            });
            drop(sender);
            let result = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.and(computed)
        })
    }
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
    Ok(entries)
}
