//! A Gram on disk that survives: a Zarr v3 array of lower tiles, resumable and checked.

pub(crate) mod chunk;
pub(crate) mod config;
mod export;
pub(crate) mod identity;
pub(crate) mod journal;
mod operator;
mod read;
pub(crate) mod rows;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use entk_device::files;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{GramError, Result},
    memory::reserved,
    store::{
        chunk::Entry,
        journal::{Hashes, Journal},
    },
};
pub use crate::{
    store::{
        config::{StoreConfig, StoreReport},
        identity::Identity,
        rows::StoredRows,
    },
    tiles::{
        grid::{Grid, TileIndex},
        part::Part,
    },
};

const RUN: &str = "run.json";
const METADATA: &str = "zarr.json";
const COMMIT: &str = "commit.json";
const JOURNAL: &str = "journal";

/// The lower triangle of a Gram as a folder that is at any moment whole, or can be completed.
///
/// | file | content |
/// |---|---|
/// | `run.json` | the [`Identity`] |
/// | `zarr.json` | Zarr v3: `zarr.open(folder)` reads the array, NaN above the diagonal |
/// | `c/I/J` | tile (I, J), I >= J: entries little-endian, then CRC-32C; diagonal ones whole |
/// | `journal/` | BLAKE3 of each finished tile |
/// | `commit.json` | written last: number of tiles and their common BLAKE3 |
/// | `rows-HASH.npy` | the full square, if [`Store::rows`] was asked for it |
///
/// A tile is written to a temporary name, synced, entered in the journal, renamed, and its folder
/// synced. Killed at any moment, the same command continues: tiles that are there and fit the
/// journal are kept, everything else is computed again, and equal identities give equal bytes.
/// No lock is needed: two processes that compute the same tile write the same bytes.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    identity: Identity,
    journal: Option<Journal>,
    /// The bytes of the tile that is being written.
    bytes: Vec<u8>,
}

/// The last file of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Number of tiles.
    pub tiles: usize,
    /// BLAKE3 over identity, position and BLAKE3 of every tile.
    pub root: String,
}

impl Store {
    /// Makes the store of this identity in `folder`, or continues it.
    ///
    /// # Errors
    /// [`GramError::OtherRun`], with every difference, if the folder holds the store of another
    /// identity; [`GramError::NotAStore`] if it holds something else; those of the file system.
    pub fn resume(folder: impl AsRef<Path>, identity: &Identity) -> Result<Self> {
        let store = Self::unopened(folder, identity.clone());
        let (folder, run) = (&store.folder, store.folder.join(RUN));
        files::create_folder(folder).map_err(|e| GramError::io("create", folder, e))?;
        match read_json::<Identity>(&run)? {
            None if folder.join(METADATA).exists() || folder.join("c").exists() => {
                return Err(GramError::NotAStore { folder: folder.clone(), missing: RUN });
            }
            None => store.publish(&run, &to_json(&run, identity)?)?,
            Some(found) if found == *identity => {}
            Some(found) => {
                let differences = found.differences(identity);
                return Err(GramError::OtherRun { folder: folder.clone(), differences });
            }
        }
        let (metadata, path) = (chunk::metadata(identity), folder.join(METADATA));
        if !holds(&path, &metadata)? {
            store.publish(&path, &to_json(&path, &metadata)?)?;
        }
        Ok(store)
    }

