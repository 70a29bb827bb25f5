//! MATLAB 5 files, as far as data sets need them: a reader and a name come in, a matrix of whole
//! numbers from 0 to 255 goes out, in MATLAB's order (first axis fastest). Called by `svhn`.
//!
//! A file is a header of 128 bytes and elements, each a tag of type and length with its bytes; most
//! are compressed, and hold a matrix: elements of flags, dimensions, name and numbers.

use std::io::{self, Read};

use entk_device::memory::ensure;
use flate2::read::ZlibDecoder;

use crate::error::{DataError, Result};

const HEADER: usize = 128;
/// Types of elements.
const BYTES: u32 = 2;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// One byte of a deflate stream expands to at most 1,032.
const MAX_EXPANSION: u64 = 1032;
/// Axes and letters of a name at most.
const MAX_SMALL: u64 = 256;
const ADVICE: &str = "fetch it again, or save it with scipy.io.savemat or MATLAB's -v7";

/// A matrix of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Length of each axis.
    pub(super) shape: Vec<u64>,
    /// The numbers, first axis fastest.
    pub(super) values: Vec<u8>,
}

/// What stands before the bytes of an element.
#[derive(Debug, Clone, Copy)]
struct Tag {
    kind: u32,
    length: u64,
    /// The bytes of an element of at most four, which stand in its tag.
    inside: Option<[u8; 4]>,
}

/// Elements of a file, or of one compressed element.
struct Elements<'a, R> {
    reader: R,
    is_big_endian: bool,
    /// Bytes that may still come.
    left: u64,
    file: &'a str,
}

