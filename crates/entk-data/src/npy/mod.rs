//! numpy's `.npy` files, read with bounds and written atomically.
//!
//! The header of a foreign file is not trusted: it is parsed by a grammar of its own (general
//! parsers of Python literals recurse as deep as the file tells them to), its length is limited,
//! and the size it declares must be exactly the size of the file before memory is allocated.
//! Pickled objects are refused: reading them would mean running code.

mod header;
mod partial;
mod rows;
mod writer;

use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use candle_core::{Device, Tensor};
use entk_device::{
    files::{self, operations::InputFile},
    memory::ensure,
};
use header::{Header, Kind};
pub use partial::{ArrayHeader, describe, read_leading};
pub use rows::NpyRows;
pub use writer::{Element, write, write_with};

use crate::{
    dataset::check_labels,
    error::{DataError, Result},
    images::{Images, Layout},
};

/// The values of an [`Array`] in row-major (C) order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// From `float32`.
    F32(Vec<f32>),
    /// From `float64`.
    F64(Vec<f64>),
    /// From `bool` and integers of 8 to 64 bits, signed and unsigned.
    I64(Vec<i64>),
}

/// An array read from a `.npy` file: a shape without zeros, and values in row-major order whatever
/// the order in the file.
///
/// ```
/// use entk_data::npy;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("gram.npy");
/// npy::write(&path, &[2, 2], &[1.0_f64, 0.5, 0.5, 1.0])?;
/// let gram = npy::read(&path)?;
/// assert_eq!(gram.shape(), [2, 2]);
/// assert_eq!(gram.to_f64(), [1.0, 0.5, 0.5, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    file: String,
    shape: Vec<usize>,
    data: Data,
}

/// Reads a `.npy` file of floats (32 or 64 bits), integers or booleans.
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
    read_from(BufReader::new(file), length, &name, usize::MAX)
}

/// A file, its length, and its name for messages.
fn open(path: &Path) -> Result<(InputFile, u64, String)> {
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
    read_from(bytes, bytes.len() as u64, file, usize::MAX)
}

/// The entries of the first axis, or the first `most` of them.
fn read_from(mut reader: impl Read, length: u64, file: &str, most: usize) -> Result<Array> {
    let header = Header::read_whole(&mut reader, length, file)?;
    let header = if header.fortran { header } else { header.leading(most) };
    let data = read_data(&mut reader, &header, file)?;
    let data = if header.fortran { data.to_row_major(&header.shape) } else { data };
    Ok(Array { file: file.to_owned(), shape: header.shape, data })
}

fn read_data(reader: &mut impl Read, header: &Header, file: &str) -> Result<Data> {
    let copies = if header.fortran { 2 } else { 1 };
    let bytes = (header.count as u64).saturating_mul(header.wide_item() * copies);
    ensure(&format!("the array {file}"), bytes, None, "use fewer examples")?;
    let low4 = |b: [u8; 8]| [b[0], b[1], b[2], b[3]];
    let data = match (header.kind, header.item) {
        (Kind::Float, 4) => {
            read_items(reader, header, |b| f32::from_le_bytes(low4(b))).map(Data::F32)
        }
        (Kind::Float, _) => read_items(reader, header, f64::from_le_bytes).map(Data::F64),
        // As numpy, which says True for any byte but zero.
        (Kind::Bool, _) => read_items(reader, header, |b| i64::from(b[0] != 0)).map(Data::I64),
        (Kind::Unsigned, _) => read_items(reader, header, i64::from_le_bytes).map(Data::I64),
        (Kind::Signed, item) => {
            // Shift the sign bit of the short integer to the top and back, so that it is extended.
            let shift = 64 - 8 * item as u32;
            read_items(reader, header, |b| (i64::from_le_bytes(b) << shift) >> shift).map(Data::I64)
        }
    };
    let data = data.map_err(DataError::io("read", file))?;
    match &data {
        Data::I64(values)
            if header.kind == Kind::Unsigned && values.iter().any(|&value| value < 0) =>
        {
            Err(DataError::Dtype {
                what: file.to_owned(),
                expected: "integers below 2^63",
                found: "uint64 above it".to_owned(),
                advice: "convert in numpy to int64 or float64",
            })
        }
        _ => Ok(data),
    }
}

