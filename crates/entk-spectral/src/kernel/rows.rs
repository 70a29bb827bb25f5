//! Kernels that give single rows: in come the indices of a minibatch, out go those rows of K.
//! Training in coefficient space calls it, on a `Gram` in memory or on a kernel in a file.

use std::fmt::Debug;

use crate::{
    entries::Entries,
    error::{Result, SpectralError},
    kernel::gram::Gram,
};

/// A symmetric N x N kernel that gives any of its rows, which are its columns.
///
/// Each step of training in coefficient space asks for the rows of one minibatch. [`Gram`] lends
/// its rows; the store of entk-gram reads them from a file, for a kernel that memory does not hold.
pub trait KernelRows: Debug + Sync {
    /// Number of rows and columns N, at least 1.
    fn n(&self) -> usize;

    /// The rows `indices`, N entries each, in that order; rows that are not in memory are read into
    /// `buffer`.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](SpectralError::IndexOutOfRange), or whatever keeps an implementation
    /// from reading them.
    ///
    /// ```
    /// use entk_spectral::{Entries, Gram, KernelRows};
    ///
    /// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 3.0])?;
    /// let mut buffer = Vec::new();
    /// assert_eq!(gram.rows(&[1], &mut buffer)?, [Entries::F64(&[1.0, 3.0])]);
    /// # Ok::<(), entk_spectral::SpectralError>(())
    /// ```
    fn rows<'a>(&'a self, indices: &[u32], buffer: &'a mut Vec<f64>) -> Result<Vec<Entries<'a>>>;
}

impl KernelRows for Gram {
    fn n(&self) -> usize {
        Gram::n(self)
    }

    fn rows<'a>(&'a self, indices: &[u32], _: &'a mut Vec<f64>) -> Result<Vec<Entries<'a>>> {
        let row = |&index: &u32| match index as usize {
            index if index < Gram::n(self) => Ok(self.row(index)),
            index => Err(SpectralError::IndexOutOfRange { what: "row", index, len: Gram::n(self) }),
        };
        indices.iter().map(row).collect()
    }
}
