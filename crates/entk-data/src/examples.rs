//! Examples of a user's own, in files of any kind: a path comes in, the array of inputs or that of
//! labels goes out. Programs read all that their users give them here.
//!
//! | path | inputs | labels |
//! |---|---|---|
//! | `FILE`, `FILE:NAME` of [`arrays`] | the array | the array |
//! | `FILE.csv`, `FILE.parquet` | all columns, (N, D) | the only column |
//! | `FILE.csv:A,B` | these columns, (N, 2) | these; of one column (N,) |
//! | `FILE.csv:-A,B` | all columns but these | all columns but these |
//! | a folder `CLASS/*.png`, `.jpg` | images, (N, C, H, W), from 0 to 1 | classes, (N,) |
//!
//! A column of labels may hold texts; they are classes, counted in ascending order. Parquet needs
//! the feature `parquet`, folders need `images`.
//!
//! ```
//! use entk_data::examples::{read_inputs, read_labels};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("iris.csv");
//! std::fs::write(&path, "size,kind\n1.5,setosa\n2,virginica\n")?;
//! let of = |name: &str| format!("{}:{name}", path.display());
//! assert_eq!(read_inputs(of("-kind"), usize::MAX)?.to_f64(), [1.5, 2.0]);
//! let labels = read_labels(of("kind"))?;
//! assert_eq!((labels.array.to_f64(), labels.classes[1].as_str()), (vec![0.0, 1.0], "virginica"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

#[cfg(feature = "images")]
use crate::folders::{FolderConfig, Listing};
#[cfg(feature = "parquet")]
use crate::tables::{ParquetConfig, read_parquet};
use crate::{
    arrays::{self, ArrayHeader, choice::split},
    error::{DataError, Result},
    npy::array::{Array, Data},
    tables::{CsvConfig, Table, TableColumns, read_csv},
};

/// Whole numbers that f64 has without gaps.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// What kind of thing a path names; its ending says so, or that it is a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExampleKind {
    /// An array of numpy or PyTorch.
    Array,
    /// A table in CSV.
    Csv,
    /// A table in Parquet.
    Parquet,
    /// A folder of images by class.
    Folder,
}

impl ExampleKind {
    /// The kind of `PATH` or `PATH:NAME`.
    #[must_use]
    pub fn of(path: impl AsRef<Path>) -> Self {
        let (path, _) = split(path.as_ref());
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            _ if path.is_dir() => Self::Folder,
            "csv" => Self::Csv,
            "parquet" => Self::Parquet,
            _ => Self::Array,
        }
    }

    /// Whether it is a table.
    #[must_use]
    pub fn is_table(self) -> bool {
        matches!(self, Self::Csv | Self::Parquet)
    }
}

/// Labels or targets in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ExampleLabels {
    /// (N,) or (N, C).
    pub array: Array,
    /// The names of the classes that labels count; empty where the file has none.
    pub classes: Vec<String>,
}

/// Shape and kind of inputs. A header says those of an array and an image those of a folder; a
/// table is read for them.
///
/// # Errors
/// As [`read_inputs`].
pub fn describe_inputs(path: impl AsRef<Path>) -> Result<ArrayHeader> {
    let path = path.as_ref();
    match ExampleKind::of(path) {
        ExampleKind::Array => arrays::describe(path),
        ExampleKind::Folder => describe_folder(path),
        ExampleKind::Csv | ExampleKind::Parquet => {
            let array = numbers(&read_table(path, &[])?, usize::MAX);
            let bytes = 8 * array.shape.iter().product::<usize>() as u64;
            let is_whole = matches!(array.data, Data::I64(_));
            Ok(ArrayHeader { shape: array.shape, is_whole, bytes })
        }
    }
}

/// The first `most` inputs, or all if there are fewer; those of a folder come class by class.
///
/// # Errors
/// As [`arrays::read`], [`read_csv`], `tables::read_parquet` and `folders::read_folder`;
/// [`DataError::Feature`] where the crate was built without the reader.
pub fn read_inputs(path: impl AsRef<Path>, most: usize) -> Result<Array> {
    let path = path.as_ref();
    match ExampleKind::of(path) {
        ExampleKind::Array => arrays::read_leading(path, most),
        ExampleKind::Folder => read_images(path, most),
        ExampleKind::Csv | ExampleKind::Parquet => Ok(numbers(&read_table(path, &[])?, most)),
    }
}

/// Labels or targets.
///
/// # Errors
/// As [`read_inputs`]; [`DataError::LabelColumn`] for a table of several columns without a name,
/// and [`DataError::Cell`] for texts beside numbers in one column.
pub fn read_labels(path: impl AsRef<Path>) -> Result<ExampleLabels> {
    let path = path.as_ref();
    match ExampleKind::of(path) {
        ExampleKind::Array => Ok(ExampleLabels { array: arrays::read(path)?, classes: Vec::new() }),
        ExampleKind::Folder => read_classes(path),
        ExampleKind::Csv | ExampleKind::Parquet => {
            let (table, classes) = label_table(path)?;
            let mut array = numbers(&table, usize::MAX);
            if table.names().len() == 1 {
                array.shape.pop();
            } else if split(path).1.is_none() {
                let names = table.names().join(", ");
                return Err(DataError::LabelColumn { file: path.display().to_string(), names });
            }
            Ok(ExampleLabels { array, classes })
        }
    }
}

