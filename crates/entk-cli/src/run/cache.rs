//! Results that programs share and that survive an interruption: a [`Key`] made of everything that
//! a result depends on comes in, the result goes out, read or computed. Called by experiments.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use entk::device::files::{self, FileError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::run::{lock::EntryLock, stderr::say};

/// Bytes of a BLAKE3 hash.
const HASH: usize = 32;

/// What an entry is and everything that its bits depend on.
///
/// ```
/// use entk_cli::Key;
///
/// let key = |epochs: usize| Key::new("fit").with("epochs", &epochs);
/// assert_eq!(key(3)?.to_string(), key(3)?.to_string());
/// assert_ne!(key(3)?.to_string(), key(4)?.to_string());
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Key {
    kind: &'static str,
    hasher: blake3::Hasher,
}

impl Key {
    /// A key of this kind, which depends on nothing yet but the version of this workspace.
    pub fn new(kind: &'static str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{kind} {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
        Self { kind, hasher }
    }

    /// Makes the key depend on `value` too.
    ///
    /// # Errors
    /// A value without a JSON form.
    pub fn with<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Result<Self> {
        let json = serde_json::to_vec(value).with_context(|| format!("{name} has no JSON form"))?;
        self.hasher.update(format!("{name} {}\n", json.len()).as_bytes());
        self.hasher.update(&json);
        Ok(self)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hasher.finalize().to_hex()[..32])
    }
}

/// How often a run found what it needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// Entries that an earlier run had left.
    pub reused: usize,
    /// Entries that were computed.
    pub computed: usize,
}

/// A folder of results, each under the hash of what it depends on, each with a hash of its own
/// content.
///
/// An entry that is damaged counts as absent: it is computed again, and stderr says so.
#[derive(Debug)]
pub struct ResultCache {
    folder: PathBuf,
    reused: AtomicUsize,
    computed: AtomicUsize,
}

impl ResultCache {
    /// The cache in `folder`, which is made when something is put into it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            reused: AtomicUsize::default(),
            computed: AtomicUsize::default(),
        }
    }

    /// How many entries were found and how many computed, so far.
    pub fn uses(&self) -> CacheUse {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        CacheUse { reused: load(&self.reused), computed: load(&self.computed) }
    }

    /// The value that `work` reads from the folder under `key` or computes into it; `work` also
    /// says whether all of it was there. A folder with damage is removed and filled anew.
    ///
    /// # Errors
    /// When `work` fails, or a damaged folder cannot be removed.
    pub(crate) fn folder_value<T>(
        &self,
        key: &Key,
        is_damage: fn(&anyhow::Error) -> bool,
        work: impl Fn(&Path) -> Result<(T, bool)>,
    ) -> Result<T> {
        let folder = self.folder(key);
        create_for(&folder)?;
        let _held = EntryLock::wait(&folder);
        let (value, reused) = recompute_if_damaged(&folder, is_damage, || work(&folder))?;
        self.count(reused);
        Ok(value)
    }

    fn count(&self, reused: bool) {
        let count = if reused { &self.reused } else { &self.computed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn folder(&self, key: &Key) -> PathBuf {
        self.folder.join(key.kind).join(key.to_string())
    }

    /// The value under `key`; computed and kept if it is not there.
    ///
    /// It has gone through JSON in either case, which keeps every bit of a finite f64.
    ///
    /// # Errors
    /// When `compute` fails, or the folder cannot be written.
    pub fn value<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key,
        compute: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let bytes = self.bytes(key, || Ok(serde_json::to_vec(&compute()?)?))?;
        serde_json::from_slice(&bytes).with_context(|| format!("cache entry {key}"))
    }

    /// The bytes under `key`; computed and kept if they are not there.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn bytes(&self, key: &Key, compute: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let path = self.folder(key).with_extension("bin");
        if let Some(bytes) = read_sealed(&path).context(ANOTHER)? {
            self.count(true);
            return Ok(bytes);
        }
        let mut bytes = compute()?;
        let (hash, length) = (blake3::hash(&bytes), bytes.len());
        bytes.extend_from_slice(hash.as_bytes());
        create_for(&path)?;
        files::write(&path, &bytes).context(ANOTHER)?;
        bytes.truncate(length);
        self.count(false);
        Ok(bytes)
    }
}

/// What helps where a cache cannot be written.
const ANOTHER: &str = "the cache cannot be used; choose another folder with --cache";

/// Makes the folder of an entry.
fn create_for(entry: &Path) -> Result<()> {
    let folder = entry.parent().context("an entry has a folder")?;
    files::create_folder(folder).map_err(FileError::new("make", folder)).context(ANOTHER)
}

/// Says that an entry is computed again, and why.
fn report_damage(path: &Path, reason: &dyn std::fmt::Display) {
    say(format_args!("{}: {reason}; it is computed again", path.display()));
}

/// Runs `work`, which reads or computes what is in `folder`; where it finds that damaged, removes
/// the folder and runs again.
fn recompute_if_damaged<T>(
    folder: &Path,
    is_damage: fn(&anyhow::Error) -> bool,
    work: impl Fn() -> Result<T>,
) -> Result<T> {
    match work() {
        Err(error) if is_damage(&error) && folder.exists() => {
            report_damage(folder, &error);
            files::remove_folder(folder).map_err(FileError::new("remove", folder))?;
            work()
        }
        other => other,
    }
}

/// The content of a file that ends with its hash; none if it is missing or damaged. A disk that
/// fails says nothing of the content: that is an error.
fn read_sealed(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut bytes = match files::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(FileError::new("read", path))?,
    };
    let length = bytes.len().saturating_sub(HASH);
    if blake3::hash(&bytes[..length]).as_bytes()[..] != bytes[length..] {
        report_damage(path, &"the content does not match its hash");
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_computed_once_and_keeps_its_bits() -> Result<()> {
        let root = tempfile::tempdir()?;
        let key = Key::new("value").with("seed", &1)?;
        let values = vec![0.1 + 0.2, 1.0 / 3.0, 1e-300, f64::MIN_POSITIVE];
        assert_eq!(ResultCache::new(root.path()).value(&key, || Ok(values.clone()))?, values);
        let cache = ResultCache::new(root.path());
        let found: Vec<f64> = cache.value(&key, || anyhow::bail!("computed twice"))?;
        assert_eq!(found, values);
        assert_eq!(cache.uses(), CacheUse { reused: 1, computed: 0 });
        Ok(())
    }

    #[test]
    fn every_damaged_byte_is_noticed() -> Result<()> {
        let root = tempfile::tempdir()?;
        let (cache, key) = (ResultCache::new(root.path()), Key::new("value"));
        cache.bytes(&key, || Ok(b"payload".to_vec()))?;
        let path = cache.folder(&key).with_extension("bin");
        let whole = std::fs::read(&path)?;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged)?;
            assert_eq!(read_sealed(&path)?, None, "byte {at}");
            std::fs::write(&path, &whole[..at])?;
            assert_eq!(read_sealed(&path)?, None, "cut to {at}");
        }
        assert_eq!(cache.bytes(&key, || Ok(b"again".to_vec()))?, b"again");
        assert_eq!(cache.uses(), CacheUse { reused: 0, computed: 2 });
        Ok(())
    }

    #[test]
    fn a_failure_leaves_nothing_behind() -> Result<()> {
        let root = tempfile::tempdir()?;
        let (cache, key) = (ResultCache::new(root.path()), Key::new("value"));
        assert!(cache.value::<f64>(&key, || anyhow::bail!("no")).is_err());
        assert_eq!(cache.value(&key, || Ok(2.0))?, 2.0);
        Ok(())
    }
}
