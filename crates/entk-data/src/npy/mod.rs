//! numpy's `.npy` files, read with bounds and written atomically; [`arrays`](crate::arrays) reads
//! other formats too, whole or some examples at a time.
//!
//! The header of a foreign file is not trusted: it is parsed by a grammar of its own (general
//! parsers of Python literals recurse as deep as the file tells them to), its length is limited,
//! and the size it declares must be exactly the size of the file before memory is allocated.
//! Pickled objects are refused: reading them would mean running code.

pub(crate) mod array;
pub(crate) mod header;
pub(crate) mod numbers;
mod writer;

use std::{
    io::{BufReader, Read},
    path::Path,
};

pub use array::{Array, Data};
use entk_device::files::{self, operations::InputFile};
use header::Header;
use numbers::read_array;
pub use writer::{Element, write, write_with};

use crate::error::{DataError, Result};

/// Reads a `.npy` file of floats (16, 32 or 64 bits), integers or booleans.
///
/// Both byte orders and both axis orders are read; Fortran order is turned into row-major order,
/// which needs twice the memory for a moment. Values may be NaN or infinite: [`Array::to_images`]
/// and [`Array::check_finite`] refuse them.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, [`DataError::Pipe`] for what has no length,
/// [`DataError::NoMemory`] before more memory is taken than there is, otherwise as [`parse`].
pub fn read(path: impl AsRef<Path>) -> Result<Array> {
    let (file, length, name) = open(path.as_ref())?;
    read_from(BufReader::new(file), length, &name)
}

/// A file, its length, and its name for messages.
pub(crate) fn open(path: &Path) -> Result<(InputFile, u64, String)> {
    let file = files::open(path).map_err(DataError::io("open", path))?;
    if file.is_pipe().map_err(DataError::io("look at", path))? {
        return Err(DataError::Pipe { path: path.to_owned() });
    }
    let length = file.length().map_err(DataError::io("read the size of", path))?;
    Ok((file, length, path.display().to_string()))
}

/// The array in the bytes of a `.npy` file; `file` names them in errors.
///
/// # Errors
/// [`DataError::NpyHeader`] if the header does not follow the format, [`DataError::Dtype`] for
/// element types not listed at [`read`] (for pickled objects with the way out),
/// [`DataError::Empty`] for an axis of length 0, [`DataError::Truncated`] or
/// [`DataError::Oversized`] if the length does not fit the shape.
pub fn parse(bytes: &[u8], file: &str) -> Result<Array> {
    read_from(bytes, bytes.len() as u64, file)
}

fn read_from(mut reader: impl Read, length: u64, file: &str) -> Result<Array> {
    let header = Header::read_whole(&mut reader, length, file)?;
    read_array(&mut reader, header, usize::MAX, file)
}
