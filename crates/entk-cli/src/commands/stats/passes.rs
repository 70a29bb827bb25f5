//! Sums over all examples, a file for each pass: what one part of them gives comes in, the sum of
//! all parts in their order goes out, computed, found or waited for. Called by `sums`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use entk::{
    device::files::{self, FileError},
    gram::GramError,
};

use crate::commands::stats::share::Share;

/// How long a part that is not there stays unasked for.
const PAUSE: Duration = Duration::from_millis(100);

/// The folder of a run's sums. A file holds the hash of what was summed, the numbers (f64, little
/// endian) and the hash of both, so that one that is damaged or of another run is not taken.
pub struct PassFolder<'a> {
    pub path: PathBuf,
    pub identity: blake3::Hash,
    pub share: Share,
    pub stop: &'a AtomicBool,
}

impl PassFolder<'_> {
    /// The sum of `len` numbers over all parts in pass `pass`. Parts that are not there are
    /// computed, if they are this process's, else waited for.
    ///
    /// An error that is [`GramError::Stopped`] says which parts are missing.
    pub fn sum(
        &self,
        pass: usize,
        len: usize,
        compute: impl Fn(usize) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let whole = self.whole(pass);
        if let Some(sum) = self.read(&whole, len) {
            return Ok(sum);
        }
        if self.share.parts == 1 {
            let sum = compute(0)?;
            self.write(&whole, &sum)?;
            return Ok(sum);
        }
        for part in (0..self.share.parts).filter(|part| self.share.own.takes(*part)) {
            let path = self.part(pass, part);
            if self.read(&path, len).is_none() {
                self.write(&path, &compute(part)?)?;
            }
        }
        let (mut total, begin) = (vec![0.0; len], Instant::now());
        for part in 0..self.share.parts {
            let found = self.wait_for(pass, part, len, begin)?;
            total.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
        }
        self.write(&whole, &total)?;
        self.remove_parts(pass);
        Ok(total)
    }

    fn whole(&self, pass: usize) -> PathBuf {
        self.path.join(format!("pass-{pass:03}.sum"))
    }

    fn part(&self, pass: usize, part: usize) -> PathBuf {
        self.path.join(format!("pass-{pass:03}-part-{part}.sum"))
    }

    /// What a part of a pass gave, once it is there.
    fn wait_for(&self, pass: usize, part: usize, len: usize, begin: Instant) -> Result<Vec<f64>> {
        let path = self.part(pass, part);
        loop {
            if let Some(found) = self.read(&path, len) {
                return Ok(found);
            }
            let is_late = self.share.wait.is_some_and(|limit| begin.elapsed() >= limit);
            if is_late || self.stop.load(Ordering::Relaxed) {
                let is_missing = |part: &usize| self.read(&self.part(pass, *part), len).is_none();
                let missing = (part..self.share.parts).filter(is_missing);
                let missing: Vec<String> = missing.map(|part| (part + 1).to_string()).collect();
                let missing = missing.join(", ");
                return Err(GramError::Stopped).with_context(|| {
                    format!("pass {pass} waits for parts {missing}; then run this part again")
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Removes the parts of the pass before this one, of which all have the sum by now. What cannot
    /// be removed does no harm.
    fn remove_parts(&self, pass: usize) {
        let Some(before) = pass.checked_sub(1) else { return };
        for part in 0..self.share.parts {
            let _ = files::remove(&self.part(before, part));
        }
    }

    fn write(&self, path: &Path, numbers: &[f64]) -> Result<()> {
        Ok(files::write_with(path, |file| {
            let mut hasher = blake3::Hasher::new();
            let mut put = |bytes: &[u8]| {
                hasher.update(bytes);
                file.write_all(bytes).map_err(FileError::new("write", path))
            };
            put(self.identity.as_bytes())?;
            numbers.iter().try_for_each(|x| put(&x.to_le_bytes()))?;
            let hash = hasher.finalize();
            file.write_all(hash.as_bytes()).map_err(FileError::new("write", path))
        })?)
    }

    /// The numbers of a file that is there, whole and of this run.
    fn read(&self, path: &Path, len: usize) -> Option<Vec<f64>> {
        const HASH: usize = blake3::OUT_LEN;
        let bytes = files::read(path).ok()?;
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        let (identity, numbers) = content.split_at_checked(HASH)?;
        let is_whole = blake3::hash(content).as_bytes() == hash
            && self.identity.as_bytes() == identity
            && numbers.len() == 8 * len;
        let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
        is_whole.then(|| numbers.as_chunks().0.iter().map(number).collect())
    }
}
