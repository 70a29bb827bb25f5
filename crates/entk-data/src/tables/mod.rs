//! Tables of numbers: CSV and Parquet files come in, a [`Table`] with named columns goes out, of
//! which one may be the labels or targets; a [`ColumnStandardizer`] scales the others.
//!
//! ```
//! use entk_data::tables::{ColumnStandardizer, ConstantColumns, CsvConfig, parse_csv};
//!
//! let text = b"age,height,label\n3,0.9,0\n5,1.1,1\n";
//! let table = parse_csv(text, "people.csv", &CsvConfig::default())?;
//! let (inputs, labels) = table.split_off("label")?;
//! assert_eq!(inputs.names(), ["age", "height"]);
//! assert_eq!(labels, [0.0, 1.0]);
//! let standardizer = ColumnStandardizer::fit(&inputs, ConstantColumns::Refuse)?;
//! assert_eq!(standardizer.apply(&inputs)?.column("age")?, [-1.0, 1.0]);
//! assert_eq!(inputs.to_array().shape(), [2, 2]);
//! # Ok::<(), entk_data::DataError>(())
//! ```

mod classes;
mod columns;
mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod standardizer;
mod table;

pub use columns::TableColumns;
pub use standardizer::{ColumnStandardizer, ConstantColumns};
pub use table::Table;

pub use self::csv::{CsvConfig, HeaderLine, parse_csv, read_csv};
#[cfg(feature = "parquet")]
pub use self::parquet::{ParquetConfig, parse_parquet, read_parquet};
