//! Arrays as `.npy` files: shapes and values come in, whole or some at a time, files go out under
//! their name when they are complete. Programs write their results so.

use std::{io::Write, path::Path};

use entk_device::files::{self, FileError};

use crate::{
    error::{DataError, Result},
    npy::{header, numbers::ITEMS_AT_A_TIME},
};

/// Most axes of an array, numpy's limit.
const MAX_AXES: usize = 32;

/// Element types that [`write()`] accepts: f32, f64, i64 and u8.
pub trait Element: Copy + sealed::Sealed {
    /// numpy's name of the type, little-endian.
    #[doc(hidden)]
    const DESCR: &'static str;
    /// Appends the little-endian bytes.
    #[doc(hidden)]
    fn append(self, bytes: &mut Vec<u8>);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($type:ty: $descr:literal),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

element!(f32: "<f4", f64: "<f8", i64: "<i8", u8: "|u1");

/// Writes values in row-major order of `shape` as a `.npy` file (version 1.0), replacing one that
/// is there.
///
/// Atomic: the bytes go to a temporary file in the same folder, are flushed to the disk, and the
/// file is then renamed, so that a reader sees the old file or the whole new one. NaN and infinity
/// are written as they are.
///
/// # Errors
/// [`DataError::Shape`] if the number of values is not the product of `shape`, or with more than 32
/// axes (numpy's limit); [`DataError::Empty`] without a value;
/// [`DataError::Io`] with the path if the folder is missing or not writable or the disk is full.
pub fn write<T: Element>(path: impl AsRef<Path>, shape: &[usize], values: &[T]) -> Result<()> {
    if values.is_empty() {
        let path = path.as_ref().display();
        return Err(DataError::Empty { what: format!("array for {path}") });
    }
    check_count(path.as_ref(), shape, values.len())?;
    write_with(path, shape, |out| out(values))
}

/// As [`write()`], of values that `fill` passes some at a time, for arrays that are not in memory
/// at once.
///
/// # Errors
/// Those of [`write()`] and of `fill`.
pub fn write_with<T: Element, E: From<DataError> + From<FileError>>(
    path: impl AsRef<Path>,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn FnMut(&[T]) -> Result<()>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let path = path.as_ref();
    files::write_with(path, |out| {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(DataError::io("write", path));
        write(&header::bytes(T::DESCR, shape))?;
        let (mut bytes, mut count) = (Vec::new(), 0);
        fill(&mut |values| {
            count += values.len();
            for block in values.chunks(ITEMS_AT_A_TIME) {
                bytes.clear();
                block.iter().for_each(|value| value.append(&mut bytes));
                write(&bytes)?;
            }
            Ok(())
        })?;
        Ok(check_count(path, shape, count)?)
    })
}

/// Refuses a shape that so many values do not have.
fn check_count(path: &Path, shape: &[usize], count: usize) -> Result<()> {
    let product = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if product == Some(count) && shape.len() <= MAX_AXES {
        return Ok(());
    }
    Err(DataError::Shape {
        what: format!("array for {}", path.display()),
        expected: format!("at most {MAX_AXES} axes and a product of {count}, the number of values"),
        found: shape.to_vec(),
    })
}