    /// Opens a finished store.
    ///
    /// # Errors
    /// [`GramError::NotAStore`] without `run.json` or, before the run is finished, `commit.json`;
    /// a file that cannot be read or understood.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let store = Self::open_partial(folder)?;
        match store.commit()? {
            Some(_) => Ok(store),
            None => Err(GramError::NotAStore { folder: store.folder, missing: COMMIT }),
        }
    }

    /// Opens a store, finished or not, to inspect or finish it.
    ///
    /// # Errors
    /// As [`Store::open`], but for `commit.json`; [`GramError::Damaged`] if its files do not agree
    /// on its size.
    pub fn open_partial(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let not_a_store = |missing| GramError::NotAStore { folder: folder.to_owned(), missing };
        let identity = read_json(&folder.join(RUN))?.ok_or_else(|| not_a_store(RUN))?;
        let store = Self::unopened(folder, identity);
        let found: Option<serde_json::Value> = read_json(&folder.join(METADATA))?;
        let found = found.ok_or_else(|| not_a_store(METADATA))?;
        store.check_size(METADATA, chunk::metadata(&store.identity) == found)?;
        if let Some(commit) = store.commit()? {
            store.check_size(COMMIT, commit.tiles == store.grid().tiles())?;
        }
        Ok(store)
    }

    /// Refuses a store of which another file says that it has another size.
    fn check_size(&self, other: &'static str, fits: bool) -> Result<()> {
        if fits {
            return Ok(());
        }
        let Identity { n, edge, .. } = self.identity;
        let reason = format!("n = {n} and edge = {edge} do not fit {other}");
        Err(GramError::Damaged { path: self.folder.join(RUN), reason })
    }

    fn unopened(folder: impl AsRef<Path>, identity: Identity) -> Self {
        let folder = folder.as_ref().to_owned();
        Self { folder, identity, journal: None, bytes: Vec::new() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the bits of this store depend on.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the matrix is cut into tiles.
    pub fn grid(&self) -> Grid {
        Grid::new(self.identity.n, self.identity.edge)
    }

    /// The tiles that are not there, or damaged, or exchanged, row by row. Reads every tile.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn missing(&self) -> Result<Vec<TileIndex>> {
        let (present, grid) = (self.present()?, self.grid());
        let mut missing = reserved(grid.tiles() - present.len(), 1)?;
        missing.extend(grid.lower().filter(|tile| !present.contains_key(tile)));
        Ok(missing)
    }

    /// Which of some tiles are not there or are damaged, in their order; only these are read.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn missing_of(&self, tiles: &[TileIndex]) -> Result<Vec<TileIndex>> {
        let journal = self.hashes()?;
        let is_missing = |tile: &TileIndex| Ok(self.intact(*tile, &journal)?.is_none());
        let missing = tiles.par_iter().map(is_missing).collect::<Result<Vec<bool>>>()?;
        Ok(tiles
            .iter()
            .zip(missing)
            .filter_map(|(tile, missing)| missing.then_some(*tile))
            .collect())
    }

    /// The commit, or `None` before the run is finished.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn commit(&self) -> Result<Option<Commit>> {
        read_json(&self.folder.join(COMMIT))
    }

    /// Checks that every tile is there and whole, removes temporary files of processes that are
    /// gone, and writes `commit.json`. Harmless to repeat.
    ///
    /// # Errors
    /// [`GramError::MissingTiles`], or those of the file system.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "finish_store", skip_all))]
    pub fn finish(&self) -> Result<Commit> {
        let (present, tiles) = (self.present()?, self.grid().tiles());
        if let Some(first) = self.grid().lower().find(|tile| !present.contains_key(tile)) {
            let (folder, missing) = (self.folder.clone(), tiles - present.len());
            return Err(GramError::MissingTiles { folder, missing, tiles, first });
        }
        self.remove_abandoned();
        let commit = Commit { tiles: present.len(), root: self.root(&present)? };
        let path = self.folder.join(COMMIT);
        if !holds(&path, &commit)? {
            self.publish(&path, &to_json(&path, &commit)?)?;
        }
        Ok(commit)
    }

    /// Takes away the tiles that share rows or columns with entry (i, j), which has turned out
    /// wrong, and the commit: the same command computes them again. What made one entry wrong may
    /// have made its row wrong. Returns how many tiles were there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn discard(&self, [i, j]: [usize; 2]) -> Result<usize> {
        let edge = self.grid().edge();
        let wrong = [i / edge, j / edge];
        let remove = |path: &Path| match files::remove(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            removed => removed.map(|()| 1).map_err(|e| GramError::io("remove", path, e)),
        };
        remove(&self.folder.join(COMMIT))?;
        let tiles = self.grid().lower();
        let tiles = tiles.filter(|tile| wrong.contains(&tile.0) || wrong.contains(&tile.1));
        tiles.map(|tile| remove(&self.tile_path(tile))).sum()
    }

    /// The hash of each tile that is there and fits the journal.
    fn present(&self) -> Result<BTreeMap<TileIndex, String>> {
        let (journal, grid) = (self.hashes()?, self.grid());
        // Those of the journal, for run.json may promise any number.
        let tiles: Vec<_> = journal.keys().copied().filter(|tile| grid.has(*tile)).collect();
        let hash = |tile| Ok(self.intact(tile, &journal)?.map(|hash| (tile, hash)));
        let present: Vec<_> = tiles.into_par_iter().map(hash).collect::<Result<_>>()?;
        Ok(present.into_iter().flatten().collect())
    }

    fn intact(&self, tile: TileIndex, journal: &Hashes) -> Result<Option<String>> {
        let Some(expected) = journal.get(&tile) else { return Ok(None) };
        let path = self.tile_path(tile);
        let file = match files::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| GramError::io("read", &path, e))?,
        };
        // Part by part: a buffer for the whole tile would cost more in fresh pages than the
        // hash.
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(|e| GramError::io("read", &path, e))?;
        let hash = hasher.finalize().to_string();
        Ok(expected.contains(&hash).then_some(hash))
    }

    fn root(&self, hashes: &BTreeMap<TileIndex, String>) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&to_json(&self.folder.join(RUN), &self.identity)?);
        for (TileIndex(row, col), hash) in hashes {
            hasher.update(format!("{row} {col} {hash}\n").as_bytes());
        }
        Ok(hasher.finalize().to_string())
    }

    fn tile_path(&self, TileIndex(row, col): TileIndex) -> PathBuf {
        self.folder.join("c").join(row.to_string()).join(col.to_string())
    }

    /// Writes one tile of edge x edge entries and makes it last.
    pub(crate) fn write<A: Entry>(&mut self, tile: TileIndex, entries: &[A]) -> Result<()> {
        self.check_finite(tile, entries)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        chunk::encode(entries, &mut bytes);
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => Journal::create(&self.folder.join(JOURNAL))?,
        };
        let hash = blake3::hash(&bytes).to_string();
        let path = self.tile_path(tile);
        let entered = || journal.append(tile, &hash);
        let result = self.publish_after(&path, &bytes, entered);
        self.journal = Some(journal);
        self.bytes = bytes;
        result
    }

    /// Refuses NaN and infinity in the part of a tile that holds examples.
    fn check_finite<A: Entry>(&self, tile: TileIndex, entries: &[A]) -> Result<()> {
        let (rows, cols) = (self.grid().range(tile.0), self.grid().range(tile.1));
        for (i, row) in rows.zip(entries.chunks(self.grid().edge())) {
            if let Some(at) = row[..cols.len()].iter().position(|entry| !entry.finite()) {
                let (col, value) = (cols.start + at, row[at].widened());
                return Err(GramError::NonFinite { row: i, col, value });
            }
        }
        Ok(())
    }

    fn publish(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.publish_after(path, bytes, || Ok(()))
    }

    /// Writes a file, in a folder that is made if need be; `before_rename` as in
    /// [`files::write_then`].
    fn publish_after(
        &self,
        path: &Path,
        bytes: &[u8],
        before_rename: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.folder);
        let created = !folder.exists();
        files::create_folder(folder).map_err(|e| GramError::io("create", folder, e))?;
        if created && let Some(above) = folder.parent() {
            files::sync_folder(above).map_err(|e| GramError::io("sync", above, e))?;
        }
        files::write_then(path, bytes, before_rename)
    }

    fn remove_abandoned(&self) {
        let rows = (0..self.grid().side()).map(|row| self.folder.join("c").join(row.to_string()));
        rows.chain([self.folder.clone()]).for_each(|folder| files::remove_abandoned(&folder));
    }
}

fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| GramError::json(path, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether a file is there, undamaged and with this content.
fn holds<T: DeserializeOwned + PartialEq>(path: &Path, content: &T) -> Result<bool> {
    match read_json::<T>(path) {
        Err(GramError::Damaged { .. }) => Ok(false),
        found => Ok(found?.as_ref() == Some(content)),
    }
}

/// The content of a file, or `None` where there is none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match files::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => {
            let bytes = bytes.map_err(|e| GramError::io("read", path, e))?;
            serde_json::from_slice(&bytes).map(Some).map_err(|e| GramError::json(path, e))
        }
    }
}
