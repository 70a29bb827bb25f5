//! Texts of columns of classes: they come in row by row, and are numbered in ascending order when
//! the last has come. Called by the readers of tables.

use std::collections::BTreeMap;

use crate::{error::Result, tables::table::Table};

/// Texts by index of the column, with the order in which they appeared.
pub(super) struct Classes {
    texts: BTreeMap<usize, BTreeMap<String, usize>>,
}

impl Classes {
    /// For the columns of these names.
    pub(super) fn of(table: &Table, columns: &[String]) -> Result<Self> {
        let column = |name: &String| Ok((table.index(name)?, BTreeMap::new()));
        Ok(Self { texts: columns.iter().map(column).collect::<Result<_>>()? })
    }

    /// The number that stands for a text of a column until all are known; none if the column is not
    /// one of classes.
    pub(super) fn appeared(&mut self, column: usize, text: &str) -> Option<f64> {
        let texts = self.texts.get_mut(&column)?;
        let next = texts.len();
        Some(*texts.entry(text.to_owned()).or_insert(next) as f64)
    }

    /// Numbers the texts of the whole table in ascending order.
    pub(super) fn number(self, table: &mut Table) {
        let columns = table.names.len();
        for (index, texts) in self.texts {
            let mut numbers = vec![0.0; texts.len()];
            for (number, appeared) in texts.values().enumerate() {
                numbers[*appeared] = number as f64;
            }
            for value in table.values.iter_mut().skip(index).step_by(columns) {
                *value = numbers[*value as usize];
            }
            table.classes.push((table.names[index].clone(), texts.into_keys().collect()));
        }
    }
}
