//! The share of one of several processes in the tiles of a store.

use std::{fmt, str::FromStr};

use crate::{
    error::{GramError, Result},
    tiles::grid::{Grid, TileIndex},
};

/// One of several processes that fill the same store, each its share of the tiles.
///
/// A tile's part is a function of its position alone: parts may run in any order, at any time and
/// again, and all of them together have every tile once.
///
/// ```
/// use entk_gram::store::{Grid, Part};
///
/// let part: Part = "2/3".parse()?;
/// assert_eq!(part, Part::new(2, 3)?);
/// assert_eq!(part.share(Grid::new(100, 10)).len(), 55 / 3);
/// assert!("4/3".parse::<Part>().is_err());
/// # Ok::<(), entk_gram::GramError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: usize,
    count: usize,
}

impl Default for Part {
    /// Part 1 of 1.
    fn default() -> Self {
        Self { index: 1, count: 1 }
    }
}

impl Part {
    /// Part `index` of `count`, counted from 1.
    ///
    /// # Errors
    /// [`GramError::Part`] unless 1 <= index <= count.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        if (1..=count).contains(&index) {
            Ok(Self { index, count })
        } else {
            Err(GramError::Part { found: format!("{index}/{count}") })
        }
    }

    /// The part of a task among `count` that are numbered from `min`, as schedulers and launchers
    /// tell them in variables of the environment: of a Slurm array with step 1
    /// `SLURM_ARRAY_TASK_ID`, `_MIN` and `_COUNT`; of ranks, which begin with 0, for one
    /// `OMPI_COMM_WORLD_RANK` and `_SIZE`.
    ///
    /// # Errors
    /// [`GramError::Part`] unless they are numbers that fit together.
    pub fn of_task(id: &str, min: &str, count: &str) -> Result<Self> {
        let error = || GramError::Part { found: format!("task {id} from {min}, {count} tasks") };
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| error());
        let index = number(id)?.checked_sub(number(min)?).ok_or_else(error)?;
        Self::new(index + 1, number(count)?).map_err(|_| error())
    }

    /// Whether it is the first.
    pub fn is_first(&self) -> bool {
        self.index == 1
    }

    /// Whether number `at` of any list, from 0, is of this part: each is of one.
    pub fn takes(&self, at: usize) -> bool {
        at % self.count == self.index - 1
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is no other.
    pub fn is_whole(&self) -> bool {
        self.count == 1
    }

    /// The tiles of this part, row by row; shares differ by at most one tile.
    ///
    /// They follow each other along Hilbert's curve through the grid, so that the tiles of a part
    /// lie close together: one of P parts needs about sqrt(3 / P) of all rows, and rarely twice as
    /// many.
    pub fn share(&self, grid: Grid) -> Vec<TileIndex> {
        match self.is_whole() {
            true => grid.lower().collect(),
            false => self.cut(&in_order(grid)),
        }
    }

    /// The [`share`](Self::share) of each of `count` parts.
    ///
    /// # Errors
    /// [`GramError::Part`] for no part.
    pub fn shares(count: usize, grid: Grid) -> Result<Vec<Vec<TileIndex>>> {
        let tiles = in_order(grid);
        (1..=count.max(1)).map(|index| Ok(Self::new(index, count)?.cut(&tiles))).collect()
    }

    /// This part of the tiles along the curve, row by row.
    fn cut(&self, tiles: &[TileIndex]) -> Vec<TileIndex> {
        let end =
            |parts: usize| (tiles.len() as u128 * parts as u128 / self.count as u128) as usize;
        let mut share = tiles[end(self.index - 1)..end(self.index)].to_vec();
        share.sort_unstable();
        share
    }
}

/// All tiles along the curve.
fn in_order(grid: Grid) -> Vec<TileIndex> {
    let mut tiles: Vec<TileIndex> = grid.lower().collect();
    let side = grid.side().next_power_of_two();
    tiles.sort_by_cached_key(|tile| along_curve(*tile, side));
    tiles
}

/// The place of a tile on Hilbert's curve through a grid of `side` x `side` tiles, a power of two:
/// quadrant by quadrant, each mirrored or turned so that neighbours on the curve are neighbours in
/// the grid.
fn along_curve(TileIndex(mut row, mut col): TileIndex, side: usize) -> u64 {
    let (mut place, mut half) = (0, side / 2);
    while half > 0 {
        let (below, right) = (row & half > 0, col & half > 0);
        let quadrant = if right { 2 + u64::from(!below) } else { u64::from(below) };
        place = 4 * place + quadrant;
        if !below {
            if right {
                (row, col) = (!row & (side - 1), !col & (side - 1));
            }
            (row, col) = (col, row);
        }
        half /= 2;
    }
    place
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Part {
    type Err = GramError;

    fn from_str(text: &str) -> Result<Self> {
        let error = || GramError::Part { found: text.to_owned() };
        let (index, count) = text.split_once('/').ok_or_else(error)?;
        let number = |text: &str| text.trim().parse().map_err(|_| error());
        Self::new(number(index)?, number(count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::touched::TouchedRows;

    #[test]
    fn neighbours_on_the_curve_are_neighbours_in_the_grid() {
        let side = 16;
        let mut tiles: Vec<_> =
            (0..side).flat_map(|row| (0..side).map(move |col| TileIndex(row, col))).collect();
        tiles.sort_by_key(|tile| along_curve(*tile, side));
        for (at, pair) in tiles.windows(2).enumerate() {
            assert_eq!(along_curve(pair[0], side), at as u64);
            let steps = pair[0].0.abs_diff(pair[1].0) + pair[0].1.abs_diff(pair[1].1);
            assert_eq!(steps, 1, "{pair:?}");
        }
    }

    #[test]
    fn parts_share_all_tiles_and_each_needs_few_rows() -> Result<()> {
        for (n, count) in [(590, 1), (590, 4), (590, 16), (990, 64), (30, 7), (20, 9)] {
            let grid = Grid::new(n, 10);
            let parts: Result<Vec<_>> = (1..=count).map(|at| Part::new(at, count)).collect();
            let shares: Vec<_> = parts?.iter().map(|part| part.share(grid)).collect();
            let mut all = shares.concat();
            all.sort_unstable();
            assert_eq!(all, grid.lower().collect::<Vec<_>>());
            assert_eq!(Part::shares(count, grid)?, shares);
            let lengths = || shares.iter().map(Vec::len);
            assert!(lengths().max() <= lengths().min().map(|least| least + 1));
            let rows = |share: &Vec<_>| TouchedRows::of(grid, share).grid().n() as f64 / n as f64;
            let mean = shares.iter().map(rows).sum::<f64>() / count as f64;
            assert!(mean <= (3.0 / count as f64).sqrt().min(1.0) || grid.side() < 10, "{mean}");
        }
        Ok(())
    }

    #[test]
    fn tasks_of_an_array_are_parts_from_one() {
        let part = |id: &str, min: &str, count: &str| Part::of_task(id, min, count).ok();
        assert_eq!(part("0", "0", "3"), Part::new(1, 3).ok());
        assert_eq!(part("7", "5", "3"), Part::new(3, 3).ok());
        for (id, min, count) in [("8", "5", "3"), ("4", "5", "3"), ("x", "0", "1"), ("0", "0", "0")]
        {
            assert_eq!(part(id, min, count), None, "{id} {min} {count}");
        }
    }
}
