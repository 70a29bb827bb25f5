//! Parts of a `.npy` file: its shape before anything is read, or the first of many examples without
//! memory for the others. Called by programs.

use std::{io::BufReader, path::Path};

use crate::{
    error::Result,
    npy::{
        Array, Data,
        header::{Header, Kind},
        open, read_from,
    },
};

/// What the header of a `.npy` file says of its array.
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

/// The header of a `.npy` file, checked, and its length; no number is read.
///
/// # Errors
/// As [`read`](super::read()).
pub fn describe(path: impl AsRef<Path>) -> Result<ArrayHeader> {
    let (mut file, length, name) = open(path.as_ref())?;
    let header = Header::read_whole(&mut file, length, &name)?;
    let bytes = (header.count as u64).saturating_mul(header.wide_item());
    Ok(ArrayHeader { shape: header.shape, is_whole: header.kind != Kind::Float, bytes })
}

/// The first `most` entries along the first axis, or all if there are fewer. Only these are read
/// and take memory, but for an array in Fortran order, whose first examples lie everywhere.
///
/// # Errors
/// As [`read`](super::read()).
pub fn read_leading(path: impl AsRef<Path>, most: usize) -> Result<Array> {
    let (file, length, name) = open(path.as_ref())?;
    Ok(read_from(BufReader::new(file), length, &name, most)?.leading(most))
}

impl Header {
    /// Bytes of a number in memory: f32 stays, all others are widened.
    pub(super) fn wide_item(&self) -> u64 {
        if (self.kind, self.item) == (Kind::Float, 4) { 4 } else { 8 }
    }

    /// This header for fewer entries of the first axis.
    pub(super) fn leading(mut self, most: usize) -> Self {
        if let Some(first) = self.shape.first_mut() {
            let count = most.clamp(1, *first);
            self.count = self.count / *first * count;
            *first = count;
        }
        self
    }
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    fn truncate(&mut self, count: usize) {
        match self {
            Self::F32(values) => values.truncate(count),
            Self::F64(values) => values.truncate(count),
            Self::I64(values) => values.truncate(count),
        }
    }
}

impl Array {
    fn leading(mut self, most: usize) -> Self {
        let Some(first) = self.shape.first_mut() else { return self };
        let count = most.clamp(1, *first);
        let kept = self.data.len() / *first * count;
        *first = count;
        self.data.truncate(kept);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npy::{read, write};

    #[test]
    fn the_first_examples_are_those_of_the_whole_array() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        let values: Vec<f32> = (0..24_u8).map(f32::from).collect();
        write(&path, &[4, 3, 2], &values).expect("written");
        let header = describe(&path).expect("a header");
        assert_eq!((header.shape, header.is_whole, header.bytes), (vec![4, 3, 2], false, 96));
        for count in [1, 3, 4, 9] {
            let some = read_leading(&path, count).expect("read");
            assert_eq!(some.shape(), [count.min(4), 3, 2]);
            assert_eq!(some.to_f64(), read(&path).expect("read").to_f64()[..count.min(4) * 6]);
        }
    }

    #[test]
    fn the_first_examples_of_an_array_in_fortran_order_are_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        write(&path, &[2, 2], &[1.0_f64, 2.0, 3.0, 4.0]).expect("written");
        let mut bytes = std::fs::read(&path).expect("read");
        let at = bytes.windows(5).position(|word| word == b"False").expect("an order");
        bytes.splice(at..at + 5, *b"True ");
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(read_leading(&path, 1).expect("read").to_f64(), [1.0, 3.0]);
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_length_is_refused_with_the_remedy() {
        let error = describe("/dev/null").map(|_| ()).expect_err("a device");
        assert!(error.to_string().contains("save it to a file"), "{error}");
    }
}
