//! An assembly into a store on disk: tiles are computed on this thread's pool and written on a
//! thread beside it, so that any interruption leaves what is finished.

use std::{path::Path, sync::mpsc};

use candle_core::DType;
use entk_models::Real;
use faer::MatMut;

use crate::{
    assembly::Assembly,
    cpu::KernelEntry,
    error::{GramError, Result},
    memory::{check_disk, zeros},
    plan::{Plan, TILES, Target},
    store::{
        Store,
        chunk::Entry,
        config::{StoreConfig, StoreReport},
    },
    tiles::{
        Fill, TileSink, Tiles,
        grid::{Grid, TileIndex},
        part::Part,
        touched::TouchedRows,
    },
};

impl Assembly<'_> {
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
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "gram_to_store", skip_all))]
    pub fn store(&self, folder: impl AsRef<Path>, config: &StoreConfig) -> Result<StoreReport> {
        let identity = self.identity(config.edge)?;
        if let Some(products) = self.products().filter(|products| products.edge() != identity.edge)
        {
            return Err(GramError::Edge { expected: products.edge(), got: identity.edge });
        }
        let mut store = Store::resume(folder, &identity)?;
        let share = config.part.share(store.grid());
        let wanted = store.missing_of(&share)?;
        let (share, computed) = (share.len(), wanted.len());
        if computed > 0 {
            check_disk(store.folder(), bytes_of(&store, computed))?;
            match self.dtype() {
                DType::F64 => self.fill_store::<f64>(&wanted, &mut store),
                _ => self.fill_store::<f32>(&wanted, &mut store),
            }?;
        }
        let commit = if config.part.is_whole() { Some(store.finish()?) } else { None };
        Ok(StoreReport { store, computed, kept: share - computed, commit })
    }

    /// Plans one part of a store with tiles of `edge`, as [`plan`](Self::plan) the whole: it needs
    /// the examples of its tiles alone.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_part(&self, edge: usize, part: Part) -> Result<Plan> {
        let grid = self.grid(edge)?;
        let wanted = part.share(grid);
        let touched = self.touched(grid, &wanted)?;
        self.as_large_as(&touched)?.plan_of(moved(&touched, &wanted), Target::Store { edge })
    }

    /// Computes tiles from the examples that they need, in the same bits as from all of them.
    fn fill_store<A: KernelEntry>(&self, wanted: &[TileIndex], store: &mut Store) -> Result<()> {
        let touched = self.touched(store.grid(), wanted)?;
        let narrowed = self.narrowed(&touched)?;
        let engine = narrowed.engine::<A>(moved(&touched, wanted), TILES - 1)?;
        written(store, &touched, |writer| engine.run(&self.watch(), writer))
    }
}

/// Tiles where they are among the rows that they need.
fn moved<'t>(touched: &TouchedRows, wanted: &[TileIndex]) -> Tiles<'t> {
    let wanted = wanted.iter().map(|tile| touched.moved(*tile)).collect();
    Tiles { wanted, ..Tiles::lower(touched.grid()) }
}

/// Channels: finished tiles go to the thread that writes them, their memory comes back.
struct TileWriter<'t, A> {
    grid: Grid,
    touched: &'t TouchedRows,
    sender: mpsc::SyncSender<(TileIndex, Vec<A>)>,
    back: mpsc::Receiver<Vec<A>>,
}

impl<A> TileWriter<'_, A> {
    /// Memory of a written tile, or an empty vector: fresh pages cost more than the tile's
    /// products.
    fn memory(&self) -> Vec<A> {
        self.back.try_recv().unwrap_or_default()
    }

    fn send(&self, tile: TileIndex, entries: Vec<A>) -> Result<()> {
        // The writer ended with an error, which its thread returns; this one is not seen.
        self.sender.send((tile, entries)).map_err(|_| GramError::Stopped)
    }
}

/// Runs `compute` here, and a thread beside it that writes the tiles it sends.
fn written<A: Real + Entry>(
    store: &mut Store,
    touched: &TouchedRows,
    compute: impl FnOnce(&mut TileWriter<'_, A>) -> Result<()>,
) -> Result<()> {
    let grid = store.grid();
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
        let mut tiles = TileWriter { grid, touched, sender, back };
        let computed = compute(&mut tiles);
        drop(tiles);
        let result = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(computed)
    })
}

impl<A: Real + Entry> TileSink<A> for TileWriter<'_, A> {
    /// A tile is edge x edge: symmetric on the diagonal, NaN beyond the last example.
    fn tile(&mut self, at: TileIndex, fill: &mut Fill<'_, A>) -> Result<()> {
        let (at, mut entries) = (self.touched.original(at), self.memory());
        let (grid, edge) = (self.grid, self.grid.edge());
        if entries.is_empty() {
            entries = zeros::<A>(edge, edge)?;
        } else {
            entries.fill(A::zero());
        }
        let (rows, cols) = (grid.range(at.0).len(), grid.range(at.1).len());
        let tile = MatMut::from_row_major_slice_mut(&mut entries, edge, edge);
        fill(tile.submatrix_mut(0, 0, rows, cols))?;
        complete(&mut entries, grid, at);
        self.send(at, entries)
    }
}

/// Bytes that these tiles take on disk.
fn bytes_of(store: &Store, tiles: usize) -> u64 {
    let edge = store.grid().edge() as u64;
    tiles as u64 * edge * edge * store.identity().item() as u64
}

/// Makes a tile on the diagonal symmetric, and what is beyond the last example NaN.
fn complete<A: Entry>(entries: &mut [A], grid: Grid, tile: TileIndex) {
    let (edge, rows) = (grid.edge(), grid.range(tile.0).len());
    let cols = grid.range(tile.1).len();
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use entk_models::{MlpConfig, Model};

    use super::*;
    use crate::GramConfig;

    /// Three tiles of 2 x 2 entries in f32.
    #[test]
    fn tiles_take_their_entries_on_disk() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
        let theta = network.init(0, DType::F32, &Device::Cpu)?;
        let x = Tensor::ones((3, 1, 2, 2), DType::F32, &Device::Cpu)?;
        let assembly = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
        let folder = tempfile::tempdir()?;
        let store = Store::resume(folder.path(), &assembly.identity(2)?)?;
        assert_eq!(bytes_of(&store, 3), 3 * 2 * 2 * 4);
        Ok(())
    }
}
