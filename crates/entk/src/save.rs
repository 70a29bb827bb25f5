//! Results as files: kernels as `.npy`, eigenpairs as safetensors, histories as JSON.
//!
//! A result and a path come in, a file that is whole or absent goes out, and the other way round.
//! Users call it from the prelude; files are read with the distrust of entk-data.

use std::{collections::HashMap, fmt::Display, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    data::npy,
    device::{
        files::{self, FileError},
        memory::ensure,
    },
    error::{Error, Result},
    spectral::{CrossGram, Eigenpairs, Entries, EntryType, Gram},
    train::History,
};

/// The key under which a file of eigenpairs says in which type its kernel was stored.
const ENTRIES: &str = "entries";

/// A result that is kept as a file.
///
/// | result | file | what it holds |
/// | --- | --- | --- |
/// | [`Gram`] | `.npy` | N x N in its own type, f32 or f64; both triangles |
/// | [`CrossGram`] | `.npy` | M x N in its own type |
/// | [`Eigenpairs`] | safetensors | `values` (K) and `vectors` (K, N), f64 |
/// | [`History`] | JSON | one record an epoch, every number to its last bit |
///
/// What is loaded equals what was saved, bit for bit; the metadata `entries` of eigenpairs is the
/// type of their kernel, and of certified pairs the field `pairs` is what is kept. numpy reads the
/// first two with `np.load`, the third with `safetensors.numpy.load_file`. For a plan see
/// [`Plan`](crate::gram::plan::Plan), which serialises, for parameters
/// [`Params::save`](crate::models::Params::save), for kernels beyond memory
/// [`Store`](crate::gram::Store).
///
/// ```
/// use entk::prelude::*;
///
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("gram.npy");
/// let kernel = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 3.0])?;
/// kernel.save(&path)?;
/// assert_eq!(Gram::load(&path)?, kernel);
/// # Ok::<(), Error>(())
/// ```
pub trait Save: Sized {
    /// Writes the file, replacing one that is there: the old one or the whole new one is seen,
    /// never a part.
    ///
    /// # Errors
    /// Those of the file system with the path, and memory that there is not; of a history one whose
    /// numbers are not all finite, which JSON has no words for.
    fn save(&self, path: impl AsRef<Path>) -> Result<()>;

    /// Reads a file, whoever wrote it.
    ///
    /// # Errors
    /// Those of the file system; [`Error::Contents`] with the path for a file of another kind or
    /// shape; and what the constructors refuse: NaN, a matrix that is not symmetric, eigenvalues
    /// out of order, vectors that are not of norm 1.
    fn load(path: impl AsRef<Path>) -> Result<Self>;
}

impl Save for Gram {
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_matrix(path.as_ref(), [self.n(), self.n()], self.entries())
    }

    fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ([rows, cols], data) = read_matrix(path)?;
        if rows != cols {
            let reason = format!("a Gram has as many rows as columns, this has {rows} and {cols}");
            return Err(refused(path, reason));
        }
        let gram = match data {
            npy::Data::F32(entries) => Self::from_symmetric_f32(rows, entries),
            npy::Data::F64(entries) => Self::from_symmetric_f64(rows, entries),
            _ => return Err(no_reals(path)),
        };
        gram.map_err(|error| refused(path, error))
    }
}

impl Save for CrossGram {
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_matrix(path.as_ref(), [self.rows(), self.cols()], self.entries())
    }

    fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ([rows, cols], data) = read_matrix(path)?;
        let cross = match data {
            npy::Data::F32(entries) => Self::from_f32(rows, cols, entries),
            npy::Data::F64(entries) => Self::from_f64(rows, cols, entries),
            _ => return Err(no_reals(path)),
        };
        cross.map_err(|error| refused(path, error))
    }
}

