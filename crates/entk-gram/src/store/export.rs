//! The full square of a store as a `.npy` file, for numpy and for reading row by row.

use std::{
    io::{BufWriter, Result as IoResult, Seek, SeekFrom, Write},
    path::Path,
};

use entk_device::files::{self, operations::OutputFile};

use crate::{
    error::{GramError, Result},
    store::{Store, chunk::Entry},
    tiles::grid::TileIndex,
};

/// numpy pads its header to a multiple of this.
const ALIGNMENT: usize = 64;

impl Store {
    /// Writes the full square matrix as a `.npy` file that numpy opens with `mmap_mode="r"`.
    ///
    /// Streamed: memory for two tiles. The file has a temporary name until it is whole.
    ///
    /// # Errors
    /// As [`Store::gram`].
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "export_store", skip_all))]
    pub fn export(&self, path: impl AsRef<Path>) -> Result<()> {
        match self.identity.item() {
            8 => self.export_as::<f64>(path.as_ref()),
            _ => self.export_as::<f32>(path.as_ref()),
        }
    }

    /// What an exported file begins with.
    pub(super) fn header(&self) -> Vec<u8> {
        header(if self.identity.item() == 8 { "<f8" } else { "<f4" }, self.identity.n)
    }

    fn export_as<A: Entry>(&self, path: &Path) -> Result<()> {
        let error = |source| GramError::io("write", path, source);
        files::write_with(path, |file| {
            let (header, grid) = (self.header(), self.grid());
            file.write_all(&header).map_err(error)?;
            let mut square = Square { file, start: header.len(), n: grid.n() };
            self.for_each_tile::<A>(|TileIndex(row, col), values| {
                let (rows, cols) = (grid.range(row), grid.range(col));
                let at = |i: usize, j: usize| values[i * grid.edge() + j];
                let lower = square.write(rows.start, rows.len(), cols.start, cols.len(), at);
                lower.map_err(error)?;
                if row == col {
                    return Ok(());
                }
                let upper = |i: usize, j: usize| at(j, i);
                square.write(cols.start, cols.len(), rows.start, rows.len(), upper).map_err(error)
            })
        })
    }
}

/// The entries of an N x N matrix in a file.
struct Square<'f> {
    file: &'f mut BufWriter<OutputFile>,
    start: usize,
    n: usize,
}

impl Square<'_> {
    fn write<A: Entry>(
        &mut self,
        top: usize,
        rows: usize,
        left: usize,
        cols: usize,
        at: impl Fn(usize, usize) -> A,
    ) -> IoResult<()> {
        let mut bytes = Vec::with_capacity(cols * size_of::<A>());
        for i in 0..rows {
            bytes.clear();
            (0..cols).for_each(|j| at(i, j).append(&mut bytes));
            let offset = self.start + ((top + i) * self.n + left) * size_of::<A>();
            self.file.seek(SeekFrom::Start(offset as u64))?;
            self.file.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Version 1.0 of the header of an N x N array.
fn header(descr: &str, n: usize) -> Vec<u8> {
    let dictionary =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n}, {n}), }}");
    let unpadded = 10 + dictionary.len() + 1;
    let length = unpadded.next_multiple_of(ALIGNMENT) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(format!("{dictionary:<0$}\n", length - 1).as_bytes());
    bytes
}
