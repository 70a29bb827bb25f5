//! CSV files: text comes in, a [`Table`] goes out. Lines are split by the crate `csv`; what is no
//! finite number is refused with its line and column.

use std::{
    io::{BufReader, Read},
    path::Path,
};

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use crate::{
    error::{DataError, Result},
    npy::open,
    tables::{classes::Classes, columns::TableColumns, table::Table},
};

/// Whether the first line has the names of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderLine {
    /// It has if one of its fields is no number; where columns are asked for by numbers, if none is
    /// a number.
    #[default]
    Detect,
    /// It has, even if they are numbers.
    Present,
    /// It has not: columns are named `0`, `1` and so on.
    Absent,
}

/// How a CSV file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvConfig {
    /// Whether there is a line of names.
    pub header: HeaderLine,
    /// What stands between fields; a comma by default.
    pub delimiter: u8,
    /// Which columns are read; all by default.
    pub columns: TableColumns,
    /// TableColumns of the table whose fields are names of classes: they are numbered from 0 in
    /// ascending order of their names, which the table keeps. None by default.
    pub classes: Vec<String>,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            header: HeaderLine::default(),
            delimiter: b',',
            columns: TableColumns::All,
            classes: Vec::new(),
        }
    }
}

/// Reads a table of numbers, with or without a line of names. Spaces around fields are left out,
/// fields may be quoted.
///
/// Memory: the numbers as f64; the text is read as it is needed.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, otherwise as [`parse_csv`].
pub fn read_csv(path: impl AsRef<Path>, config: &CsvConfig) -> Result<Table> {
    let (file, _, name) = open(path.as_ref())?;
    read(BufReader::new(file), &name, config)
}

/// The table in the bytes of a CSV file; `file` names them in errors.
///
/// # Errors
/// [`DataError::Cell`] for a missing value and for what is no finite number, with line and column;
/// [`DataError::Format`] for lines of different length, two columns of one name and bytes that are
/// no UTF-8; [`DataError::Column`] for a column that was asked for and is not there;
/// [`DataError::Empty`] without a row, and [`DataError::NoMemory`].
pub fn parse_csv(bytes: &[u8], file: &str, config: &CsvConfig) -> Result<Table> {
    read(bytes, file, config)
}

fn read(reader: impl Read, file: &str, config: &CsvConfig) -> Result<Table> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).delimiter(config.delimiter).trim(Trim::All);
    let mut reader = builder.from_reader(reader);
    let mut record = StringRecord::new();
    let mut next = |record: &mut StringRecord| {
        reader.read_record(record).map_err(|error| refused(file, error))
    };
    if !next(&mut record)? {
        return Err(DataError::Empty { what: file.to_owned() });
    }
    let has_names = match config.header {
        HeaderLine::Present => true,
        HeaderLine::Absent => false,
        HeaderLine::Detect => is_names(&record, config),
    };
    let names = record.iter().enumerate();
    let names = names.map(|(at, field)| if has_names { field.to_owned() } else { at.to_string() });
    let (chosen, mut table) = config.columns.choose(&Table::of_columns(file, names.collect())?)?;
    let mut classes = Classes::of(&table, &config.classes)?;
    if has_names && !next(&mut record)? {
        return Err(DataError::Empty { what: format!("{file} (rows below the names)") });
    }
    loop {
        push(&mut table, &chosen, &mut classes, &record)?;
        if !next(&mut record)? {
            break;
        }
    }
    classes.number(&mut table);
    Ok(table)
}

/// Whether fields are names: one of them, but for those of classes, is no number. Where columns are
/// asked for by numbers any may be of texts, and none of the fields may be a number.
fn is_names(record: &StringRecord, config: &CsvConfig) -> bool {
    let is_class = |at: usize| config.classes.contains(&at.to_string());
    let is_text = |field: &str| !field.is_empty() && field.parse::<f64>().is_err();
    if config.columns.are_numbers() {
        return record.iter().all(is_text);
    }
    record.iter().enumerate().any(|(at, field)| !is_class(at) && is_text(field))
}

/// Appends the chosen fields of a line.
fn push(
    table: &mut Table,
    chosen: &[usize],
    classes: &mut Classes,
    record: &StringRecord,
) -> Result<()> {
    for (at, index) in chosen.iter().enumerate() {
        let field = record.get(*index).unwrap_or_default();
        let class = (!field.is_empty()).then(|| classes.appeared(at, field)).flatten();
        let value = class.unwrap_or_else(|| field.parse().unwrap_or(f64::NAN));
        if !value.is_finite() {
            let is_missing = field.is_empty()
                || ["na", "nan", "null", "none", "?"]
                    .contains(&field.to_ascii_lowercase().as_str());
            return Err(DataError::Cell {
                file: table.source.clone(),
                line: record.position().map_or(0, csv::Position::line),
                column: table.names[at].clone(),
                found: field.to_owned(),
                advice: if is_missing {
                    "fill missing values, or leave out their rows"
                } else {
                    "recode texts as numbers, or name the column in `classes`"
                },
            });
        }
        table.push(value)?;
    }
    Ok(())
}

fn refused(file: &str, error: csv::Error) -> DataError {
    let text = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::io("read", file)(source),
        _ => DataError::Format {
            file: file.to_owned(),
            format: "CSV file",
            problem: text,
            advice: "every line needs the same fields, in UTF-8; is the delimiter the right one?",
        },
    }
}
