//! [`ColumnStandardizer`]: from the training rows of a table to the mean and standard deviation of
//! each column, and tables scaled by them.

use crate::{
    error::{DataError, Result},
    tables::table::Table,
};

/// What becomes of columns that do not vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConstantColumns {
    /// They are an error.
    #[default]
    Refuse,
    /// They become 0, and [`ColumnStandardizer::constant`] names them.
    Zero,
}

/// Standardisation of each column x -> (x - mean_c) / std_c, fitted on training rows only, in f64.
///
/// With the sums over the N rows, mean_c = (1 / N) sum x and std_c = sqrt((1 / N) sum (x -
/// mean_c)^2), the population form. ([`Standardizer`](crate::Standardizer) scales the channels of
/// images, whose pixels share one mean.)
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStandardizer {
    names: Vec<String>,
    mean: Vec<f64>,
    /// 0 for columns that do not vary.
    std: Vec<f64>,
}

impl ColumnStandardizer {
    /// Mean and standard deviation of each column of the training rows. Two passes over the values.
    ///
    /// # Errors
    /// [`DataError::ConstantColumn`] for a column whose values are equal, or differ by no more than
    /// round-off of f64, unless they are to become 0; [`DataError::NonFinite`] where a sum
    /// overflows.
    pub fn fit(train: &Table, constant: ConstantColumns) -> Result<Self> {
        let (count, columns) = (train.rows() as f64, train.names.len());
        let sum = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; columns];
            for row in train.values.chunks_exact(columns) {
                for (column, (sum, value)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += term(column, *value);
                }
            }
            sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>()
        };
        // From the first row on, so that round-off does not make a constant column vary.
        let first = &train.values[..columns];
        let mean = sum(&|column, x| x - first[column]);
        let mean: Vec<f64> = mean.iter().zip(first).map(|(mean, first)| first + mean).collect();
        let mut std = sum(&|column, x| (x - mean[column]).powi(2));
        for (column, std) in std.iter_mut().enumerate() {
            *std = std.sqrt();
            let (name, mean) = (&train.names[column], mean[column]);
            if !std.is_finite() {
                let what = format!("standard deviation of {name:?} of {}", train.source);
                return Err(DataError::NonFinite { what, index: column, value: *std });
            }
            if *std <= mean.abs() * f64::EPSILON {
                if constant == ConstantColumns::Refuse {
                    let (file, column) = (train.source.clone(), name.clone());
                    return Err(DataError::ConstantColumn { file, column, value: mean });
                }
                *std = 0.0;
            }
        }
        Ok(Self { names: train.names.clone(), mean, std })
    }

    /// The table with each column standardised.
    ///
    /// # Errors
    /// [`DataError::Column`] if the columns are not those of the training rows, in their order.
    pub fn apply(&self, table: &Table) -> Result<Table> {
        if table.names != self.names {
            return Err(DataError::Column {
                file: table.source.clone(),
                asked: self.names.join(", "),
                names: table.names.join(", "),
            });
        }
        let scale = |(at, value): (usize, &f64)| {
            let column = at % self.names.len();
            let std = self.std[column];
            if std == 0.0 { 0.0 } else { (value - self.mean[column]) / std }
        };
        let values = table.values.iter().enumerate().map(scale).collect();
        Ok(Table { values, ..table.clone_empty() })
    }

    /// Means, one for each column.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Population standard deviations, one for each column; 0 for those that do not vary.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// Names of the columns that do not vary and become 0.
    pub fn constant(&self) -> impl Iterator<Item = &str> {
        let columns = self.names.iter().zip(&self.std);
        columns.filter(|(_, std)| **std == 0.0).map(|(name, _)| name.as_str())
    }
}