impl Save for Eigenpairs {
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (path, count, dim) = (path.as_ref(), self.len(), self.dim());
        ensure_bytes(path, 8 * (self.vectors().len() + count) as u64)?;
        let (values, vectors) = (to_bytes(self.values()), to_bytes(self.vectors()));
        let view = |shape, bytes| TensorView::new(Dtype::F64, shape, bytes);
        let views = view(vec![count], values.as_slice())
            .and_then(|values| Ok((values, view(vec![count, dim], vectors.as_slice())?)));
        let note = HashMap::from([(ENTRIES.to_owned(), self.entry_type().name().to_owned())]);
        let bytes = views.and_then(|(values, vectors)| {
            safetensors::serialize([("values", values), ("vectors", vectors)], Some(note))
        });
        Ok(files::write(path, &bytes.map_err(|error| refused(path, error))?)?)
    }

    fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_bytes(path)?;
        let file = |error| refused(path, format!("no whole safetensors file: {error}"));
        let tensors = SafeTensors::deserialize(&bytes).map_err(file)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(file)?;
        let note = header.metadata().as_ref().and_then(|notes| notes.get(ENTRIES));
        let entry_type = note.and_then(|name| entry_type(name)).ok_or_else(|| {
            refused(path, "its metadata `entries` says neither f32 nor f64, the kernel's type")
        })?;
        let (values, _) = reals(path, &tensors, "values", 1)?;
        let (vectors, shape) = reals(path, &tensors, "vectors", 2)?;
        Self::from_parts(values, vectors, shape[1], entry_type)
            .map_err(|error| refused(path, error))
    }
}

impl Save for History {
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| refused(path, error))?;
        let is_same = serde_json::from_slice(&bytes).is_ok_and(|read: Self| read == *self);
        if !is_same {
            return Err(refused(path, "a number of the history is NaN or infinite"));
        }
        Ok(files::write(path, &bytes)?)
    }

    fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        serde_json::from_slice(&read_bytes(path)?).map_err(|error| refused(path, error))
    }
}

fn write_matrix(path: &Path, shape: [usize; 2], entries: Entries<'_>) -> Result<()> {
    Ok(match entries {
        Entries::F32(values) => npy::write(path, &shape, values),
        Entries::F64(values) => npy::write(path, &shape, values),
    }?)
}

fn read_matrix(path: &Path) -> Result<([usize; 2], npy::Data)> {
    let (shape, data) = npy::read(path)?.into_parts();
    match shape[..] {
        [rows, cols] => Ok(([rows, cols], data)),
        _ => Err(refused(path, format!("a matrix has two axes, this array is {shape:?}"))),
    }
}

/// The numbers of a tensor of f64 with so many axes, and its shape.
fn reals(
    path: &Path,
    tensors: &SafeTensors<'_>,
    name: &str,
    axes: usize,
) -> Result<(Vec<f64>, Vec<usize>)> {
    let tensor = tensors.tensor(name).map_err(|error| refused(path, error))?;
    let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
    if dtype != Dtype::F64 || shape.len() != axes {
        let reason = format!("`{name}` has to be F64 with {axes} axes, it is {dtype:?} {shape:?}");
        return Err(refused(path, reason));
    }
    let (numbers, _) = tensor.data().as_chunks();
    Ok((numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(), shape))
}

/// The bytes of a file that memory can hold twice, as bytes and as numbers.
fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let file = files::open(path).map_err(FileError::new("open", path))?;
    ensure_bytes(path, file.length().map_err(FileError::new("measure", path))?)?;
    Ok(files::read(path).map_err(FileError::new("read", path))?)
}

fn ensure_bytes(path: &Path, bytes: u64) -> Result<()> {
    let what = format!("the file {}", path.display());
    Ok(ensure(&what, bytes.saturating_mul(2), None, "keep fewer eigenpairs (`truncate`)")?)
}

fn to_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn entry_type(name: &str) -> Option<EntryType> {
    [EntryType::F32, EntryType::F64].into_iter().find(|entries| entries.name() == name)
}

fn no_reals(path: &Path) -> Error {
    refused(path, "its entries are whole numbers; convert to f32 or f64 (numpy's `astype`)")
}

fn refused(path: &Path, reason: impl Display) -> Error {
    Error::Contents { path: path.to_owned(), reason: reason.to_string() }
}
