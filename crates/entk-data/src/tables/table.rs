//! [`Table`]: rows of numbers under names, every number finite. Readers of files make it; a
//! standardiser scales it, and models take its array.

use entk_device::memory::ensure;

use crate::{
    error::{DataError, Result},
    npy::array::{Array, Data},
};

/// Rows of numbers, with a name for each column; at least one row and one column, every number
/// finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub(super) source: String,
    pub(super) names: Vec<String>,
    /// Number of column c of row r at r D + c.
    pub(super) values: Vec<f64>,
    /// Columns of texts, with the texts whose indices are their numbers.
    pub(super) classes: Vec<(String, Vec<String>)>,
}

impl Table {
    /// An empty table of these columns, to be filled row by row.
    pub(super) fn of_columns(source: &str, names: Vec<String>) -> Result<Self> {
        if names.is_empty() {
            return Err(DataError::Empty { what: format!("{source} (columns)") });
        }
        let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DataError::Format {
                file: source.to_owned(),
                format: "table",
                problem: format!("two columns are named {:?}", twice[0]),
                advice: "give each column a name of its own",
            });
        }
        Ok(Self { source: source.to_owned(), names, values: Vec::new(), classes: Vec::new() })
    }

    /// Appends a number; memory that is not there is refused before it is taken.
    pub(super) fn push(&mut self, value: f64) -> Result<()> {
        if self.values.len() == self.values.capacity() {
            let more = self.values.len().max(1024);
            let bytes = (self.values.len() + more) as u64 * 8;
            ensure(&format!("the table {}", self.source), bytes, None, "use fewer rows")?;
            let reserved = self.values.try_reserve_exact(more);
            let full = |_| std::io::Error::from(std::io::ErrorKind::OutOfMemory);
            reserved.map_err(full).map_err(DataError::io("hold in memory", &self.source))?;
        }
        self.values.push(value);
        Ok(())
    }

    /// The file, as errors name it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows, N.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// The numbers, row by row.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The texts of a column of classes, ascending: text i is number i of the column. Empty for a
    /// column of numbers.
    #[must_use]
    pub fn class_names(&self, column: &str) -> &[String] {
        let found = self.classes.iter().find(|(name, _)| name == column);
        found.map_or(&[], |(_, texts)| texts)
    }

    /// The index of a column, by its name or else by its number from 0.
    ///
    /// # Errors
    /// [`DataError::Column`], with the names there are.
    pub fn index(&self, column: &str) -> Result<usize> {
        let by_name = self.names.iter().position(|name| name == column);
        let by_number = || column.parse().ok().filter(|index| *index < self.names.len());
        by_name.or_else(by_number).ok_or_else(|| DataError::Column {
            file: self.source.clone(),
            asked: column.to_owned(),
            names: self.names.join(", "),
        })
    }

    /// The numbers of a column.
    ///
    /// # Errors
    /// As [`Table::index`].
    pub fn column(&self, column: &str) -> Result<Vec<f64>> {
        let index = self.index(column)?;
        Ok(self.values.iter().skip(index).step_by(self.names.len()).copied().collect())
    }

    /// The other columns, and this one: inputs and their labels or targets.
    ///
    /// # Errors
    /// As [`Table::index`]; [`DataError::Empty`] if there is no other column.
    pub fn split_off(&self, column: &str) -> Result<(Self, Vec<f64>)> {
        let (index, taken) = (self.index(column)?, self.column(column)?);
        let mut names = self.names.clone();
        let name = names.remove(index);
        let mut rest = Self::of_columns(&self.source, names)?;
        let others = self.values.iter().enumerate();
        let others = others.filter(|(at, _)| at % self.names.len() != index);
        rest.values = others.map(|(_, value)| *value).collect();
        rest.classes = self.classes.iter().filter(|(of, _)| *of != name).cloned().collect();
        Ok((rest, taken))
    }

    /// The rows at these indices, in this order; an index may repeat.
    ///
    /// # Errors
    /// [`DataError::Empty`] without indices, [`DataError::Index`] if one is not below N.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let count = self.rows();
        if indices.is_empty() {
            return Err(DataError::Empty { what: format!("selection of {}", self.source) });
        }
        if let Some(&index) = indices.iter().find(|&&index| index >= count) {
            return Err(DataError::Index { index, count });
        }
        let columns = self.names.len();
        let rows = indices.iter().flat_map(|row| &self.values[row * columns..(row + 1) * columns]);
        Ok(Self { values: rows.copied().collect(), ..self.clone_empty() })
    }

    /// This table with other numbers.
    pub(super) fn clone_empty(&self) -> Self {
        let (source, names, classes) =
            (self.source.clone(), self.names.clone(), self.classes.clone());
        Self { source, names, values: Vec::new(), classes }
    }

    /// The numbers as an array (N, D) of f64.
    #[must_use]
    pub fn to_array(&self) -> Array {
        let shape = vec![self.rows(), self.names.len()];
        Array { file: self.source.clone(), shape, data: Data::F64(self.values.clone()) }
    }
}
