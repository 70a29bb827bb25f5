//! A symmetric matrix between vectors that ranks share by rows: in come the rows of columns that a
//! rank holds, out go those of their images. The solver asks for the products; operators over tiles
//! and over a Jacobian implement it, and here one process that holds everything.

use crate::{
    entries::EntryType,
    error::Result,
    kernel::operator::SymmetricOperator,
    ranks::{communicator::Ranks, row_bands::RowBands},
};

/// A symmetric N x N matrix K whose columns and images are distributed by rows over ranks.
///
/// An implementation promises what [`SymmetricOperator`] does, and the same bits for any number of
/// ranks. Each rank has its own value of it, and all make the same calls in the same order.
pub trait DistributedOperator {
    /// Who holds which rows.
    fn rows(&self) -> RowBands<'_>;

    /// The type in which entries are stored.
    fn entry_type(&self) -> EntryType;

    /// `images` = the rows of K `columns` that this rank holds, from the rows of `columns` that it
    /// holds, in whole columns one after the other in both. Called by every rank.
    ///
    /// # Errors
    /// Whatever keeps this rank from computing its rows, or
    /// [`OtherRank`](crate::SpectralError::OtherRank) where that happens on another.
    fn apply_own(&self, columns: &[f64], images: &mut [f64]) -> Result<()>;

    /// How many columns a solver should pass at a time, as [`SymmetricOperator::block`].
    fn block(&self) -> usize {
        32
    }
}

/// An operator of one process as one over a single rank.
pub(crate) struct Whole<'a, K: ?Sized> {
    operator: &'a K,
    rows: RowBands<'a>,
}

impl<'a, K: SymmetricOperator + ?Sized> Whole<'a, K> {
    pub(crate) fn new(operator: &'a K, ranks: &'a Ranks<'a>) -> Result<Self> {
        Ok(Self { operator, rows: RowBands::new(ranks, operator.n(), operator.band())? })
    }
}

impl<K: SymmetricOperator + ?Sized> DistributedOperator for Whole<'_, K> {
    fn rows(&self) -> RowBands<'_> {
        self.rows
    }

    fn entry_type(&self) -> EntryType {
        self.operator.entry_type()
    }

    fn apply_own(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        self.operator.apply(columns, images)
    }

    fn block(&self) -> usize {
        self.operator.block()
    }
}
