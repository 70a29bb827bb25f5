//! What can go wrong while a Gram is assembled, stored or read, with the numbers of each case.

use std::{
    io,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, DeviceLocation};
use entk_device::{
    Precision,
    files::FileError,
    memory::{MemoryError, MemoryLimit, in_gib},
};
use entk_models::ModelError;
use entk_spectral::SpectralError;

use crate::tiles::grid::TileIndex;

/// Everything that can go wrong while a Gram is assembled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GramError {
    /// A layer that is not named by its trained weight.
    #[error(
        "layers: {name:?} is no trained weight; a layer is named by its weight, which brings its bias along: {}",
        first_few(weights)
    )]
    Layer {
        /// The name given.
        name: String,
        /// The trained weights.
        weights: Vec<String>,
    },
    /// A setting that no run can have.
    #[error("{field} is {got}; it must be at least {least}")]
    Setting {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        got: usize,
        /// The smallest value allowed.
        least: usize,
    },
    /// Parameters in an element type that the engine does not compute in.
    #[error("parameters are {0:?}; convert them with `to_dtype` to F32 or F64")]
    DType(DType),
    /// A matrix larger than the address space.
    #[error(
        "a {rows} x {cols} matrix does not fit this machine's address space; use fewer examples"
    )]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// Memory that the system refused.
    #[error("the system refused {} of memory; use fewer examples or a store on disk", in_gib(*bytes as u64))]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// A plan over the limit.
    #[error("{}", too_much(*needed, limit, buffers, advice))]
    TooMuchMemory {
        /// Bytes that the run needs.
        needed: u64,
        /// What there is.
        limit: MemoryLimit,
        /// What needs them, line by line.
        buffers: String,
        /// What would fit.
        advice: Vec<String>,
    },
    /// Memory that cannot hold what one tile and one layer need.
    #[error(
        "one tile of this kernel needs {}, and {} may be used; use fewer examples, smaller tiles or a smaller micro-batch",
        in_gib(*needed), in_gib(*limit)
    )]
    Memory {
        /// Bytes for a single tile, the largest layer and its smallest part.
        needed: u64,
        /// Bytes there are.
        limit: u64,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// A folder with files of another kind, or a store that is not finished.
    #[error(
        "{}: no {missing}; it is not a finished store of a Gram. Finish the run first, or choose another folder",
        folder.display()
    )]
    NotAStore {
        /// The folder.
        folder: PathBuf,
        /// The file it lacks.
        missing: &'static str,
    },
    /// A disk that is too full to begin.
    #[error(
        "{}: this needs {}, and {} are free of which 95 % may be used; make room or choose another folder",
        folder.display(), in_gib(*needed), in_gib(*free)
    )]
    DiskSpace {
        /// The folder.
        folder: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// A store that another run made.
    #[error(
        "{} holds another run and is left as it is; choose another folder. It differs in (found -> asked for):\n  {}",
        folder.display(), differences.join("\n  ")
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// Field by field.
        differences: Vec<String>,
    },
    /// A store cannot be finished yet.
    #[error(
        "{}: {missing} of {tiles} tiles are missing or damaged, the first in row {} and column {} of tiles; run the commands of all parts again, which compute only what is missing",
        folder.display(), first.0, first.1
    )]
    MissingTiles {
        /// The store.
        folder: PathBuf,
        /// Tiles to compute.
        missing: usize,
        /// Tiles in all.
        tiles: usize,
        /// The first of them.
        first: TileIndex,
    },
    /// A file of a store that is not what was written.
    #[error("{}: {reason}; run the same command again to compute it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// Products of inputs in other tiles than the store's.
    #[error("tiles of {got}: the products of inputs have tiles of {expected}; take the same edge")]
    Edge {
        /// Edge of the tiles of the products of inputs.
        expected: usize,
        /// Edge of the tiles of the store.
        got: usize,
    },
    /// Given products of inputs that cannot serve this kernel.
    #[error("products of inputs {reason}; assemble without them")]
    InputGram {
        /// What they serve and what not.
        reason: &'static str,
    },
    /// Products in a precision that does not go with the parameters.
    #[error(
        "products in {precision} of parameters in {params:?}: f64 goes with f64, all others with f32"
    )]
    Precision {
        /// That of the products.
        precision: Precision,
        /// That of the parameters.
        params: DType,
    },
    /// The CPU's engine for parameters on another device.
    #[error("Engine::Cpu computes with parameters on the CPU; move them there or use Engine::Auto")]
    NotOnCpu,
    /// A part that does not exist.
    #[error("part {found}: expected INDEX/COUNT with 1 <= INDEX <= COUNT, such as 2/4")]
    Part {
        /// What was given.
        found: String,
    },
    /// A kernel entry that is no number.
    #[error(
        "the kernel between examples {row} and {col} is {value}, of finite inputs and weights: beyond the range of the parameters' type (take f64 in place of f32, or scale inputs or weights down), or a derivative is infinite there: the root of zero, as of a norm or a deviation of a constant row (add a small constant under the root)"
    )]
    NonFinite {
        /// Row of the entry.
        row: usize,
        /// Its column.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// The file system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The model, its parameters or the inputs are at fault.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device refused something.
    #[error(transparent)]
    Device(#[from] entk_device::DeviceError),
    /// A device that failed while a tile was computed or copied; the first failure that the host
    /// saw, since devices work ahead of it.
    #[error(
        "{device} failed at tile ({}, {}): {source}. Finished tiles of a store are kept, and the same command goes on with the others{}",
        tile.0, tile.1, remedy(source)
    )]
    Failed {
        /// The device.
        device: String,
        /// The tile, or the first of those whose operands were made.
        tile: TileIndex,
        /// What it said.
        source: Box<GramError>,
    },
    /// An entry that round-off does not explain.
    #[error(
        "entry ({}, {}) of the kernel, computed on {device}, is off by {error:.1e} of sqrt(K_ii K_jj); round-off explains {allowed:.1e}. Compute it again, and test the device where that helps",
        at[0], at[1]
    )]
    WrongEntry {
        /// The device.
        device: String,
        /// Row and column.
        at: [usize; 2],
        /// Its error.
        error: f64,
        /// The largest that is taken for round-off.
        allowed: f64,
    },
    /// The assembled matrix is no Gram.
    #[error(transparent)]
    Matrix(SpectralError),
}

