//! How a matrix is cut into square tiles; used by stores, plans and engines.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Row and column of a tile in a [`Grid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TileIndex(pub usize, pub usize);

/// How an N x N matrix is cut into square tiles of one edge, the last row and column shorter.
///
/// ```
/// use entk_gram::store::{Grid, TileIndex};
///
/// let grid = Grid::new(5, 2);
/// assert_eq!(grid.side(), 3);
/// assert_eq!((grid.tiles(), grid.lower().count()), (6, 6));
/// assert_eq!(grid.range(2), 4..5);
/// assert_eq!(grid.lower().nth(1), Some(TileIndex(1, 0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    n: usize,
    edge: usize,
}

impl Grid {
    /// Tiles of `edge` (at least 1) examples for a matrix of `n`.
    pub fn new(n: usize, edge: usize) -> Self {
        Self { n, edge: edge.clamp(1, n.max(1)) }
    }

    /// Number of examples N.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Edge of a tile, at most N.
    pub fn edge(&self) -> usize {
        self.edge
    }

    /// Tiles along one side.
    pub fn side(&self) -> usize {
        self.n.div_ceil(self.edge)
    }

    /// The rows, or columns, of the matrix in a row, or column, of tiles.
    pub fn range(&self, at: usize) -> Range<usize> {
        at * self.edge..((at + 1) * self.edge).min(self.n)
    }

    /// The tiles on and below the diagonal, row by row: side (side + 1) / 2 of them.
    pub fn lower(&self) -> impl Iterator<Item = TileIndex> + use<> {
        (0..self.side()).flat_map(|row| (0..=row).map(move |col| TileIndex(row, col)))
    }

    /// Number of tiles on and below the diagonal; `usize::MAX` if it is more.
    pub fn tiles(&self) -> usize {
        let side = self.side() as u128;
        usize::try_from(side * (side + 1) / 2).unwrap_or(usize::MAX)
    }

    /// Whether there is such a tile on or below the diagonal.
    pub fn has(&self, TileIndex(row, col): TileIndex) -> bool {
        col <= row && row < self.side()
    }

    /// Entries of a tile.
    pub fn entries(&self, tile: TileIndex) -> usize {
        self.range(tile.0).len() * self.range(tile.1).len()
    }
}