/// Reads the items, each widened with zeros to eight little-endian bytes for `convert`.
fn read_items<T>(
    reader: &mut impl Read,
    header: &Header,
    convert: impl Fn([u8; 8]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(header.count)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut buffer = vec![0; header.item * ITEMS_AT_A_TIME];
    while values.len() < header.count {
        let items = ITEMS_AT_A_TIME.min(header.count - values.len());
        let bytes = &mut buffer[..items * header.item];
        reader.read_exact(bytes)?;
        values.extend(bytes.chunks_exact_mut(header.item).map(|item| {
            if header.big_endian {
                item.reverse();
            }
            let mut wide = [0; 8];
            wide[..item.len()].copy_from_slice(item);
            convert(wide)
        }));
    }
    Ok(values)
}

const ITEMS_AT_A_TIME: usize = 8192;

impl Data {
    /// These values, taken from column-major order of `shape`.
    fn to_row_major(&self, shape: &[usize]) -> Self {
        match self {
            Self::F32(values) => Self::F32(row_major(values, shape)),
            Self::F64(values) => Self::F64(row_major(values, shape)),
            Self::I64(values) => Self::I64(row_major(values, shape)),
        }
    }
}

fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    // Stride of each axis in the column-major file.
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &size| {
            let own = *stride;
            *stride *= size;
            Some(own)
        })
        .collect();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    while out.len() < values.len() {
        out.push(values[at]);
        // Count up, the last axis fastest, and keep `at` in step.
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

impl Array {
    /// Length of each axis; empty for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in row-major order.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Shape and values, without a copy.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// The values as f64, in row-major order. Integers above 2^53 are rounded.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(values) => values.iter().copied().map(f64::from).collect(),
            Data::F64(values) => values.clone(),
            Data::I64(values) => values.iter().map(|&value| value as f64).collect(),
        }
    }

    /// Refuses NaN and infinity.
    ///
    /// # Errors
    /// [`DataError::NonFinite`] at the first of them.
    pub fn check_finite(&self) -> Result<()> {
        let found = match &self.data {
            Data::F32(values) => {
                values.iter().map(|&x| f64::from(x)).enumerate().find(|(_, x)| !x.is_finite())
            }
            Data::F64(values) => values.iter().copied().enumerate().find(|(_, x)| !x.is_finite()),
            Data::I64(_) => None,
        };
        match found {
            None => Ok(()),
            Some((index, value)) => {
                Err(DataError::NonFinite { what: self.file.clone(), index, value })
            }
        }
    }

    /// A tensor on the CPU with the same shape, element type (f32, f64 or i64) and values.
    ///
    /// # Errors
    /// [`DataError::Tensor`] if candle refuses the shape.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let shape = self.shape.as_slice();
        Ok(match &self.data {
            Data::F32(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Data::F64(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Data::I64(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
        })
    }

    /// Images from four axes in the order of `layout`. Values are rounded to f32 but not scaled:
    /// bytes stay 0 to 255.
    ///
    /// # Errors
    /// [`DataError::Shape`] if there are not four axes, [`DataError::NonFinite`] for NaN, infinity,
    /// and values beyond f32.
    pub fn to_images(&self, layout: Layout) -> Result<Images> {
        if self.shape.len() != 4 {
            return Err(DataError::Shape {
                what: self.file.clone(),
                expected: "four axes, images by channels, rows and columns".to_owned(),
                found: self.shape.clone(),
            });
        }
        self.check_finite()?;
        Images::with_layout(&self.to_tensor()?.to_dtype(candle_core::DType::F32)?, layout)
    }

    /// Labels from one axis of whole numbers (of any element type), each below `classes`.
    ///
    /// # Errors
    /// [`DataError::Shape`] if there is not one axis, [`DataError::Dtype`] at a value that is not a
    /// whole number from 0 to 255, [`DataError::Label`] at a label that is not below `classes`.
    pub fn to_labels(&self, classes: usize) -> Result<Vec<u8>> {
        if self.shape.len() != 1 {
            let expected = "one axis of labels".to_owned();
            return Err(DataError::Shape {
                what: self.file.clone(),
                expected,
                found: self.shape.clone(),
            });
        }
        let values = self.to_f64();
        let is_label = |value: &f64| value.fract() == 0.0 && (0.0..=255.0).contains(value);
        if let Some(index) = values.iter().position(|value| !is_label(value)) {
            return Err(DataError::Dtype {
                what: format!("{} at index {index}", self.file),
                expected: "a whole number from 0 to 255",
                found: values[index].to_string(),
                advice: "number the classes from 0",
            });
        }
        let labels: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        check_labels(&labels, classes, &self.file)?;
        Ok(labels)
    }
}
