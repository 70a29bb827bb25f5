//! [`DataError`], the one error type of this crate, which every function returns.
//!
//! Each message names the file or field, what was expected, what was found, and what to do.

use std::{io, path::PathBuf};

use entk_device::memory::MemoryError;

/// Result with [`DataError`].
pub type Result<T> = std::result::Result<T, DataError>;

/// What can go wrong with data: each message names the file or field, what was expected, what was
/// found, and what to do.
///
/// `file` is the path as the caller gave it, or a name such as `embedded
/// train-images-idx3-ubyte.gz` for bytes without a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused an operation.
    #[error(
        "cannot {action} {path:?}: {source}; check that the path exists and that its permissions and the free space allow it"
    )]
    Io {
        /// What was tried, such as `open`.
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// The reason given.
        source: io::Error,
    },
    /// A pipe or a device where a file is needed.
    #[error("{}: a pipe or a device, whose length cannot be known; save it to a file first", path.display())]
    Pipe {
        /// What was to be read.
        path: PathBuf,
    },
    /// A gzip stream with a wrong checksum, wrong length, or a damaged body.
    #[error("{file}: the gzip stream is damaged or cut off ({source}); fetch the file again")]
    Gzip {
        /// The file.
        file: String,
        /// What the decoder found.
        source: io::Error,
    },
    /// Files of one data set where another's were expected.
    #[error(
        "{}: these are the labels of {found}, not of {asked}; ask for {found}, or keep each data set in a subfolder of its name", folder.display()
    )]
    OtherDataset {
        /// The data set asked for.
        asked: &'static str,
        /// The data set whose labels these are.
        found: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// The first bytes are not those of the expected format.
    #[error(
        "{file}: starts with {found:#010x}, expected {expected:#010x} ({format}); is it the right file?"
    )]
    Magic {
        /// The file.
        file: String,
        /// The format in words.
        format: &'static str,
        /// The magic number of the format.
        expected: u32,
        /// The first four bytes of the file, big-endian.
        found: u32,
    },
    /// Fewer bytes than the header or the format demands.
    #[error(
        "{file}: {expected} bytes of {what} expected, {found} found: the file is cut off; fetch or write it again"
    )]
    Truncated {
        /// The file.
        file: String,
        /// Which part is short.
        what: &'static str,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has, or can have at most.
        found: u64,
    },
    /// More bytes than the header or the format allows.
    #[error(
        "{file}: {expected} bytes of {what} expected, but more follow: the file is not what its header says; fetch or write it again"
    )]
    Oversized {
        /// The file.
        file: String,
        /// Which part is too long.
        what: &'static str,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A header that asks for more than this crate is willing to read.
    #[error(
        "{file}: the header declares {found} bytes of {what}, the limit is {limit}; is it the right file?"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// Which part is too large.
        what: &'static str,
        /// The largest accepted size in bytes.
        limit: u64,
        /// The declared size in bytes.
        found: u64,
    },
    /// A file of fixed-size records whose length is not a whole number of them.
    #[error(
        "{file}: {found} bytes are not a whole number of records of {record} bytes: the file is cut off or of another format"
    )]
    Records {
        /// The file.
        file: String,
        /// Bytes of one record.
        record: usize,
        /// Bytes found.
        found: usize,
    },
    /// A label that is not one of the classes.
    #[error("{file}: label {found} at index {index} is out of range, expected 0 to {}; is it the label file of this data set?", .classes - 1)]
    Label {
        /// The file or data set.
        file: String,
        /// Index of the label.
        index: usize,
        /// Number of classes.
        classes: usize,
        /// The label found.
        found: u8,
    },
    /// A number of classes that labels of one byte cannot have.
    #[error("{name}: {found} classes, expected 2 to 256")]
    Classes {
        /// The data set.
        name: String,
        /// The number given.
        found: usize,
    },
    /// Images and labels that do not belong together.
    #[error(
        "{images_from} has {images} images but {labels_from} has {labels} labels; give the two files of one data set"
    )]
    CountMismatch {
        /// Where the images come from.
        images_from: String,
        /// Number of images.
        images: usize,
        /// Where the labels come from.
        labels_from: String,
        /// Number of labels.
        labels: usize,
    },
    /// Nothing where at least one element is needed.
    #[error("{what} is empty; at least one element is needed in every dimension")]
    Empty {
        /// What is empty.
        what: String,
    },
    /// NaN or infinity.
    #[error(
        "{what}: value {value} at flat index {index} is not finite; remove or repair it before use"
    )]
    NonFinite {
        /// The array.
        what: String,
        /// Index in row-major order.
        index: usize,
        /// The value.
        value: f64,
    },
    /// An array of another shape than needed.
    #[error("{what}: shape {found:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// The shape in words or numbers.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// An element type that is not accepted.
    #[error("{what}: element type {found}, expected {expected}; {advice}")]
    Dtype {
        /// The array or file.
        what: String,
        /// The accepted types.
        expected: &'static str,
        /// The type found.
        found: String,
        /// How to get an accepted one.
        advice: &'static str,
    },
    /// An example index beyond the end.
    #[error("index {index} is out of range for {count} examples")]
    Index {
        /// The index asked for.
        index: usize,
        /// Number of examples.
        count: usize,
    },
    /// A subset of no examples, or of more than there are.
    #[error(
        "{name}: a subset of {requested} examples was asked for, possible are 1 to {available}"
    )]
    Subset {
        /// The data set.
        name: String,
        /// Examples asked for.
        requested: usize,
        /// Examples there are.
        available: usize,
    },
    /// A channel without variation cannot be scaled to unit standard deviation.
    #[error(
        "{data}: channel {channel} is constant (mean {mean}, standard deviation {std}) and cannot be standardised; drop the channel, or look whether these are the images you meant"
    )]
    ConstantChannel {
        /// The data set.
        data: String,
        /// The channel.
        channel: usize,
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        std: f64,
    },
    /// A direction that is not a unit vector.
    #[error("the direction has norm {norm}, expected 1 within {tolerance}; divide it by its norm")]
    NotUnit {
        /// The norm found.
        norm: f64,
        /// The accepted deviation.
        tolerance: f64,
    },
    /// A setting outside its range.
    #[error("setting `{name}` is {found}, expected {expected}")]
    Setting {
        /// The field of the configuration.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// The value given.
        found: f64,
    },
    /// A data set name that is not known.
    #[error("unknown data set {found:?}, expected one of: {known}")]
    UnknownSource {
        /// The name given.
        found: String,
        /// The names there are.
        known: String,
    },
    /// A path that should be a folder and is not.
    #[error(
        "{given_by} is {path:?}, which is not a folder; give the folder that holds the files of {dataset}"
    )]
    NotAFolder {
        /// Who gave the path: the argument or the environment variable.
        given_by: &'static str,
        /// The path.
        path: PathBuf,
        /// The data set looked for.
        dataset: &'static str,
    },
    /// A data set of which no file was found.
    #[error("no files of {dataset} found; looked for {files} in: {}. {advice}", list(.looked))]
    NotFound {
        /// The data set looked for.
        dataset: &'static str,
        /// Its files, by commas.
        files: String,
        /// The folders looked in.
        looked: Vec<PathBuf>,
        /// How to get the files and where to put them.
        advice: &'static str,
    },
    /// A folder that holds some files of a data set but not all.
    #[error("{folder:?} lacks {}; put all files of the data set into this folder", .missing.join(", "))]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// The missing files.
        missing: Vec<String>,
    },
    /// A `.npy` header that does not follow the format.
    #[error("{file}: bad .npy header: {problem}; write the file again with numpy.save")]
    NpyHeader {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// What does not follow the format of its file.
    #[error("{file}: bad {format}: {problem}; {advice}")]
    Format {
        /// The file, with the part of it.
        file: String,
        /// The format in words.
        format: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// No name, or another, where a file holds several arrays.
    #[error("{file}: {asked} of its arrays; give FILE:NAME, of: {names}")]
    ArrayName {
        /// The file.
        file: String,
        /// What was asked for.
        asked: String,
        /// The names there are.
        names: String,
    },
    /// A field of a table that is no finite number.
    #[error("{file}: line {line}, column {column:?}: {found:?} is no finite number; {advice}")]
    Cell {
        /// The file.
        file: String,
        /// The line, or that of the blank lines before it; of Parquet the row; from 1.
        line: u64,
        /// The column.
        column: String,
        /// What stands there.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A column that a table has not, or other columns than those of the training rows.
    #[error("{file}: column {asked} was expected, found: {names}; give a name, or a number from 0")]
    Column {
        /// The file.
        file: String,
        /// What was asked for.
        asked: String,
        /// The columns there are.
        names: String,
    },
    /// No name, where one of several columns has to be the labels.
    #[error(
        "{file}: no name says which of its columns are the labels; give FILE:COLUMN, of: {names}"
    )]
    LabelColumn {
        /// The file.
        file: String,
        /// The columns there are.
        names: String,
    },
    /// Inputs of which a column is that of the labels.
    #[error("{file}: the inputs have the labels among them; give FILE:-{columns} for the inputs")]
    LabelsAmongInputs {
        /// The file.
        file: String,
        /// The columns, by commas.
        columns: String,
    },
    /// A kind of file whose reader was left out when the program was built.
    #[error(
        "{file}: {what} are read by programs that are built with the feature {feature}; build this one with --features {feature}"
    )]
    Feature {
        /// The file.
        file: String,
        /// What such files are.
        what: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A column without variation cannot be scaled to unit standard deviation.
    #[error(
        "{file}: column {column:?} is {value} in every row and cannot be standardised; leave it out, or let it become 0"
    )]
    ConstantColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// Its value.
        value: f64,
    },
    /// An array that memory cannot hold.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[source] Box<candle_core::Error>),
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "nowhere (no path given, ENTK_DATA not set)".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
