//! Between what computes tiles of a kernel and where they go: an assembly says which tiles are
//! wanted, an engine fills them, a sink owns their memory.

pub(crate) mod grid;
pub(crate) mod part;
pub(crate) mod square;
pub(crate) mod touched;

use std::ops::Range;

use candle_core::Tensor;
use faer::MatMut;

use crate::{
    error::Result,
    progress::Watch,
    tiles::grid::{Grid, TileIndex},
};

/// Computes the tiles that it was made for.
pub(crate) trait TileEngine<A> {
    /// Computes all tiles and hands each to the sink once, in any order.
    fn run(&self, watch: &Watch<'_>, sink: &mut dyn TileSink<A>) -> Result<()>;
}

/// Takes finished tiles, in memory of its own.
pub(crate) trait TileSink<A> {
    /// Lets `fill` add to the entries (rows, columns) of a tile, which are zero before.
    fn tile(&mut self, at: TileIndex, fill: &mut Fill<'_, A>) -> Result<()>;
}

/// Adds to the entries of a tile.
pub(crate) type Fill<'f, A> = dyn FnMut(MatMut<'_, A>) -> Result<()> + 'f;

/// Some tiles of a kernel: of the inputs with themselves, the lower triangle, or with others.
#[derive(Debug, Clone)]
pub(crate) struct Tiles<'a> {
    /// How rows are cut.
    pub(crate) rows: Grid,
    /// The inputs of the columns and how these are cut, where they are not those of the rows.
    pub(crate) others: Option<(&'a Tensor, Grid)>,
    /// Rows and columns of the tiles to compute.
    pub(crate) wanted: Vec<TileIndex>,
}

/// Rows and columns of a tile, and whether what lies above the diagonal is left out.
#[derive(Debug, Clone)]
pub(crate) struct TileRange {
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) lower: bool,
}

impl<'a> Tiles<'a> {
    /// The lower triangle of a kernel of the inputs with themselves.
    pub(crate) fn lower(rows: Grid) -> Self {
        Self { rows, others: None, wanted: rows.lower().collect() }
    }

    /// The kernel between the inputs and others, all of it.
    pub(crate) fn between(rows: Grid, others: &'a Tensor, cols: Grid) -> Self {
        let row = |i| (0..cols.side()).map(move |j| TileIndex(i, j));
        let wanted = (0..rows.side()).flat_map(row).collect();
        Self { rows, others: Some((others, cols)), wanted }
    }

    /// How columns are cut.
    pub(crate) fn cols(&self) -> Grid {
        self.others.map_or(self.rows, |(_, cols)| cols)
    }

    pub(crate) fn range(&self, tile: TileIndex) -> TileRange {
        let (rows, cols) = (self.rows.range(tile.0), self.cols().range(tile.1));
        TileRange { rows, cols, lower: self.others.is_none() }
    }

    /// The larger number of rows or columns.
    pub(crate) fn side(&self) -> usize {
        self.rows.n().max(self.cols().n())
    }

    /// Pairs of rows whose products are wanted: on the diagonal those of the lower triangle.
    pub(crate) fn pairs(&self) -> f64 {
        let of_tile = |tile: &TileIndex| {
            let range = self.range(*tile);
            let (rows, cols) = (range.rows.len() as f64, range.cols.len() as f64);
            if range.is_diagonal() { rows * (rows + 1.0) / 2.0 } else { rows * cols }
        };
        self.wanted.iter().map(of_tile).sum()
    }

    /// Entries of the largest tile.
    pub(crate) fn largest(&self) -> usize {
        self.rows.edge() * self.cols().edge()
    }
}

impl TileRange {
    pub(crate) fn entries(&self) -> usize {
        self.rows.len() * self.cols.len()
    }

    /// Whether a part of the tile is wanted.
    pub(crate) fn needs(&self, rows: &Range<usize>, cols: &Range<usize>) -> bool {
        !self.lower || cols.start < rows.end
    }

    /// Whether the tile is on the diagonal of a kernel of inputs with themselves.
    pub(crate) fn is_diagonal(&self) -> bool {
        self.lower && self.rows == self.cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_their_entries_and_pairs() {
        let tiles = Tiles::lower(Grid::new(5, 2));
        let entries: Vec<_> =
            tiles.wanted.iter().map(|tile| tiles.range(*tile).entries()).collect();
        assert_eq!(entries, [4, 4, 4, 2, 2, 1]);
        assert_eq!((tiles.pairs(), tiles.largest()), (15.0, 4));
    }
}
