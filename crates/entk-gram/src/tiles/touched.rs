//! The examples that some tiles need: tiles of a large grid come in, a smaller grid of their rows
//! alone goes out, and the way between both. Used by assemblies of parts of a store.

use candle_core::Tensor;

use crate::{
    error::Result,
    tiles::grid::{Grid, TileIndex},
};

/// The rows of tiles that some tiles read, moved together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TouchedRows {
    grid: Grid,
    /// Rows of tiles, ascending.
    rows: Vec<usize>,
}

impl TouchedRows {
    /// Those that tiles of `grid` have as rows or columns.
    pub(crate) fn of(grid: Grid, tiles: &[TileIndex]) -> Self {
        let mut is_touched = vec![false; grid.side()];
        for TileIndex(row, col) in tiles {
            is_touched[*row] = true;
            is_touched[*col] = true;
        }
        Self { grid, rows: (0..grid.side()).filter(|row| is_touched[*row]).collect() }
    }

    /// All rows.
    pub(crate) fn all(grid: Grid) -> Self {
        Self { grid, rows: (0..grid.side()).collect() }
    }

    /// Whether none is left out.
    pub(crate) fn is_all(&self) -> bool {
        self.rows.len() == self.grid.side()
    }

    /// The grid of these rows alone.
    pub(crate) fn grid(&self) -> Grid {
        let rows = self.rows.iter().map(|row| self.grid.range(*row).len());
        Grid::new(rows.sum(), self.grid.edge())
    }

    /// The inputs of these rows, of which each example has `per`.
    pub(crate) fn inputs(&self, inputs: &Tensor, per: usize) -> Result<Tensor> {
        let of_row = |row: &usize| {
            let rows = self.grid.range(*row);
            inputs.narrow(0, rows.start / per, rows.len() / per)
        };
        let rows = self.rows.iter().map(of_row).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }

    /// Where a tile is in the small grid.
    pub(crate) fn moved(&self, TileIndex(row, col): TileIndex) -> TileIndex {
        let place = |of: usize| self.rows.partition_point(|row| *row < of);
        TileIndex(place(row), place(col))
    }

    /// Where a tile of the small grid was.
    pub(crate) fn original(&self, TileIndex(row, col): TileIndex) -> TileIndex {
        TileIndex(self.rows[row], self.rows[col])
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn rows_are_moved_together_and_back() -> Result<()> {
        let grid = Grid::new(11, 2);
        let tiles = [TileIndex(2, 0), TileIndex(5, 2)];
        let touched = TouchedRows::of(grid, &tiles);
        assert!(!touched.is_all());
        assert_eq!(touched.grid(), Grid::new(5, 2));
        assert_eq!(tiles.map(|tile| touched.moved(tile)), [TileIndex(1, 0), TileIndex(2, 1)]);
        assert_eq!(tiles.map(|tile| touched.original(touched.moved(tile))), tiles);
        let inputs = Tensor::arange(0u32, 11, &Device::Cpu)?;
        assert_eq!(touched.inputs(&inputs, 1)?.to_vec1::<u32>()?, [0, 1, 4, 5, 10]);
        let all: Vec<_> = grid.lower().collect();
        assert!(TouchedRows::of(grid, &all).is_all());
        Ok(())
    }
}
