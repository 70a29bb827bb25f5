//! A kernel in the memory of the caller: the sink of [`Assembly::gram`](crate::Assembly::gram).

use entk_device::memory::MemoryLimit;
use entk_models::Real;
use faer::MatMut;

use crate::{
    error::{GramError, Result},
    memory::zeros,
    tiles::{
        Fill, TileSink, Tiles,
        grid::{Grid, TileIndex},
    },
};

/// A matrix that its tiles are filled in, row-major.
pub(crate) struct Square<A> {
    pub(crate) entries: Vec<A>,
    rows: Grid,
    cols: Grid,
}

impl<A: Real> Square<A> {
    /// Zeros, pages untouched.
    pub(crate) fn zeros(tiles: &Tiles<'_>) -> Result<Self> {
        let (rows, cols) = (tiles.rows, tiles.cols());
        let needed = (rows.n() as u64).saturating_mul(cols.n() as u64);
        let needed = needed.saturating_mul(size_of::<A>() as u64);
        match MemoryLimit::detect(None) {
            Some(MemoryLimit { bytes: limit, .. }) if needed > limit => {
                Err(GramError::Memory { needed, limit })
            }
            _ => Ok(Self { entries: zeros(rows.n(), cols.n())?, rows, cols }),
        }
    }
}

impl<A: Real> TileSink<A> for Square<A> {
    fn tile(&mut self, at: TileIndex, fill: &mut Fill<'_, A>) -> Result<()> {
        let (rows, cols) = (self.rows.range(at.0), self.cols.range(at.1));
        let (m, n) = (self.rows.n(), self.cols.n());
        let square = MatMut::from_row_major_slice_mut(&mut self.entries, m, n);
        fill(square.submatrix_mut(rows.start, cols.start, rows.len(), cols.len()))
    }
}
