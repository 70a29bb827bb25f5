//! Stores of kernels: run.json, commit.json, the journal and tiles, of which any may lie.

use std::{fs, io, path::Path};

use entk::{
    gram::{Store, store::Identity},
    spectral::KernelRows,
};

use crate::parsers::inputs::{split, with_folder};

/// Larger ones are of an honest size for the machine, or are refused: both without a new path.
const LARGEST: usize = 1 << 20;

/// A byte, then run.json, commit.json, the journal, and tiles row by row. Bit 0 of the byte makes
/// checksums and journal right, bit 1 the commit too, bit 2 takes zarr.json away.
pub fn store(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let files = split(rest);
    let [run, commit, journal, tiles @ ..] = files.as_slice() else { return };
    with_folder(|folder| {
        let hashes = write_tiles(folder, tiles, journal, mode & 1 == 1)?;
        fs::write(folder.join("run.json"), run)?;
        let identity = serde_json::from_slice::<Identity>(run).ok();
        let commit = match &identity {
            Some(identity) if mode & 3 == 3 => right_commit(identity, &hashes)?,
            _ => commit.to_vec(),
        };
        fs::write(folder.join("commit.json"), commit)?;
        if let Some(identity) = identity.filter(|_| mode & 4 == 0) {
            fs::write(folder.join("zarr.json"), metadata(&identity))?;
        }
        read(folder);
        Ok(())
    });
}

fn write_tiles(
    folder: &Path,
    tiles: &[&[u8]],
    journal: &[u8],
    right: bool,
) -> io::Result<Vec<(usize, usize, String)>> {
    let (mut journal, mut hashes) = (journal.to_vec(), Vec::new());
    let places = (0..4_usize).flat_map(|row| (0..=row).map(move |col| (row, col)));
    for (tile, (row, col)) in tiles.iter().zip(places) {
        let mut bytes = tile.to_vec();
        if right {
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
            let hash = blake3::hash(&bytes).to_string();
            journal.extend(format!("{{\"tile\":[{row},{col}],\"blake3\":\"{hash}\"}}\n").bytes());
            hashes.push((row, col, hash));
        }
        fs::create_dir_all(folder.join(format!("c/{row}")))?;
        fs::write(folder.join(format!("c/{row}/{col}")), bytes)?;
    }
    fs::create_dir_all(folder.join("journal"))?;
    fs::write(folder.join("journal/000000.jsonl"), journal)?;
    Ok(hashes)
}

fn right_commit(identity: &Identity, hashes: &[(usize, usize, String)]) -> io::Result<Vec<u8>> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec_pretty(identity)?);
    hasher.update(b"\n");
    for (row, col, hash) in hashes {
        hasher.update(format!("{row} {col} {hash}\n").as_bytes());
    }
    let (tiles, root) = (hashes.len(), hasher.finalize());
    Ok(format!("{{\"tiles\":{tiles},\"root\":\"{root}\"}}").into_bytes())
}

/// zarr.json of this size, as a store writes it.
fn metadata(identity: &Identity) -> String {
    let Identity { n, edge, dtype, .. } = identity;
    format!(
        r#"{{"zarr_format": 3, "node_type": "array", "shape": [{n}, {n}],
        "data_type": {}, "fill_value": "NaN",
        "chunk_grid": {{"name": "regular", "configuration": {{"chunk_shape": [{edge}, {edge}]}}}},
        "chunk_key_encoding": {{"name": "default", "configuration": {{"separator": "/"}}}},
        "codecs": [{{"name": "bytes", "configuration": {{"endian": "little"}}}},
                   {{"name": "crc32c"}}],
        "attributes": {{"content": "lower triangle of an empirical NTK Gram matrix, by tiles"}}}}"#,
        serde_json::Value::from(dtype.as_str())
    )
}

fn read(folder: &Path) {
    let Ok(store) = Store::open_partial(folder) else { return };
    if store.grid().tiles() <= LARGEST {
        let _ = store.missing();
    }
    let Ok(store) = Store::open(folder) else { return };
    let n = store.identity().n;
    if n <= LARGEST {
        if let (Ok(gram), Ok(diagonal)) = (store.gram(), store.diagonal()) {
            assert!(gram.n() == n && diagonal == gram.diagonal());
        }
        if n > 0 {
            let _ = (store.get(0, 0), store.get(n - 1, 0));
        }
        if let Ok(rows) = store.rows() {
            let _ = rows.rows(&[0], &mut Vec::new()).map(|rows| rows.len());
        }
    }
    let _ = store.operator();
    let _ = store.finish();
}
