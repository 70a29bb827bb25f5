//! Parquet files: bytes come in, a [`Table`] goes out. They are decoded by the crate `parquet`,
//! plain or compressed by Snappy or Zstandard; what is no finite number is refused with its row and
//! column. Called by programs with tables of their own.

use std::{panic::catch_unwind, path::Path, sync::Arc};

use bytes::Bytes;
use entk_device::{files, memory::ensure};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};

use crate::{
    error::{DataError, Result},
    npy::open,
    tables::{classes::Classes, columns::TableColumns, table::Table},
};

/// How a Parquet file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParquetConfig {
    /// Which columns are read; all by default.
    pub columns: TableColumns,
    /// TableColumns of the table whose fields are names of classes: they are numbered from 0 in
    /// ascending order of their names, which the table keeps. None by default.
    pub classes: Vec<String>,
}

/// Reads columns of numbers and truth values of a Parquet file.
///
/// Memory: the file and the numbers as f64.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, otherwise as [`parse_parquet`].
pub fn read_parquet(path: impl AsRef<Path>, config: &ParquetConfig) -> Result<Table> {
    let path = path.as_ref();
    let (_, length, name) = open(path)?;
    ensure(&format!("the file {name}"), length, None, "use a file of fewer rows")?;
    parse_parquet(files::read(path).map_err(DataError::io("read", path))?, &name, config)
}

/// The table in the bytes of a Parquet file; `file` names them in errors.
///
/// # Errors
/// [`DataError::Cell`], with its row from 1, for a missing value and for what is no finite number;
/// [`DataError::Column`] for a column that was asked for and is not there; [`DataError::Format`]
/// for what is no Parquet file, is damaged, is compressed otherwise, or has two columns of one
/// name; [`DataError::Empty`] without a row or column, [`DataError::NoMemory`].
pub fn parse_parquet(bytes: Vec<u8>, file: &str, config: &ParquetConfig) -> Result<Table> {
    // The decoder panics on some damaged files.
    let read = catch_unwind(|| read(bytes.into(), file, config));
    read.unwrap_or_else(|_| Err(refused(file, "is damaged")))
}

fn read(bytes: Bytes, file: &str, config: &ParquetConfig) -> Result<Table> {
    let reader = SerializedFileReader::new(bytes).map_err(|error| refused(file, error))?;
    let schema = reader.metadata().file_metadata().schema();
    let names = schema.get_fields().iter().map(|field| field.name().to_owned());
    let all = Table::of_columns(file, names.collect())?;
    let (chosen, mut table) = config.columns.choose(&all)?;
    let mut classes = Classes::of(&table, &config.classes)?;
    let (order, projection) = projected(schema, &chosen).map_err(|error| refused(file, error))?;
    let rows = reader.get_row_iter(Some(projection)).map_err(|error| refused(file, error))?;
    for (number, row) in rows.enumerate() {
        let row = row.map_err(|error| refused(file, error))?;
        push(&mut table, &order, &mut classes, &row, number as u64 + 1)?;
    }
    if table.values.is_empty() {
        return Err(DataError::Empty { what: format!("{file} (rows)") });
    }
    classes.number(&mut table);
    Ok(table)
}

/// The part of a schema with these columns, in the order of the file, and where each of them, in
/// the order asked for, stands in it.
fn projected(schema: &Type, chosen: &[usize]) -> parquet::errors::Result<(Vec<usize>, Type)> {
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable();
    let fields = sorted.iter().map(|at| Arc::clone(&schema.get_fields()[*at])).collect();
    let order = chosen.iter().map(|at| sorted.partition_point(|other| other < at)).collect();
    Ok((order, Type::group_type_builder(schema.name()).with_fields(fields).build()?))
}

/// Appends a row, whose fields are in the order of the file.
fn push(
    table: &mut Table,
    order: &[usize],
    classes: &mut Classes,
    row: &Row,
    number: u64,
) -> Result<()> {
    let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
    for (at, place) in order.iter().enumerate() {
        let field = fields.get(*place).copied().unwrap_or(&Field::Null);
        let class = match field {
            Field::Str(text) => classes.appeared(at, text),
            _ => None,
        };
        let value = class.or_else(|| finite(field)).ok_or_else(|| DataError::Cell {
            file: table.source.clone(),
            line: number,
            column: table.names[at].clone(),
            found: field.to_string(),
            advice: match field {
                Field::Null => "fill missing values, or leave out their rows",
                Field::Str(_) => "recode texts as numbers, or name the column in `classes`",
                _ => "write the table with columns of finite numbers only",
            },
        })?;
        table.push(value)?;
    }
    Ok(())
}

/// A finite number.
fn finite(field: &Field) -> Option<f64> {
    let value = match field {
        Field::Bool(value) => f64::from(u8::from(*value)),
        Field::Byte(value) => f64::from(*value),
        Field::Short(value) => f64::from(*value),
        Field::Int(value) => f64::from(*value),
        Field::Long(value) => *value as f64,
        Field::UByte(value) => f64::from(*value),
        Field::UShort(value) => f64::from(*value),
        Field::UInt(value) => f64::from(*value),
        Field::ULong(value) => *value as f64,
        Field::Float16(value) => f64::from(*value),
        Field::Float(value) => f64::from(*value),
        Field::Double(value) => *value,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn refused(file: &str, problem: impl ToString) -> DataError {
    DataError::Format {
        file: file.to_owned(),
        format: "Parquet file",
        problem: problem.to_string(),
        advice: "write it again, plain or compressed by Snappy or Zstandard",
    }
}
