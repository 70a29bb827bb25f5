//! Which bytes a finished tile has: a line for each in `journal/`, one file a process.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use entk_device::files;
use serde::{Deserialize, Serialize};

use crate::{
    error::{GramError, Result},
    tiles::grid::TileIndex,
};

/// One line: a tile and the BLAKE3 of its file. A chunk's own checksum does not say where the
/// chunk belongs; the line does, so that two tiles that were exchanged are noticed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tile: TileIndex,
    blake3: String,
}

/// Hashes by tile; a tile may have several lines, all of them of the same bits unless it was
/// discarded.
pub(crate) type Hashes = BTreeMap<TileIndex, HashSet<String>>;

/// The file of this process.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// A name in `folder` that no other process has taken.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let error = |source| GramError::io("write", folder, source);
        files::create_folder(folder).map_err(error)?;
        let mut number = files::list(folder).map_err(error)?.len();
        loop {
            let path = folder.join(format!("{number:06}.jsonl"));
            match files::create_new(&path) {
                Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(GramError::io("create", &path, source)),
                Ok(()) => {
                    files::sync_folder(folder).map_err(error)?;
                    return Ok(Self { path });
                }
            }
        }
    }

    pub(crate) fn append(&self, tile: TileIndex, hash: &str) -> Result<()> {
        let line = Line { tile, blake3: hash.to_owned() };
        let mut bytes = serde_json::to_vec(&line).map_err(|e| GramError::json(&self.path, e))?;
        bytes.push(b'\n');
        files::append(&self.path, &bytes).map_err(|e| GramError::io("append to", &self.path, e))
    }
}

/// All lines of all files. Torn and damaged lines are passed over: their tiles are computed again.
pub(crate) fn read(folder: &Path) -> Result<Hashes> {
    let mut hashes = Hashes::new();
    let paths = match files::list(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(hashes),
        paths => paths.map_err(|e| GramError::io("read", folder, e))?,
    };
    for path in paths {
        let bytes = files::read(&path).map_err(|e| GramError::io("read", &path, e))?;
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                hashes.entry(line.tile).or_default().insert(line.blake3);
            }
        }
    }
    Ok(hashes)
}
