//! [`NpyRows`]: the rows of a `.npy` file, read some at a time, for arrays that memory does not
//! hold. Operators and statistics read it as an [`InputSource`].

use std::{io, ops::Range, path::Path};

use candle_core::Tensor;
use entk_device::{InputSource, files::operations::InputFile};

use crate::{
    error::{DataError, Result},
    npy::{Array, header::Header, open, read_data},
};

/// A `.npy` file of at least one axis, whose first axis counts the examples.
///
/// The header is checked when the file is opened, as [`read`](crate::npy::read) checks it; numbers
/// are read when they are asked for, and nothing of the file is kept. The file may not change
/// meanwhile: one that has become shorter is an error, other contents are not noticed.
///
/// ```
/// use entk_data::npy::{self, NpyRows};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("x.npy");
/// npy::write(&path, &[3, 2], &[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0])?;
/// let rows = NpyRows::open(&path)?;
/// assert_eq!(rows.shape(), [3, 2]);
/// assert_eq!(rows.rows(1..3)?.to_f64(), [2.0, 3.0, 4.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NpyRows {
    file: InputFile,
    header: Header,
    name: String,
}

impl NpyRows {
    /// Opens a file and checks its header and its length.
    ///
    /// # Errors
    /// As [`read`](crate::npy::read); [`DataError::Shape`] for a single number, and
    /// [`DataError::NpyHeader`] for Fortran order, in which the numbers of an example are spread
    /// over the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let (mut file, length, name) = open(path.as_ref())?;
        let header = Header::read_whole(&mut file, length, &name)?;
        if header.shape.is_empty() {
            let expected = "at least one axis, of examples".to_owned();
            return Err(DataError::Shape { what: name, expected, found: Vec::new() });
        }
        if header.fortran {
            let problem =
                "Fortran order cannot be read example by example; save numpy.ascontiguousarray(x)";
            return Err(DataError::NpyHeader { file: name, problem: problem.to_owned() });
        }
        Ok(Self { file, header, name })
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
    /// read, and [`DataError::Dtype`] as [`read`](crate::npy::read).
    pub fn rows(&self, range: Range<usize>) -> Result<Array> {
        let count = self.shape()[0];
        if range.end > count || range.is_empty() {
            return Err(DataError::Index { index: range.end.max(1) - 1, count });
        }
        let row = self.header.count / count;
        let part = self.header.clone().leading(range.len());
        let at = self.header.length + (range.start * row * part.item) as u64;
        let mut bytes = vec![0; part.count * part.item];
        self.file.read_at(&mut bytes, at).map_err(DataError::io("read", &self.name))?;
        let data = read_data(&mut bytes.as_slice(), &part, &self.name)?;
        Ok(Array { file: self.name.clone(), shape: part.shape, data })
    }
}

impl InputSource for NpyRows {
    fn examples(&self) -> usize {
        self.shape()[0]
    }

    fn read(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        let rows = self.rows(range).and_then(|rows| rows.to_tensor());
        rows.map_err(|error| candle_core::Error::wrap(io::Error::other(error)))
    }
}
