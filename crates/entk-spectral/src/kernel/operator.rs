//! Matrices of which a solver needs products only: in come columns in f64, out go their images. The
//! solvers call the two traits; they are implemented here for kernels in memory and in `tiles` for
//! a kernel that is read.

use std::borrow::Cow;

use faer::{Accum, MatMut, MatRef};

use crate::{
    dense::vector::{check_stack, zeros},
    entries::{EntryType, with_entries},
    error::{Result, SpectralError},
    kernel::{
        cross::CrossGram,
        gram::Gram,
        matrix::check_area,
        products::{add_transposed, multiply},
    },
    ranks::row_bands::BAND,
};

/// Unit vectors multiplied at a time.
const STACK: usize = 256;

/// A symmetric N x N matrix K, given by its products with blocks of vectors.
///
/// [`Gram`] implements it in memory, [`TiledOperator`](crate::TiledOperator) for a lower triangle
/// stored in tiles; [`eigsh`](crate::eigsh) needs no more.
///
/// An implementation promises that products are symmetric up to round-off, summed in f64 whatever
/// the stored type, and the same bits for any number of threads.
pub trait SymmetricOperator: Sync {
    /// Number of rows and columns N, at least 1.
    fn n(&self) -> usize;

    /// The type in which entries are stored.
    fn entry_type(&self) -> EntryType;

    /// `images` = K `columns`, for whole columns of N entries, one after the other in both; what
    /// `images` held before is overwritten. A solver passes 16 to 256 columns at a time, so that
    /// one pass over the entries serves them all.
    ///
    /// # Errors
    /// Whatever keeps an implementation from reading K. A result that is not finite need not be an
    /// error: solvers check for it.
    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()>;

    /// How many columns a solver should pass at a time. Wider blocks read the entries less often,
    /// narrower ones need fewer products in all; 32 is right in memory.
    fn block(&self) -> usize {
        32
    }

    /// Rows that are summed together in inner products of distributed vectors, whoever holds them:
    /// [`RowBands`](crate::RowBands). Bits of a solve depend on it.
    fn band(&self) -> usize {
        BAND
    }

    /// All entries, for a dense solver. By default N products with unit vectors; [`Gram`] lends
    /// itself.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), or [`OutOfMemory`](SpectralError::OutOfMemory).
    fn to_gram(&self) -> Result<Cow<'_, Gram>> {
        gram_from_products(self).map(Cow::Owned)
    }
}

/// An M x N matrix A, given by its products and by the products of its transpose.
///
/// An implementation promises sums in f64, the same bits for any number of threads, and <A x, y> =
/// <x, A^T y> up to round-off. Columns are whole and lie one after the other.
pub trait LinearOperator: Sync {
    /// Number of rows M, at least 1.
    fn rows(&self) -> usize;

    /// Number of columns N, at least 1.
    fn cols(&self) -> usize;

    /// The type in which entries are stored.
    fn entry_type(&self) -> EntryType;

    /// `images` (M entries each) = A `columns` (N entries each).
    ///
    /// # Errors
    /// Whatever keeps an implementation from reading A.
    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()>;

    /// `images` (N entries each) = A^T `columns` (M entries each).
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn apply_transposed(&self, columns: &[f64], images: &mut [f64]) -> Result<()>;

    /// `images` = A^T A `columns` (N entries each in both). By default a product with A and one
    /// with A^T; an implementation that makes rows of A as it goes can do both in one pass.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), or [`NonFiniteImage`](SpectralError::NonFiniteImage) for a
    /// product with A that is not finite.
    fn apply_column_gram(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let count = check_images(columns, self.cols(), images, self.cols())?;
        let mut between = zeros(self.rows() * count, "images of the columns")?;
        self.apply(columns, &mut between)?;
        check_finite(&between, self.rows())?;
        self.apply_transposed(&between, images)
    }

    /// How many columns a solver should pass at a time, as
    /// [`SymmetricOperator::block`](SymmetricOperator::block).
    fn block(&self) -> usize {
        32
    }
}

impl SymmetricOperator for Gram {
    fn n(&self) -> usize {
        Gram::n(self)
    }

    fn entry_type(&self) -> EntryType {
        Gram::entry_type(self)
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let n = Gram::n(self);
        let count = check_images(columns, n, images, n)?;
        let x = MatRef::from_column_major_slice(columns, n, count);
        let y = MatMut::from_column_major_slice_mut(images, n, count);
        with_entries!(self.entries(), k => multiply(Accum::Replace, k, n, x, y));
        Ok(())
    }

    fn to_gram(&self) -> Result<Cow<'_, Gram>> {
        Ok(Cow::Borrowed(self))
    }
}

impl LinearOperator for CrossGram {
    fn rows(&self) -> usize {
        CrossGram::rows(self)
    }

    fn cols(&self) -> usize {
        CrossGram::cols(self)
    }

    fn entry_type(&self) -> EntryType {
        CrossGram::entry_type(self)
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let (m, n) = (CrossGram::rows(self), CrossGram::cols(self));
        let (x, y) = views(columns, n, images, m)?;
        with_entries!(self.entries(), k => multiply(Accum::Add, k, n, x, y));
        Ok(())
    }

    fn apply_transposed(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let (m, n) = (CrossGram::rows(self), CrossGram::cols(self));
        let (x, y) = views(columns, m, images, n)?;
        with_entries!(self.entries(), k => add_transposed(k, n, x, y));
        Ok(())
    }
}

fn gram_from_products<K: SymmetricOperator + ?Sized>(operator: &K) -> Result<Gram> {
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

/// Columns and their zeroed images as matrices.
fn views<'a>(
    columns: &'a [f64],
    from: usize,
    images: &'a mut [f64],
    to: usize,
) -> Result<(MatRef<'a, f64>, MatMut<'a, f64>)> {
    let count = check_images(columns, from, images, to)?;
    images.fill(0.0);
    Ok((
        MatRef::from_column_major_slice(columns, from, count),
        MatMut::from_column_major_slice_mut(images, to, count),
    ))
}

/// Checks columns of `from` entries each and the room for their images of `to` entries; returns how
/// many there are. Implementations of [`SymmetricOperator`] and [`LinearOperator`] begin with it.
///
/// # Errors
/// [`VectorLength`](SpectralError::VectorLength) for no or broken columns,
/// [`NonFiniteVector`](SpectralError::NonFiniteVector), and
/// [`BufferLength`](SpectralError::BufferLength) for other room.
pub fn check_images(columns: &[f64], from: usize, images: &[f64], to: usize) -> Result<usize> {
    let count = check_stack(columns, from)?;
    let (expected, found) = (count * to, images.len());
    if found == expected {
        Ok(count)
    } else {
        Err(SpectralError::BufferLength { what: "images of the columns", expected, found })
    }
}

/// Refuses what a second product would only spread.
pub(crate) fn check_finite(images: &[f64], entries: usize) -> Result<()> {
    match images.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(SpectralError::NonFiniteImage { row: at % entries, value: images[at] }),
        None => Ok(()),
    }
}