/// Refuses inputs that are columns of the same table as the labels and have them among them, from
/// the paths alone.
///
/// # Errors
/// [`DataError::LabelsAmongInputs`].
pub fn ensure_apart(inputs: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<()> {
    let (inputs, labels) = (inputs.as_ref(), labels.as_ref());
    let (file, input_names) = split(inputs);
    let (label_file, label_names) = split(labels);
    if !ExampleKind::of(inputs).is_table() || !is_same(file, label_file) {
        return Ok(());
    }
    let is_input = |name: &String| match columns(input_names) {
        TableColumns::All => true,
        TableColumns::Only(names) => names.contains(name),
        TableColumns::Without(names) => !names.contains(name),
    };
    let shared = match columns(label_names) {
        TableColumns::Only(names) => names.into_iter().filter(is_input).collect::<Vec<_>>(),
        _ => vec!["COLUMN".to_owned()],
    };
    if shared.is_empty() {
        return Ok(());
    }
    Err(DataError::LabelsAmongInputs {
        file: file.display().to_string(),
        columns: shared.join(","),
    })
}

fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    real(a) == real(b)
}

/// The columns that a name behind a file asks for.
fn columns(name: Option<&str>) -> TableColumns {
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    match name {
        None => TableColumns::All,
        Some(names) => match names.strip_prefix('-') {
            Some(names) => TableColumns::Without(list(names)),
            None => TableColumns::Only(list(names)),
        },
    }
}

/// The table of a path, with texts in these columns.
fn read_table(path: &Path, classes: &[String]) -> Result<Table> {
    let (file, name) = split(path);
    let (columns, classes) = (columns(name), classes.to_vec());
    if ExampleKind::of(path) == ExampleKind::Csv {
        return read_csv(file, &CsvConfig { columns, classes, ..CsvConfig::default() });
    }
    #[cfg(feature = "parquet")]
    return read_parquet(file, &ParquetConfig { columns, classes });
    #[cfg(not(feature = "parquet"))]
    Err(DataError::Feature {
        file: file.display().to_string(),
        what: "Parquet files",
        feature: "parquet",
    })
}

/// The table of labels, and the classes of its only column where that holds texts and no number.
fn label_table(path: &Path) -> Result<(Table, Vec<String>)> {
    let error = match read_table(path, &[]) {
        Ok(table) => return Ok((table, Vec::new())),
        Err(error) => error,
    };
    let DataError::Cell { column, .. } = &error else { return Err(error) };
    let column = column.clone();
    let TableColumns::Only(names) = columns(split(path).1) else { return Err(error) };
    if names.len() != 1 {
        return Err(error);
    }
    let table = read_table(path, std::slice::from_ref(&column))?;
    let classes = table.class_names(&column).to_vec();
    let are_texts = classes.iter().all(|class| class.parse::<f64>().is_err());
    if are_texts { Ok((table, classes)) } else { Err(error) }
}

/// The first `most` rows of a table, as integers where all its numbers are whole.
fn numbers(table: &Table, most: usize) -> Array {
    let (rows, columns) = (table.rows().min(most), table.names().len());
    let is_whole = |value: &f64| value.fract() == 0.0 && value.abs() <= WHOLE;
    let are_whole = table.values().iter().all(is_whole);
    let values = &table.values()[..rows * columns];
    let data = if are_whole {
        Data::I64(values.iter().map(|value| *value as i64).collect())
    } else {
        Data::F64(values.to_vec())
    };
    Array { file: table.source().to_owned(), shape: vec![rows, columns], data }
}

#[cfg(feature = "images")]
fn describe_folder(path: &Path) -> Result<ArrayHeader> {
    let listing = Listing::of(path)?;
    let [channels, height, width] = listing.pixels(&FolderConfig::default(), 1)?.shape;
    let shape = vec![listing.files.len(), channels, height, width];
    let bytes = shape.iter().fold(4, |bytes: u64, size| bytes.saturating_mul(*size as u64));
    Ok(ArrayHeader { shape, is_whole: false, bytes })
}

#[cfg(feature = "images")]
fn read_images(path: &Path, most: usize) -> Result<Array> {
    let listing = Listing::of(path)?;
    let pixels = listing.pixels(&FolderConfig::default(), most)?;
    let count = listing.files.len().min(most);
    let shape = [&[count], &pixels.shape[..]].concat();
    Ok(Array { file: listing.name, shape, data: Data::F32(pixels.values) })
}

#[cfg(feature = "images")]
fn read_classes(path: &Path) -> Result<ExampleLabels> {
    let Listing { name, classes, files } = Listing::of(path)?;
    let labels: Vec<i64> = files.iter().map(|(label, _)| i64::from(*label)).collect();
    let array = Array { file: name, shape: vec![labels.len()], data: Data::I64(labels) };
    Ok(ExampleLabels { array, classes })
}

#[cfg(not(feature = "images"))]
fn describe_folder(path: &Path) -> Result<ArrayHeader> {
    Err(no_images(path))
}

#[cfg(not(feature = "images"))]
fn read_images(path: &Path, _: usize) -> Result<Array> {
    Err(no_images(path))
}

#[cfg(not(feature = "images"))]
fn read_classes(path: &Path) -> Result<ExampleLabels> {
    Err(no_images(path))
}

#[cfg(not(feature = "images"))]
fn no_images(path: &Path) -> DataError {
    DataError::Feature {
        file: path.display().to_string(),
        what: "folders of images",
        feature: "images",
    }
}
