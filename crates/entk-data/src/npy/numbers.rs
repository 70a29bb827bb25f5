//! The numbers of an array, of any element type and order: a reader that stands at the first of
//! them and a checked header come in, an array goes out. Called by the readers of all formats.

use std::io::{self, Read};

use entk_device::memory::ensure;
use half::{bf16, f16};

use crate::{
    error::{DataError, Result},
    npy::{
        array::{Array, Data},
        header::{Header, Kind},
    },
};

/// The array of this header, or the first `most` entries of its first axis: only these are read and
/// take memory, but for an array in Fortran order, whose first entries lie everywhere.
pub(crate) fn read_array(
    reader: &mut impl Read,
    header: Header,
    most: usize,
    file: &str,
) -> Result<Array> {
    let (fortran, header) = (header.fortran, header.leading(most));
    let data = read_data(reader, &header, file)?;
    let data = if fortran { data.to_row_major(&header.shape) } else { data };
    Ok(Array { file: file.to_owned(), shape: header.shape, data }.leading(most))
}

impl Header {
    /// Bytes of a number in memory: f32 stays, f16 and bf16 become f32, all others have 8.
    pub(crate) fn wide_item(&self) -> u64 {
        match (self.number.kind, self.number.item) {
            (Kind::Float | Kind::Bfloat, 2 | 4) => 4,
            _ => 8,
        }
    }

    /// This header for fewer entries of the first axis, where they follow each other in the file.
    fn leading(mut self, most: usize) -> Self {
        if let Some(first) = self.shape.first_mut().filter(|_| !self.fortran) {
            let count = most.clamp(1, *first);
            self.count = self.count / *first * count;
            *first = count;
        }
        self
    }
}

impl Array {
    fn leading(mut self, most: usize) -> Self {
        let Some(first) = self.shape.first_mut().filter(|first| **first > most.max(1)) else {
            return self;
        };
        let count = self.data.len() / *first * most.max(1);
        *first = most.max(1);
        match &mut self.data {
            Data::F32(values) => values.truncate(count),
            Data::F64(values) => values.truncate(count),
            Data::I64(values) => values.truncate(count),
        }
        self
    }
}

/// The numbers of this header, in the order of the file.
fn read_data(reader: &mut impl Read, header: &Header, file: &str) -> Result<Data> {
    let copies = if header.fortran { 2 } else { 1 };
    let bytes = (header.count as u64).saturating_mul(header.wide_item() * copies);
    ensure(&format!("the array {file}"), bytes, None, "use fewer examples")?;
    let low2 = |b: [u8; 8]| [b[0], b[1]];
    let low4 = |b: [u8; 8]| [b[0], b[1], b[2], b[3]];
    let data = match (header.number.kind, header.number.item) {
        (Kind::Bfloat, _) => {
            read_items(reader, header, |b| bf16::from_le_bytes(low2(b)).to_f32()).map(Data::F32)
        }
        (Kind::Float, 2) => {
            read_items(reader, header, |b| f16::from_le_bytes(low2(b)).to_f32()).map(Data::F32)
        }
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
            if header.number.kind == Kind::Unsigned && values.iter().any(|&value| value < 0) =>
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
    let mut buffer = vec![0; header.number.item * ITEMS_AT_A_TIME];
    while values.len() < header.count {
        let items = ITEMS_AT_A_TIME.min(header.count - values.len());
        let bytes = &mut buffer[..items * header.number.item];
        reader.read_exact(bytes)?;
        values.extend(bytes.chunks_exact_mut(header.number.item).map(|item| {
            if header.number.big_endian {
                item.reverse();
            }
            let mut wide = [0; 8];
            wide[..item.len()].copy_from_slice(item);
            convert(wide)
        }));
    }
    Ok(values)
}

/// Numbers converted at a time.
pub(super) const ITEMS_AT_A_TIME: usize = 8192;

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

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
