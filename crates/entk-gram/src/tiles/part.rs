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

    /// Whether there is no other.
    pub fn is_whole(&self) -> bool {
        self.count == 1
    }

    /// The tiles of this part, row by row; shares differ by at most one tile.
    pub fn share(&self, grid: Grid) -> Vec<TileIndex> {
        grid.lower().skip(self.index - 1).step_by(self.count).collect()
    }
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