/// Weights and inputs were checked before: entries that are not finite have overflowed.
impl From<SpectralError> for GramError {
    fn from(error: SpectralError) -> Self {
        match error {
            SpectralError::NonFiniteEntry { row, col, value } => {
                Self::NonFinite { row, col, value }
            }
            other => Self::Matrix(other),
        }
    }
}

impl GramError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Names the tile that a device was at, where the error is the device's.
    pub(crate) fn at_tile(self, device: &Device, tile: TileIndex) -> Self {
        match self {
            Self::Device(_) | Self::Model(ModelError::Tensor(_)) => {
                Self::Failed { device: name_of(device), tile, source: Box::new(self) }
            }
            other => other,
        }
    }

    pub(crate) fn json(path: &Path, error: serde_json::Error) -> Self {
        Self::Damaged { path: path.to_owned(), reason: error.to_string() }
    }
}

impl From<FileError> for GramError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

impl From<MemoryError> for GramError {
    fn from(MemoryError { what, needed, held, limit, remedy }: MemoryError) -> Self {
        let buffers = format!("  in use {}\n  {what} {}\n", in_gib(held), in_gib(needed));
        let needed = needed.saturating_add(held);
        Self::TooMuchMemory { needed, limit, buffers, advice: vec![remedy.to_owned()] }
    }
}

impl From<candle_core::Error> for GramError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, GramError>;

/// What an operator tells a solver of an error.
pub(crate) fn operator_error(error: &GramError) -> SpectralError {
    SpectralError::Operator { reason: error.to_string() }
}

/// The first names of a list, and how many more there are.
fn first_few(names: &[String]) -> String {
    const FEW: usize = 6;
    let more = names.len().saturating_sub(FEW);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown}, and {more} more") }
}

/// A device as flags name it.
pub(crate) fn name_of(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// What helps where a device is out of memory.
fn remedy(source: &GramError) -> &'static str {
    match source.to_string().contains("OUT_OF_MEMORY") {
        true => "; its memory is full: end other programs there, or use a smaller micro-batch",
        false => "",
    }
}

fn too_much(needed: u64, limit: &MemoryLimit, buffers: &str, advice: &[String]) -> String {
    let (needed, allowed) = (in_gib(needed), in_gib(limit.bytes));
    let help: String = advice.iter().map(|line| format!("help: {line}\n")).collect();
    format!("this run needs {needed}; {allowed} may be used ({})\n{buffers}{help}", limit.source)
}
