//! [`TableColumns`]: which columns of a file a table has. Readers of files turn it into indices.

use crate::{error::Result, tables::table::Table};

/// The columns of a file that are read, by their names or else by their numbers from 0. What others
/// hold does not matter: they may be texts, or have gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TableColumns {
    /// All, in the order of the file.
    #[default]
    All,
    /// These, in this order.
    Only(Vec<String>),
    /// All but these, in the order of the file.
    Without(Vec<String>),
}

impl TableColumns {
    /// The indices of the columns of a file that are read, and the empty table of them. `all` has
    /// the columns of the file.
    pub(super) fn choose(&self, all: &Table) -> Result<(Vec<usize>, Table)> {
        let index = |names: &[String]| {
            names.iter().map(|name| all.index(name)).collect::<Result<Vec<usize>>>()
        };
        let count = all.names.len();
        let chosen = match self {
            Self::All => (0..count).collect(),
            Self::Only(names) => index(names)?,
            Self::Without(names) => {
                let without = index(names)?;
                (0..count).filter(|at| !without.contains(at)).collect()
            }
        };
        let names = chosen.iter().map(|at| all.names[*at].clone()).collect();
        Ok((chosen, Table::of_columns(&all.source, names)?))
    }

    /// Whether columns are asked for by numbers.
    pub(super) fn are_numbers(&self) -> bool {
        match self {
            Self::All => false,
            Self::Only(names) | Self::Without(names) => {
                names.iter().all(|name| name.parse::<usize>().is_ok())
            }
        }
    }
}
