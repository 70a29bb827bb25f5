//! Sums over all examples, a file for each pass: what one part of them gives comes in, the sum of
//! all parts in their order goes out, computed or as it was found. Called by `sums`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use entk::{
    device::files::{self, FileError},
    gram::GramError,
};

/// The folder of a run's sums. A file holds the hash of what was summed, the numbers (f64, little
/// endian) and the hash of both, so that one that is damaged or of another run is not taken.
pub struct PassFolder {
    pub path: PathBuf,
    pub identity: blake3::Hash,
    pub parts: usize,
    /// The part that this process sums, from 0; all where there is none.
    pub part: Option<usize>,
}

impl PassFolder {
    /// The sum of `len` numbers over all parts in pass `pass`. Parts that are not there are
    /// computed, if they are this process's.
    ///
    /// An error that is [`GramError::Stopped`] says which parts are missing.
    pub fn sum(
        &self,
        pass: usize,
        len: usize,
        compute: impl Fn(usize) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let whole = self.path.join(format!("pass-{pass:03}.sum"));
        if let Some(sum) = self.read(&whole, len) {
            return Ok(sum);
        }
        let of_part = |part: usize| self.path.join(format!("pass-{pass:03}-part-{part}.sum"));
        if self.parts == 1 {
            let sum = compute(0)?;
            self.write(&whole, &sum)?;
            return Ok(sum);
        }
        let (mut total, mut missing) = (vec![0.0; len], Vec::new());
        for part in 0..self.parts {
            let is_own = self.part.is_none_or(|own| own == part);
            let found = match self.read(&of_part(part), len) {
                None if is_own => {
                    let computed = compute(part)?;
                    self.write(&of_part(part), &computed)?;
                    Some(computed)
                }
                found => found,
            };
            match found {
                Some(found) => total.iter_mut().zip(found).for_each(|(sum, x)| *sum += x),
                None => missing.push((part + 1).to_string()),
            }
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(GramError::Stopped).with_context(|| {
                format!("pass {pass} waits for parts {missing}; then run this part again")
            });
        }
        self.write(&whole, &total)?;
        self.remove_parts(pass);
        Ok(total)
    }

    /// Removes the parts of the pass before this one, of which all have the sum by now. What cannot
    /// be removed does no harm.
    fn remove_parts(&self, pass: usize) {
        let Some(before) = pass.checked_sub(1) else { return };
        for part in 0..self.parts {
            let _ = files::remove(&self.path.join(format!("pass-{before:03}-part-{part}.sum")));
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
