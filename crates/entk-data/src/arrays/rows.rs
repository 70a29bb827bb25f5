//! [`ArrayRows`]: the rows of an array in a file, read some at a time, for arrays that memory does
//! not hold. Operators and statistics read it as an [`InputSource`].

use std::{io, ops::Range, path::Path};

use candle_core::Tensor;
use entk_device::{InputSource, files::operations::InputFile};

use crate::{
    arrays::locate,
    error::{DataError, Result},
    npy::{array::Array, header::Header, numbers::read_array},
};

/// An array of at least one axis in a file, whose first axis counts the examples: all that
/// [`read`](crate::arrays::read) reads, but for what is compressed or in Fortran order.
///
/// The header is checked when the file is opened; numbers are read when they are asked for, and
/// nothing of the file is kept. The file may not change meanwhile: one that has become shorter is
/// an error, other contents are not noticed, nor are the checksums of archives compared.
///
/// ```
/// use entk_data::{arrays::ArrayRows, npy};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("x.npy");
/// npy::write(&path, &[3, 2], &[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0])?;
/// let rows = ArrayRows::open(&path)?;
/// assert_eq!(rows.shape(), [3, 2]);
/// assert_eq!(rows.rows(1..3)?.to_f64(), [2.0, 3.0, 4.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ArrayRows {
    file: InputFile,
    /// Where the numbers begin.
    start: u64,
    header: Header,
    name: String,
}

impl ArrayRows {
    /// Opens `FILE`, or `FILE:NAME`, and checks its header and its length.
    ///
    /// # Errors
    /// As [`read`](crate::arrays::read); [`DataError::Shape`] for a single number, and
    /// [`DataError::Format`] for a compressed entry and for Fortran order, in which the numbers of
    /// an example are spread over the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let (file, start, header, name) = locate(path.as_ref())?.into_file()?;
        if header.shape.is_empty() {
            let expected = "at least one axis, of examples".to_owned();
            return Err(DataError::Shape { what: name, expected, found: Vec::new() });
        }
        if header.fortran {
            return Err(DataError::Format {
                file: name,
                format: "order of axes",
                problem: "Fortran order cannot be read example by example".to_owned(),
                advice: "save numpy.ascontiguousarray(x), or x.contiguous() of a tensor",
            });
        }
        Ok(Self { file, start, header, name })
    }

    /// Length of each axis, examples first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The examples of a range.
    ///
    /// # Errors
    /// [`DataError::Index`] for a range beyond the file, [`DataError::Io`] where the file cannot be
    /// read, and [`DataError::Dtype`] as [`read`](crate::arrays::read).
    pub fn rows(&self, range: Range<usize>) -> Result<Array> {
        let count = self.shape()[0];
        if range.end > count || range.is_empty() {
            return Err(DataError::Index { index: range.end.max(1) - 1, count });
        }
        let row = self.header.count / count;
        let at = self.start + (range.start * row * self.header.number.item) as u64;
        let mut part = self.header.clone();
        part.shape[0] = range.len();
        part.count = row * range.len();
        let mut bytes = vec![0; part.payload() as usize];
        self.file.read_at(&mut bytes, at).map_err(DataError::io("read", &self.name))?;
        read_array(&mut bytes.as_slice(), part, usize::MAX, &self.name)
    }
}

impl InputSource for ArrayRows {
    fn examples(&self) -> usize {
        self.shape()[0]
    }

    fn read(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        let rows = self.rows(range).and_then(|rows| rows.to_tensor());
        rows.map_err(|error| candle_core::Error::wrap(io::Error::other(error)))
    }
}