/// The matrix of this name in a file of `length` bytes.
///
/// # Errors
/// [`DataError::Format`] for another format and without this matrix, [`DataError::Truncated`],
/// [`DataError::Dtype`] for other numbers, [`DataError::Empty`] for an axis of length 0,
/// [`DataError::NoMemory`] before more memory is taken than there is.
pub(super) fn read(mut reader: impl Read, length: u64, name: &str, file: &str) -> Result<Matrix> {
    let is_big_endian = header(&mut reader, length, file)?;
    let left = length - HEADER as u64;
    let mut elements = Elements { reader, is_big_endian, left, file };
    while elements.left > 0 {
        let tag = elements.tag()?;
        let found = match tag.kind {
            COMPRESSED => {
                elements.take(tag.length)?;
                let part = elements.reader.by_ref().take(tag.length);
                compressed(part, tag.length, is_big_endian, name, file)?
            }
            MATRIX => {
                let end = elements.end(tag.length)?;
                let found = elements.matrix(name)?;
                elements.skip_to(end)?;
                found
            }
            _ => {
                elements.skip(tag.length)?;
                None
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(bad(file, format!("has no matrix {name:?}")))
}

/// Whether numbers are big-endian.
fn header(reader: &mut impl Read, length: u64, file: &str) -> Result<bool> {
    let short = |found| DataError::Truncated {
        file: file.to_owned(),
        what: "header",
        expected: HEADER as u64,
        found,
    };
    if length < HEADER as u64 {
        return Err(short(length));
    }
    let mut header = [0; HEADER];
    reader.read_exact(&mut header).map_err(DataError::io("read", file))?;
    match &header[124..] {
        [0, 1, b'I', b'M'] => Ok(false),
        [1, 0, b'M', b'I'] => Ok(true),
        [0, 2, b'I', b'M'] => Err(bad(file, "is of version 7.3, which is HDF5".to_owned())),
        found => Err(bad(file, format!("has version and byte order {found:02x?}"))),
    }
}

/// The matrix in a compressed element, if it has this name; its bytes are read to their end.
fn compressed(
    mut part: impl Read,
    length: u64,
    is_big_endian: bool,
    name: &str,
    file: &str,
) -> Result<Option<Matrix>> {
    let left = length.saturating_mul(MAX_EXPANSION);
    let reader = ZlibDecoder::new(part.by_ref());
    let mut elements = Elements { reader, is_big_endian, left, file };
    let tag = elements.tag()?;
    elements.end(tag.length)?;
    let found = if tag.kind == MATRIX { elements.matrix(name)? } else { None };
    if found.is_some() {
        // The end of the stream has a checksum.
        let read = io::copy(&mut elements.reader.take(MAX_SMALL), &mut io::sink());
        read.map_err(|error| damaged(file, error))?;
    }
    io::copy(&mut part, &mut io::sink()).map_err(DataError::io("read", file))?;
    Ok(found)
}

impl<R: Read> Elements<'_, R> {
    /// The matrix in an element, if it has this name.
    fn matrix(&mut self, name: &str) -> Result<Option<Matrix>> {
        let flags = self.small()?;
        let shape = self.small()?;
        let axes = shape.chunks_exact(4).map(|axis| u64::from(self.number(axis)));
        let shape: Vec<u64> = axes.collect();
        if flags.len() != 8 || self.small()? != name.as_bytes() {
            return Ok(None);
        }
        if shape.is_empty() || shape.contains(&0) {
            return Err(DataError::Empty {
                what: format!("{}:{name} (shape {shape:?})", self.file),
            });
        }
        let values = self.values(&shape, name)?;
        Ok(Some(Matrix { shape, values }))
    }

    /// The numbers of a matrix of this shape.
    fn values(&mut self, shape: &[u64], name: &str) -> Result<Vec<u8>> {
        let what = format!("{}:{name}", self.file);
        let count = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
        let tag = self.tag()?;
        // Doubles that are whole are stored as integers as short as they can be.
        let width = match tag.kind {
            1 | BYTES => 1,
            3 | 4 => 2,
            5 | 6 => 4,
            9 => 8,
            _ => return Err(self.other_type(format!("type {}", tag.kind), what)),
        };
        let expected = count.and_then(|count| count.checked_mul(width)).unwrap_or(u64::MAX);
        if tag.length != expected {
            let (file, found) = (what, tag.length);
            return Err(DataError::Truncated { file, what: "numbers", expected, found });
        }
        ensure(&format!("the matrix {what}"), expected, None, "use fewer images")?;
        let bytes = self.bytes(tag)?;
        if tag.kind == BYTES {
            return Ok(bytes);
        }
        let bytes = bytes.chunks_exact(width as usize);
        let mut values = bytes.map(|number| self.byte(number, tag.kind));
        let found = values.by_ref().collect::<Option<Vec<u8>>>();
        found.ok_or_else(|| self.other_type("another number".to_owned(), what))
    }

    /// A number of this type, if it is whole and from 0 to 255.
    fn byte(&self, bytes: &[u8], kind: u32) -> Option<u8> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        if self.is_big_endian {
            wide[..bytes.len()].reverse();
        }
        if kind == 9 {
            let value = f64::from_le_bytes(wide);
            let byte = value as u8;
            return (f64::from(byte) == value).then_some(byte);
        }
        // A negative number has bits above the lowest eight; of one byte it is the highest of them.
        let value = u64::from_le_bytes(wide);
        let most = if kind == 1 { 127 } else { 255 };
        u8::try_from(value).ok().filter(|value| *value <= most)
    }

    /// The bytes of an element of a few.
    fn small(&mut self) -> Result<Vec<u8>> {
        let tag = self.tag()?;
        if tag.length > MAX_SMALL {
            let problem = format!("has {} bytes of dimensions or name", tag.length);
            return Err(bad(self.file, problem));
        }
        self.bytes(tag)
    }

    fn tag(&mut self) -> Result<Tag> {
        let mut tag = [0; 8];
        self.fill(&mut tag)?;
        let (kind, length) = (self.number(&tag[..4]), self.number(&tag[4..]));
        if kind >> 16 == 0 {
            return Ok(Tag { kind, length: length.into(), inside: None });
        }
        let inside = Some([tag[4], tag[5], tag[6], tag[7]]);
        match kind >> 16 {
            length @ 1..=4 => Ok(Tag { kind: kind & 0xffff, length: length.into(), inside }),
            length => Err(bad(self.file, format!("has a short element of {length} bytes"))),
        }
    }

    /// The bytes of an element, without those that fill it up to a multiple of eight.
    fn bytes(&mut self, tag: Tag) -> Result<Vec<u8>> {
        if let Some(inside) = tag.inside {
            return Ok(inside[..tag.length as usize].to_vec());
        }
        self.end(tag.length)?;
        let mut bytes = Vec::new();
        let reserved = bytes.try_reserve_exact(tag.length as usize);
        reserved.map_err(|_| damaged(self.file, io::ErrorKind::OutOfMemory.into()))?;
        let read = self.reader.by_ref().take(tag.length).read_to_end(&mut bytes);
        read.map_err(|error| damaged(self.file, error))?;
        if (bytes.len() as u64) < tag.length {
            return Err(self.short(tag.length));
        }
        self.left -= tag.length;
        // A compressed element may end without what would fill it up.
        self.skip(self.left.min(tag.length.next_multiple_of(8) - tag.length))?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.take(bytes.len() as u64)?;
        self.reader.read_exact(bytes).map_err(|error| damaged(self.file, error))
    }

    /// Counts bytes that are read elsewhere.
    fn take(&mut self, bytes: u64) -> Result<()> {
        self.left = self.end(bytes)?;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.take(bytes)?;
        let skipped = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink());
        skipped.map(|_| ()).map_err(|error| damaged(self.file, error))
    }

    /// The bytes that are left after so many.
    fn end(&self, length: u64) -> Result<u64> {
        self.left.checked_sub(length).ok_or_else(|| self.short(length))
    }

    fn skip_to(&mut self, left: u64) -> Result<()> {
        self.skip(self.left.saturating_sub(left))
    }

    fn number(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn short(&self, expected: u64) -> DataError {
        let (file, what, found) = (self.file.to_owned(), "element", self.left);
        DataError::Truncated { file, what, expected, found }
    }

    fn other_type(&self, found: String, what: String) -> DataError {
        let (expected, advice) = ("whole numbers from 0 to 255", "is it the right file?");
        DataError::Dtype { what, expected, found, advice }
    }
}

fn damaged(file: &str, error: io::Error) -> DataError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            bad(file, format!("is damaged or cut off ({error})"))
        }
        _ => DataError::io("read", file)(error),
    }
}

fn bad(file: &str, problem: String) -> DataError {
    DataError::Format { file: file.to_owned(), format: "MATLAB file", problem, advice: ADVICE }
}
