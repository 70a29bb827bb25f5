//! Symmetric matrices known by their products.

use std::borrow::Cow;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::{
    dense::vector::{check_stack, zeros},
    entries::{Precision, with_entries},
    error::SpectralError,
    kernel::{
        gram::Gram,
        matrix::{check_area, widen_tile},
    },
};

/// Rows of a product that one task computes.
pub(crate) const PANEL_ROWS: usize = 256;
/// Columns of the kernel widened to f64 at a time: with the rows, 256 KiB, within
/// an L2 cache. Measured best of nine shapes for 16 to 128 columns.
pub(crate) const PANEL_COLS: usize = 128;
/// Unit vectors multiplied at a time.
const STACK: usize = 256;

/// A symmetric N x N matrix K, known by its products with blocks of vectors.
///
/// [`Gram`] implements it in memory, [`TiledOperator`](crate::TiledOperator)
/// for a lower triangle stored in tiles; [`eigsh`](crate::eigsh) needs no more.
///
/// An implementation promises that products are symmetric up to round-off,
/// summed in f64 whatever the stored precision, and the same bits for any number
/// of threads.
pub trait SymmetricOperator: Sync {
    /// Number of rows and columns N, at least 1.
    fn n(&self) -> usize;

    /// The precision in which the entries are stored.
    fn precision(&self) -> Precision;

    /// `images` = K `columns`, for whole columns of N entries, one after the other
    /// in both; what `images` held before is overwritten. A solver passes 16 to
    /// 256 columns at a time, so that one pass over the entries serves them all.
    ///
    /// # Errors
    /// Whatever keeps an implementation from reading K; a result that is not
    /// finite need not be one, since solvers check.
    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<(), SpectralError>;

    /// How many columns a solver should pass at a time. Wider blocks read the
    /// entries less often, narrower ones need fewer products in all; 32 is right
    /// in memory.
    fn block(&self) -> usize {
        32
    }

    /// All entries, for a dense solver. By default N products with unit vectors;
    /// [`Gram`] lends itself.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), or [`OutOfMemory`](SpectralError::OutOfMemory).
    fn to_gram(&self) -> Result<Cow<'_, Gram>, SpectralError> {
        gram_from_products(self).map(Cow::Owned)
    }
}

impl SymmetricOperator for Gram {
    fn n(&self) -> usize {
        Gram::n(self)
    }

    fn precision(&self) -> Precision {
        Gram::precision(self)
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<(), SpectralError> {
        let n = Gram::n(self);
        let count = check_pair(columns, images, n)?;
        let x = MatRef::from_column_major_slice(columns, n, count);
        let y = MatMut::from_column_major_slice_mut(images, n, count);
        y.par_row_chunks_mut(PANEL_ROWS).enumerate().for_each(|(task, y)| {
            row_panel(self, task * PANEL_ROWS, x, y);
        });
        Ok(())
    }

    fn to_gram(&self) -> Result<Cow<'_, Gram>, SpectralError> {
        Ok(Cow::Borrowed(self))
    }
}

fn gram_from_products<K: SymmetricOperator + ?Sized>(operator: &K) -> Result<Gram, SpectralError> {
    let n = operator.n();
    let len = check_area("operator", n, n)?;
    let mut entries = zeros(len, "the entries of the operator")?;
    for (stack, images) in entries.chunks_mut(STACK * n).enumerate() {
        let mut units = vec![0.0; images.len()];
        for (j, unit) in units.chunks_exact_mut(n).enumerate() {
            unit[stack * STACK + j] = 1.0;
        }
        operator.apply(&units, images)?;
    }
    Gram::from_lower_f64(n, entries)
}

/// Rows from `first` on of K X.
fn row_panel(gram: &Gram, first: usize, x: MatRef<'_, f64>, mut y: MatMut<'_, f64>) {
    let (n, rows) = (gram.n(), y.nrows());
    let mut tile = vec![0.0; rows * PANEL_COLS.min(n)];
    let mut accumulate = Accum::Replace;
    for start in (0..n).step_by(PANEL_COLS) {
        let width = PANEL_COLS.min(n - start);
        let tile = &mut tile[..rows * width];
        with_entries!(gram.entries(), k => widen_tile(k, n, first, start, width, tile));
        let k = MatRef::from_row_major_slice(tile, rows, width);
        matmul(y.as_mut(), accumulate, k, x.subrows(start, width), 1.0, Par::Seq);
        accumulate = Accum::Add;
    }
}

/// Checks a block of columns and the room for its images; returns how many.
pub(crate) fn check_pair(
    columns: &[f64],
    images: &[f64],
    n: usize,
) -> Result<usize, SpectralError> {
    if images.len() != columns.len() {
        return Err(SpectralError::BufferLength {
            what: "images of the columns",
            expected: columns.len(),
            found: images.len(),
        });
    }
    check_stack(columns, n)
}
