//! Kernels of a user's own, as arrays of any format: a path comes in, a [`Gram`] or a [`CrossGram`]
//! goes out, with a message that names the file where it is none. Called by the commands that take
//! `--gram`.

use std::path::Path;

use anyhow::{Context, Error, Result};
use entk::{
    data::{arrays, npy::Data},
    gram::Store,
    spectral::{CrossGram, Gram},
};

use crate::cli::refused::{ensure_input, refused};

/// The kernel of a sample with itself. Entries of f16 and bf16 become f32, which has all of them.
///
/// # Errors
/// A file that cannot be read or whose entries are no reals, and what is not square or not
/// symmetric within round-off.
pub fn read_gram(path: &Path) -> Result<Gram> {
    let (shape, data) = arrays::read(path)?.into_parts();
    ensure_square(path, &shape)?;
    let gram = match data {
        Data::F32(entries) => Gram::from_symmetric_f32(shape[0], entries),
        Data::F64(entries) => Gram::from_symmetric_f64(shape[0], entries),
        _ => return Err(not_real(path)),
    };
    gram.with_context(|| path.display().to_string())
}

/// The finished store in a folder.
///
/// # Errors
/// As [`Store::open`], with the folder inside this one that is a store, where there is one.
pub fn open_store(path: &Path) -> Result<Store> {
    let inside = path.join("gram.zarr");
    ensure_input(path.join("run.json").exists() || !inside.is_dir(), || {
        format!("{}: a folder of results, and no store; give {}", path.display(), inside.display())
    })?;
    Ok(Store::open(path)?)
}

/// The kernel between test inputs, in rows, and training inputs, in columns.
///
/// # Errors
/// As [`read_gram`], of a matrix of any two sides.
pub fn read_cross_gram(path: &Path) -> Result<CrossGram> {
    let (shape, data) = arrays::read(path)?.into_parts();
    let [rows, cols] = shape[..] else {
        return Err(refused(format!(
            "{}: expected test inputs (rows) by training inputs (columns), found shape {shape:?}",
            path.display()
        )));
    };
    Ok(match data {
        Data::F32(entries) => CrossGram::from_f32(rows, cols, entries)?,
        Data::F64(entries) => CrossGram::from_f64(rows, cols, entries)?,
        _ => return Err(not_real(path)),
    })
}

/// Refuses the shape of a file that is to be the kernel of a sample with itself.
///
/// # Errors
/// Other axes than two of one length.
pub fn ensure_square(path: &Path, shape: &[usize]) -> Result<()> {
    ensure_input(matches!(shape, [rows, cols] if rows == cols), || {
        format!("{}: expected a square matrix, found shape {shape:?}", path.display())
    })
}

fn not_real(path: &Path) -> Error {
    refused(format!("{}: expected f32 or f64 entries; convert with astype", path.display()))
}
