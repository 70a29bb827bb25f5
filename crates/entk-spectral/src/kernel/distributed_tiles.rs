//! A symmetric matrix in tiles whose rows several ranks share: in come tiles, out goes an operator
//! over the ranks, of which each reads or holds the tiles of its rows. Programs over several ranks
//! call it.

use std::ops::Range;

use entk_memory::ensure;
use faer::{MatMut, MatRef};

use crate::{
    entries::EntryType,
    error::{Result, SpectralError},
    kernel::{
        operator::check_images,
        tiles::{
            BLOCK, LowerTiles, Tile, add_tile, band_of_tiles, for_each_tile_of, positions, side,
        },
    },
    ranks::{communicator::Ranks, operator::DistributedOperator, row_bands::RowBands},
};

/// The operator of a matrix in [`LowerTiles`], distributed by rows of tiles over ranks.
///
/// A rank adds K\[i\]\[j\] X\[j\] for the rows i that it owns, over all j in their order, as
/// [`TiledOperator`](crate::TiledOperator) does for all rows: the same bits for any number of
/// ranks, and those of one process with the same block of columns. Columns are whole on every rank
/// during a product: 8 N bytes a column, which each rank receives from the others.
///
/// Of P ranks each needs N^2 / P (1 - 1 / (2 P)) entries: a tile off the diagonal is on the ranks
/// of its rows and of its columns.
pub struct DistributedTiles<'a, T> {
    tiles: T,
    rows: RowBands<'a>,
    /// The tiles of this rank in their order, unless they are read for every product.
    resident: Option<Vec<Tile>>,
}

impl<'a, T: LowerTiles> DistributedTiles<'a, T> {
    /// Reads the tiles for every product. Memory: nine tiles at most, beside the vectors.
    ///
    /// # Errors
    /// [`Empty`](SpectralError::Empty) and [`InvalidSetting`](SpectralError::InvalidSetting) for
    /// tiles without entries, [`TooManyRanks`](SpectralError::TooManyRanks).
    pub fn new(tiles: T, ranks: &'a Ranks<'a>) -> Result<Self> {
        let edge = tiles.edge();
        if edge == 0 {
            return Err(SpectralError::InvalidSetting { field: "edge", expected: "at least 1" });
        }
        let rows = RowBands::new(ranks, tiles.n(), band_of_tiles(edge))?;
        Ok(Self { tiles, rows, resident: None })
    }

    /// Reads the tiles of this rank once, and holds them. Called by every rank.
    ///
    /// # Errors
    /// [`NoMemory`](SpectralError::NoMemory) for more than this process may have, those of reading
    /// a tile, or [`OtherRank`](SpectralError::OtherRank).
    pub fn in_memory(mut self) -> Result<Self> {
        self.resident = Some(self.rows.ranks().jointly(|| self.read())?);
        Ok(self)
    }

    /// Bytes of the tiles that this rank needs.
    pub fn bytes(&self) -> u64 {
        let item = self.tiles.entry_type().bytes() as u64;
        let entries = |(i, j)| (side(&self.tiles, i) * side(&self.tiles, j)) as u64;
        positions(&self.tiles, &self.own_tiles()).map(entries).sum::<u64>().saturating_mul(item)
    }

    /// Positions of the tiles that this rank needs, row by row.
    pub fn positions(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        positions(&self.tiles, &self.own_tiles())
    }

    fn read(&self) -> Result<Vec<Tile>> {
        let remedy = "read them for every product, or use more ranks";
        ensure("the tiles of this rank", self.bytes(), None, remedy)?;
        let mut resident = Vec::new();
        for_each_tile_of(&self.tiles, &self.own_tiles(), |_, _, tile| {
            resident.push(tile);
            Ok::<_, SpectralError>(())
        })?;
        Ok(resident)
    }

    /// The rows of tiles that this rank owns.
    fn own_tiles(&self) -> Range<usize> {
        let (own, edge) = (self.rows.own(), self.tiles.edge());
        own.start / edge..own.end.div_ceil(edge)
    }
}

impl<T: LowerTiles> DistributedOperator for DistributedTiles<'_, T> {
    fn rows(&self) -> RowBands<'_> {
        self.rows
    }

    fn entry_type(&self) -> EntryType {
        self.tiles.entry_type()
    }

    fn block(&self) -> usize {
        if self.resident.is_some() { 32 } else { BLOCK }
    }

    fn apply_own(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let (n, own) = (self.rows.n(), self.rows.own().len());
        let count = check_images(columns, own, images, own)?;
        let whole = self.rows.gather(columns)?;
        images.fill(0.0);
        let x = MatRef::from_column_major_slice(&whole, n, count);
        let mut y = MatMut::from_column_major_slice_mut(images, own, count);
        let own = self.own_tiles();
        let mut add = |at, tile: &Tile| add_tile(&self.tiles, &own, at, tile, x, y.as_mut());
        if let Some(resident) = &self.resident {
            positions(&self.tiles, &own).zip(resident).for_each(|(at, tile)| add(at, tile));
            return Ok(());
        }
        for_each_tile_of(&self.tiles, &own, |i, j, tile| {
            add((i, j), &tile);
            Ok(())
        })
    }
}
