//! Everything that can go wrong between an archive and a network.

use std::path::{Path, PathBuf};

use entk_device::files::FileError;
use entk_models::ModelError;

/// Everything that can go wrong between an archive of `torch.export.save` and a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// A file that the system refused to read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// A file that is no archive.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// An entry of the archive that cannot be read.
    #[error("entry {entry} {reason}")]
    Entry {
        /// Its name in the archive.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program of a schema that is not read.
    #[error(
        "the program has schema {major}.{minor} (torch {torch}), and 8.14 and later minor numbers \
         are read: save it again with torch 2.9 or later"
    )]
    Schema {
        /// The major number found.
        major: u64,
        /// The minor number found.
        minor: u64,
        /// The version of torch that wrote it.
        torch: String,
    },
    /// A stored tensor that is damaged or of a kind that is not read.
    #[error("tensor {name} {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A program that is no function of one input with a vector for each example.
    #[error("{what}; {instead}")]
    Program {
        /// What it is.
        what: String,
        /// What to write in its place.
        instead: String,
    },
    /// An operation that has no rule.
    #[error("{operation} ({place}) has no rule here; {instead}")]
    Unsupported {
        /// Its name, as `aten.fft_fft.default`.
        operation: String,
        /// Where the module calls it.
        place: String,
        /// What to write in its place.
        instead: String,
    },
    /// An argument that its operation cannot take here.
    #[error("{operation} ({place}): {reason}")]
    Call {
        /// The operation.
        operation: String,
        /// Where the module calls it.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An operation that the graph refuses.
    #[error("{operation} ({place}): {source}")]
    Graph {
        /// The operation.
        operation: String,
        /// Where the module calls it.
        place: String,
        /// What the graph said.
        source: Box<ModelError>,
    },
    /// Examples of a batch that interact.
    #[error(
        "the output of an example depends on the other examples of its batch: example {example}, \
         output {output} is {alone} alone and {among} among others; a kernel needs a function of \
         one example (batch statistics? a mean over axis 0?)"
    )]
    Interact {
        /// Which example.
        example: usize,
        /// Which output.
        output: usize,
        /// Its value alone.
        alone: f64,
        /// Its value in a batch.
        among: f64,
    },
    /// Numbers that differ from those of PyTorch.
    #[error(
        "{what} of example {example}: {got} here and {expected} in the file, a difference of more \
         than {tolerance:.0e} of the largest; {place}"
    )]
    Differs {
        /// Outputs, or the Jacobian-vector product.
        what: &'static str,
        /// The first example that differs.
        example: usize,
        /// The value here.
        got: f64,
        /// The value in the file.
        expected: f64,
        /// The largest difference allowed, relative to the largest value.
        tolerance: f64,
        /// The first operation that differs, where intermediate values are given.
        place: String,
    },
    /// What the network library refuses.
    #[error(transparent)]
    Model(Box<ModelError>),
}

impl From<ModelError> for TorchError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl TorchError {
    pub(crate) fn file(path: &Path, reason: String) -> Self {
        Self::File { path: path.to_path_buf(), reason }
    }
}

impl From<candle_core::Error> for TorchError {
    fn from(error: candle_core::Error) -> Self {
        ModelError::from(error).into()
    }
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, TorchError>;
