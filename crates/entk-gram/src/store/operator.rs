//! A store as an operator that reads tile by tile, for eigensolvers.

use entk_device::files;
use entk_spectral::{EntryType, LowerTiles, SpectralError, Tile, TiledOperator};

use crate::{
    error::{GramError, Result},
    store::{COMMIT, Store, chunk::decode},
    tiles::grid::TileIndex,
};

impl Store {
    /// The kernel as an operator that reads tile by tile, for
    /// [`eigsh`](entk_spectral::eigsh) of a Gram that memory does not hold.
    ///
    /// Reads every tile once to compare it with `commit.json`; later reads check the tile's own
    /// CRC-32C.
    ///
    /// # Errors
    /// As [`Store::gram`].
    pub fn operator(&self) -> Result<TiledOperator<&Self>> {
        let present = self.present()?;
        let commit = self
            .commit()?
            .ok_or_else(|| GramError::NotAStore { folder: self.folder.clone(), missing: COMMIT })?;
        if self.root(&present)? != commit.root {
            let reason = "some tiles are not those of commit.json; compute them again".to_owned();
            return Err(GramError::Damaged { path: self.folder.clone(), reason });
        }
        Ok(TiledOperator::new(self)?)
    }
}

impl LowerTiles for &Store {
    fn n(&self) -> usize {
        self.grid().n()
    }

    fn edge(&self) -> usize {
        self.grid().edge()
    }

    fn entry_type(&self) -> EntryType {
        if self.identity.item() == 8 { EntryType::F64 } else { EntryType::F32 }
    }

    fn read(&self, i: usize, j: usize) -> std::result::Result<Tile, SpectralError> {
        let (grid, path) = (self.grid(), self.tile_path(TileIndex(i, j)));
        let failed = |reason: String| SpectralError::Operator {
            reason: format!("{}: {reason}", path.display()),
        };
        let bytes = files::read(&path).map_err(|error| SpectralError::Unreadable {
            reason: format!("{}: {error}", path.display()),
            kind: error.kind(),
        })?;
        let (rows, cols, edge) = (grid.range(i).len(), grid.range(j).len(), grid.edge());
        Ok(match self.entry_type() {
            EntryType::F64 => {
                Tile::F64(cut(decode(&bytes, edge * edge).map_err(failed)?, edge, rows, cols))
            }
            EntryType::F32 => {
                Tile::F32(cut(decode(&bytes, edge * edge).map_err(failed)?, edge, rows, cols))
            }
        })
    }
}

/// The part of a padded tile that belongs to the matrix.
fn cut<T: Copy>(tile: Vec<T>, edge: usize, rows: usize, cols: usize) -> Vec<T> {
    if (rows, cols) == (edge, edge) {
        return tile;
    }
    tile.chunks_exact(edge).take(rows).flat_map(|row| row[..cols].iter().copied()).collect()
}
