//! Arrays of any format that numpy and PyTorch write: a path comes in, an [`Array`] goes out,
//! whole, in part, or [some examples at a time](ArrayRows). Programs read inputs and labels so.
//!
//! | file | array | name |
//! |---|---|---|
//! | `.npy` | `numpy.save` | none |
//! | `.npz` | `numpy.savez`, `numpy.savez_compressed` | as saved |
//! | `.safetensors` | `safetensors.torch.save_file` | as saved |
//! | `.pt`, `.pth` | `torch.save` of tensors in dictionaries or alone | keys, dots between |
//!
//! A file of several arrays is given with a name, `FILE:NAME`; a single one needs none. The
//! contents say which format a file has. f16 and bf16 are widened to f32.
//!
//! ```
//! use entk_data::{arrays, npy};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("x.npy");
//! npy::write(&path, &[4, 2], &[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])?;
//! assert_eq!(arrays::describe(&path)?.shape, [4, 2]);
//! assert_eq!(arrays::read_leading(&path, 1)?.to_f64(), [0.0, 1.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
pub(crate) mod choice;
mod located;
mod npz;
mod pickle;
mod pytorch;
mod rows;
mod safetensors;

use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use archive::Archive;
use entk_device::files::operations::InputFile;
use located::Located;
pub use rows::ArrayRows;

use crate::{
    arrays::choice::{refuse_name, split},
    error::{DataError, Result},
    npy::{
        array::Array,
        header::{Header, Kind},
        open,
    },
};

/// How a zip archive begins, and an empty one.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// How a file that PyTorch saved before version 1.6 begins.
const OLD_PICKLE: &[u8] = b"\x80\x02";

/// What a file says of its array before a number is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArrayHeader {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Whether the numbers are integers or booleans.
    pub is_whole: bool,
    /// Memory of the array once it is read.
    pub bytes: u64,
}

/// Reads an array: `FILE`, or `FILE:NAME` where the file holds several.
///
/// Byte order, axis order and compression are those of the file; values come in row-major order and
/// may be NaN or infinite ([`Array::check_finite`]). Checksums of archives are verified. Memory:
/// the array, twice for a moment where its axes are in Fortran order.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, [`DataError::Pipe`] for what has no length,
/// [`DataError::ArrayName`] without the name of one of several arrays or with another,
/// [`DataError::NpyHeader`] and [`DataError::Format`] for what does not follow its format,
/// [`DataError::Dtype`] for element types that are not floats of 16 to 64 bits, integers or
/// booleans, [`DataError::Empty`] for an axis of length 0, [`DataError::Truncated`] and
/// [`DataError::Oversized`] where shape and file differ, and [`DataError::NoMemory`] before more
/// memory is taken than there is.
pub fn read(path: impl AsRef<Path>) -> Result<Array> {
    locate(path.as_ref())?.read(usize::MAX)
}

/// The first `most` entries along the first axis, or all if there are fewer. Only these are read
/// and take memory, but for an array in Fortran order, whose first entries lie everywhere.
///
/// # Errors
/// As [`read`].
pub fn read_leading(path: impl AsRef<Path>, most: usize) -> Result<Array> {
    locate(path.as_ref())?.read(most)
}

/// Shape and kind of an array, checked against the length of its file; no number is read.
///
/// # Errors
/// As [`read`], but for those of its numbers.
pub fn describe(path: impl AsRef<Path>) -> Result<ArrayHeader> {
    let header = locate(path.as_ref())?.header;
    let bytes = (header.count as u64).saturating_mul(header.wide_item());
    let is_whole = !matches!(header.number.kind, Kind::Float | Kind::Bfloat);
    Ok(ArrayHeader { shape: header.shape, is_whole, bytes })
}

/// The array that a path names, as far as it is known before its numbers are read.
fn locate(path: &Path) -> Result<Located> {
    let (path, wanted) = split(path);
    let (mut file, length, name) = open(path)?;
    let head = head(&mut file).map_err(DataError::io("read", path))?;
    if ZIP.iter().any(|zip| head.starts_with(zip)) {
        let archive = Archive::open(file, length, &name)?;
        return if pytorch::is_one(&archive) {
            pytorch::locate(archive, wanted)
        } else {
            npz::locate(archive, wanted)
        };
    }
    if head.starts_with(OLD_PICKLE) {
        return Err(DataError::Format {
            file: name,
            format: "file of PyTorch",
            problem: "is of a PyTorch before 1.6, or a pickle of Python".to_owned(),
            advice: "load it there and save the array with numpy.save",
        });
    }
    let is_json = head.get(8) == Some(&b'{');
    if is_json || path.extension().is_some_and(|extension| extension == "safetensors") {
        return safetensors::locate(file, length, name, wanted);
    }
    refuse_name(&name, wanted)?;
    let header = Header::read_whole(&mut file, length, &name)?;
    Ok(Located::in_file(file, header.length, header, name))
}

/// The first nine bytes, or what there is; the file stands at its start again.
fn head(file: &mut InputFile) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.by_ref().take(9).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}
