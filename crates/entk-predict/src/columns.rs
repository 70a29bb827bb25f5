//! [`Columns`], C numbers for each of N inputs: targets, outputs and coefficients come in and go
//! out of every function of this crate as such.

use std::fmt;

use crate::error::{PredictError, Result};

/// An N x C table of finite f64: one row for each input, one column for each output.
///
/// Targets, outputs at theta_0, coefficients and predictions all have this form. With C columns a
/// kernel K on N inputs acts on each alone, which is K (x) I_C. A full kernel, N C x N C with index
/// n C + c, takes one column of N C rows: the same numbers, row by row.
///
/// ```
/// use entk_predict::Columns;
///
/// let targets = Columns::from_rows(3, 2, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0])?;
/// assert_eq!(targets.column(1), [0.0, 1.0, 0.0]);
/// assert_eq!(targets.get(2, 0), 1.0);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Columns {
    rows: usize,
    cols: usize,
    /// Column by column.
    values: Vec<f64>,
}

impl Columns {
    /// A table from its values row by row: entry (n, c) at n C + c.
    ///
    /// # Errors
    /// [`Count`](PredictError::Count) unless there are `rows` times `cols` values, at least one;
    /// [`NonFinite`](PredictError::NonFinite) with the first NaN or infinity.
    pub fn from_rows(rows: usize, cols: usize, values: &[f64]) -> Result<Self> {
        check_count(rows, cols, values.len())?;
        let entry = |c: usize| values.iter().skip(c).step_by(cols).copied();
        Self::checked(rows, cols, (0..cols).flat_map(entry).collect())
    }

    /// A table from its values column by column: entry (n, c) at c N + n, the layout of products
    /// with kernels.
    ///
    /// # Errors
    /// As [`from_rows`](Self::from_rows).
    pub fn from_columns(rows: usize, cols: usize, values: Vec<f64>) -> Result<Self> {
        check_count(rows, cols, values.len())?;
        Self::checked(rows, cols, values)
    }

    fn checked(rows: usize, cols: usize, values: Vec<f64>) -> Result<Self> {
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(PredictError::NonFinite {
                row: at % rows,
                column: at / rows,
                value: values[at],
            }),
            None => Ok(Self { rows, cols, values }),
        }
    }

    /// A result, column by column; `quantity` names it if it has overflowed.
    pub(crate) fn computed(rows: usize, values: Vec<f64>, quantity: &'static str) -> Result<Self> {
        let cols = values.len() / rows;
        Self::from_columns(rows, cols, values).map_err(|error| match error {
            PredictError::NonFinite { .. } => PredictError::Overflow { quantity },
            other => other,
        })
    }

    /// Number of rows N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns C.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Entry (n, c).
    ///
    /// # Panics
    /// As indexing a slice does, out of range.
    pub fn get(&self, n: usize, c: usize) -> f64 {
        self.column(c)[n]
    }

    /// Column c: N values.
    ///
    /// # Panics
    /// As indexing a slice does, unless c < C.
    pub fn column(&self, c: usize) -> &[f64] {
        &self.values[c * self.rows..(c + 1) * self.rows]
    }

    /// All values, column by column.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All values row by row: entry (n, c) at n C + c.
    pub fn to_rows(&self) -> Vec<f64> {
        (0..self.rows).flat_map(|n| (0..self.cols).map(move |c| self.get(n, c))).collect()
    }

    /// The position of the largest value of every row, the first of equal ones: the predicted
    /// class.
    pub fn largest(&self) -> Vec<usize> {
        let larger = |n: usize, a, b| if self.get(n, b) > self.get(n, a) { b } else { a };
        (0..self.rows).map(|n| (1..self.cols).fold(0, |a, b| larger(n, a, b))).collect()
    }

    /// Refuses another shape than `rows` x `cols`.
    pub(crate) fn check_shape(&self, what: &'static str, rows: usize, cols: usize) -> Result<()> {
        let (expected, found) = ([rows, cols], [self.rows, self.cols]);
        if found == expected { Ok(()) } else { Err(PredictError::Shape { what, expected, found }) }
    }

    /// This table minus the outputs at theta_0, if there are any.
    pub(crate) fn minus(&self, offset: Option<&Self>) -> Result<Self> {
        let Some(offset) = offset else { return Ok(self.clone()) };
        offset.check_shape("offsets", self.rows, self.cols)?;
        let values = self.values.iter().zip(&offset.values).map(|(a, b)| a - b).collect();
        Self::computed(self.rows, values, "difference of targets and offsets")
    }

    /// This table plus the outputs at theta_0, if there are any.
    pub(crate) fn plus(mut self, offset: Option<&Self>) -> Result<Self> {
        let Some(offset) = offset else { return Ok(self) };
        offset.check_shape("offsets", self.rows, self.cols)?;
        self.values.iter_mut().zip(&offset.values).for_each(|(a, b)| *a += b);
        Self::computed(self.rows, self.values, "sum of predictions and offsets")
    }
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Columns")
            .field("rows", &self.rows)
            .field("cols", &self.cols)
            .finish_non_exhaustive()
    }
}

fn check_count(rows: usize, cols: usize, found: usize) -> Result<()> {
    match rows.checked_mul(cols) {
        Some(expected) if expected == found && found > 0 => Ok(()),
        expected => Err(PredictError::Count {
            what: "values of a table",
            expected: expected.unwrap_or(usize::MAX).max(1),
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, PredictError};

    #[test]
    fn rows_and_columns_are_two_orders_of_one_table() -> super::Result<()> {
        let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let table = Columns::from_rows(2, 3, &rows)?;
        assert_eq!(table.values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(table.to_rows(), rows);
        assert_eq!(Columns::from_columns(2, 3, table.values().to_vec())?, table);
        assert_eq!(table.largest(), [2, 2]);
        assert_eq!(Columns::from_rows(1, 3, &[1.0, 1.0, 0.0])?.largest(), [0]);
        Ok(())
    }

    #[test]
    fn wrong_tables_are_refused() {
        let nan = Columns::from_rows(2, 2, &[0.0, 0.0, f64::NAN, 0.0]);
        assert!(matches!(nan, Err(PredictError::NonFinite { row: 1, column: 0, .. })));
        for (rows, cols) in [(0, 2), (2, 0), (1, 2), (usize::MAX, 2)] {
            let short = Columns::from_rows(rows, cols, &[0.0]);
            assert!(matches!(short, Err(PredictError::Count { .. })), "{rows} {cols}");
        }
    }
}
