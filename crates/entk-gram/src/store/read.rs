//! Entries of a store in memory: all of them, one, or the diagonal.

use std::collections::BTreeMap;

use entk_device::files;
use entk_spectral::Gram;

use crate::{
    error::{GramError, Result},
    memory::{check_memory, zeros},
    store::{
        JOURNAL, Store,
        chunk::{Entry, decode},
        journal,
        journal::Hashes,
    },
    tiles::grid::TileIndex,
};

impl Store {
    /// The whole Gram in memory, every tile checked against `commit.json`. Memory: N^2 entries
    /// and a tile.
    ///
    /// # Errors
    /// [`GramError::TooMuchMemory`] for more than this process may have, [`GramError::Damaged`]
    /// with the tile, those of the file system, or a store that is not finished.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "read_store", skip_all))]
    pub fn gram(&self) -> Result<Gram> {
        let n = self.identity.n;
        Ok(match self.identity.item() {
            8 => Gram::from_lower_f64(n, self.lower::<f64>()?)?,
            _ => Gram::from_lower_f32(n, self.lower::<f32>()?)?,
        })
    }

    /// Entry (i, j), from one tile, whose checksum is checked. For a look here and there.
    ///
    /// # Errors
    /// [`GramError::Damaged`], or those of the file system.
    ///
    /// # Panics
    /// As indexing a slice does, unless i < N and j < N.
    pub fn get(&self, i: usize, j: usize) -> Result<f64> {
        let (i, j) = (i.max(j), i.min(j));
        let edge = self.grid().edge();
        let tile = TileIndex(i / edge, j / edge);
        let at = (i % edge) * edge + j % edge;
        let path = self.tile_path(tile);
        let bytes = files::read(&path).map_err(|e| GramError::io("read", &path, e))?;
        let damaged = |reason| GramError::Damaged { path: path.clone(), reason };
        Ok(match self.identity.item() {
            8 => decode::<f64>(&bytes, edge * edge).map_err(damaged)?[at],
            _ => f64::from(decode::<f32>(&bytes, edge * edge).map_err(damaged)?[at]),
        })
    }

    /// The diagonal of K, N entries, from the diagonal tiles alone, whose checksums are checked.
    ///
    /// # Errors
    /// [`GramError::Damaged`], or those of the file system.
    pub fn diagonal(&self) -> Result<Vec<f64>> {
        match self.identity.item() {
            8 => self.diagonal_of::<f64>(),
            _ => self.diagonal_of::<f32>(),
        }
    }

    fn diagonal_of<A: Entry + Into<f64>>(&self) -> Result<Vec<f64>> {
        let (grid, hashes) = (self.grid(), self.hashes()?);
        let mut diagonal = Vec::new();
        for at in 0..grid.side() {
            let tile = self.tile::<A>(TileIndex(at, at), &hashes)?;
            let entries = tile.into_iter().step_by(grid.edge() + 1);
            diagonal.extend(entries.take(grid.range(at).len()).map(Into::into));
        }
        Ok(diagonal)
    }

    /// The entries of a tile, edge x edge, whose bytes must be those of the journal.
    pub(crate) fn tile<A: Entry>(&self, tile: TileIndex, hashes: &Hashes) -> Result<Vec<A>> {
        let (path, edge) = (self.tile_path(tile), self.grid().edge());
        let bytes = files::read(&path).map_err(|e| GramError::io("read", &path, e))?;
        let found = blake3::hash(&bytes).to_string();
        let damaged = |reason| GramError::Damaged { path: path.clone(), reason };
        if !hashes.get(&tile).is_some_and(|expected| expected.contains(&found)) {
            return Err(damaged(format!("its BLAKE3, {found}, is not in the journal")));
        }
        decode(&bytes, edge * edge).map_err(damaged)
    }

    /// What the journal says of every tile.
    pub(crate) fn hashes(&self) -> Result<Hashes> {
        journal::read(&self.folder.join(JOURNAL))
    }

    fn lower<A: Entry + entk_models::Real>(&self) -> Result<Vec<A>> {
        let n = self.identity.n;
        let bytes = (n as u64).saturating_mul(n as u64).saturating_mul(size_of::<A>() as u64);
        let remedy = "read it tile by tile, as `eigen --gram DIR` and `predict --cg` do; in Rust by \
                      Store::operator or Store::rows";
        check_memory(bytes, "the matrix of the store", remedy)?;
        let mut entries = zeros::<A>(n, n)?;
        self.for_each_tile::<A>(|tile, values| {
            let (rows, cols) = (self.grid().range(tile.0), self.grid().range(tile.1));
            for (i, row) in rows.zip(values.chunks(self.grid().edge())) {
                let at = i * n + cols.start;
                entries[at..at + cols.len()].copy_from_slice(&row[..cols.len()]);
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// Hands each tile to `take`, row by row, edge x edge entries, and ends with an error unless
    /// all of them together are those of the commit.
    pub(super) fn for_each_tile<A: Entry>(
        &self,
        mut take: impl FnMut(TileIndex, &[A]) -> Result<()>,
    ) -> Result<()> {
        let commit = self.commit()?.ok_or_else(|| GramError::NotAStore {
            folder: self.folder.clone(),
            missing: super::COMMIT,
        })?;
        let edge = self.grid().edge();
        let mut hashes = BTreeMap::new();
        for tile in self.grid().lower() {
            let path = self.tile_path(tile);
            let bytes = files::read(&path).map_err(|e| GramError::io("read", &path, e))?;
            let values = decode(&bytes, edge * edge)
                .map_err(|reason| GramError::Damaged { path: path.clone(), reason })?;
            hashes.insert(tile, blake3::hash(&bytes).to_string());
            take(tile, &values)?;
        }
        let root = self.root(&hashes)?;
        if root != commit.root {
            let reason = format!(
                "the tiles' BLAKE3 is {root}, commit.json has {}: files were exchanged",
                commit.root
            );
            return Err(GramError::Damaged { path: self.folder.clone(), reason });
        }
        Ok(())
    }
}
