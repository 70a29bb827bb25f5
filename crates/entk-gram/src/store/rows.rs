//! A stored kernel row by row, from a file beside its tiles.

use std::{io, path::PathBuf};

use entk_device::files::{self, operations::InputFile};
use entk_spectral::{Entries, KernelRows, SpectralError};
use rayon::prelude::*;

use crate::{
    error::{GramError, Result},
    memory::check_disk,
    store::{COMMIT, Store, chunk::Entry},
};

type SpectralResult<T> = std::result::Result<T, SpectralError>;

/// The rows of a stored kernel, read from a file when they are asked for.
///
/// For training in coefficient space over a kernel that memory does not hold: each step reads the
/// rows of one minibatch. Tiles hold a row in parts, half of them as columns; here it is
/// contiguous.
///
/// ```no_run
/// use entk_gram::{GramError, Store};
/// use entk_spectral::KernelRows;
///
/// let rows = Store::open("gram.zarr")?.rows()?;
/// let mut buffer = Vec::new();
/// assert_eq!(rows.rows(&[7, 3], &mut buffer)?[0].len(), rows.n());
/// # Ok::<(), GramError>(())
/// ```
#[derive(Debug)]
pub struct StoredRows {
    path: PathBuf,
    file: InputFile,
    /// Bytes before the first row.
    header: usize,
    n: usize,
    /// Bytes of an entry.
    item: usize,
}

impl Store {
    /// The kernel row by row. The first time this [exports](Self::export) the full square, N^2
    /// entries, to a file in the store's folder, which may be deleted at any time.
    ///
    /// # Errors
    /// [`GramError::DiskSpace`], and as [`Store::export`].
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "rows_of_store", skip_all))]
    pub fn rows(&self) -> Result<StoredRows> {
        let commit = self
            .commit()?
            .ok_or_else(|| GramError::NotAStore { folder: self.folder.clone(), missing: COMMIT })?;
        let (n, item) = (self.identity.n, self.identity.item());
        // Named by what it holds: the rows of another kernel are never taken for these.
        let path = self.folder.join(format!("rows-{}.npy", commit.root.get(..16).unwrap_or("")));
        let header = self.header().len();
        let bytes = (header + n * n * item) as u64;
        if !path.metadata().is_ok_and(|found| found.len() == bytes) {
            check_disk(&self.folder, bytes)?;
            self.export(&path)?;
        }
        let file = files::open(&path).map_err(|e| GramError::io("read", &path, e))?;
        Ok(StoredRows { path, file, header, n, item })
    }
}

impl StoredRows {
    /// Reads the row `index` into `row`.
    fn read(&self, index: usize, row: &mut [f64]) -> SpectralResult<()> {
        let mut bytes = vec![0; self.n * self.item];
        let offset = self.header + index * bytes.len();
        self.file.read_at(&mut bytes, offset as u64).map_err(|e| self.unreadable(index, &e))?;
        match self.item {
            8 => widen::<f64>(&bytes, row),
            _ => widen::<f32>(&bytes, row),
        }
        if row.iter().all(|entry| entry.is_finite()) {
            return Ok(());
        }
        Err(self.failed(index, "an entry is not finite; delete the file, it will be written again"))
    }

    fn failed(&self, index: usize, reason: &str) -> SpectralError {
        let reason = format!("{}, row {index}: {reason}", self.path.display());
        SpectralError::Operator { reason }
    }

    fn unreadable(&self, index: usize, error: &io::Error) -> SpectralError {
        let reason = format!("{}, row {index}: {error}", self.path.display());
        SpectralError::Unreadable { reason, kind: error.kind() }
    }
}

impl KernelRows for StoredRows {
    fn n(&self) -> usize {
        self.n
    }

    fn rows<'a>(
        &'a self,
        indices: &[u32],
        buffer: &'a mut Vec<f64>,
    ) -> SpectralResult<Vec<Entries<'a>>> {
        let n = self.n;
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= n) {
            let index = index as usize;
            return Err(SpectralError::IndexOutOfRange { what: "row", index, len: n });
        }
        buffer.resize(indices.len() * n, 0.0);
        let rows = buffer.par_chunks_exact_mut(n).zip(indices);
        let read: Vec<_> = rows.map(|(row, &index)| self.read(index as usize, row)).collect();
        read.into_iter().collect::<SpectralResult<()>>()?;
        Ok(buffer.chunks_exact(n).map(Entries::F64).collect())
    }
}

fn widen<A: Entry + Into<f64>>(bytes: &[u8], row: &mut [f64]) {
    let entries = bytes.chunks_exact(size_of::<A>()).map(A::read);
    row.iter_mut().zip(entries).for_each(|(to, entry)| *to = entry.into());
}
