//! The header of a `.npy` file: magic, version, length, and a Python dictionary of three keys.
//!
//! From the bytes of a file to the checked type and shape of its array, and back; `npy` reads and
//! writes the numbers that follow.

use std::{cmp::Ordering, io::Read};

use crate::error::{DataError, Result};

/// Longest accepted dictionary, numpy's own limit.
const MAX_TEXT: usize = 10_000;
const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// Kinds of number, as numpy's type letters group them, and bfloat16, which numpy has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Float,
    Bfloat,
    Signed,
    Unsigned,
}

/// How the numbers of an array are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberType {
    pub(crate) kind: Kind,
    /// Bytes of one number: 1, 2, 4 or 8.
    pub(crate) item: usize,
    pub(crate) big_endian: bool,
}

/// A checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: NumberType,
    pub(crate) fortran: bool,
    /// Axis lengths, none of them 0.
    pub(crate) shape: Vec<usize>,
    /// Product of the shape. `count * item` is below 2^63.
    pub(crate) count: usize,
    /// Bytes before the first number.
    pub(crate) length: u64,
}

impl Header {
    /// The header of an array of this shape, whose numbers begin `length` bytes on.
    pub(crate) fn of(
        number: NumberType,
        shape: &[u64],
        fortran: bool,
        length: u64,
        file: &str,
    ) -> Result<Self> {
        if shape.contains(&0) {
            return Err(DataError::Empty { what: format!("{file} (shape {shape:?})") });
        }
        let product = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
        let bytes = product.and_then(|product| product.checked_mul(number.item as u64));
        let count = bytes.filter(|&bytes| bytes < 1 << 63).and(product);
        // No length of an axis is above the product, so that they fit where it does.
        let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
            return Err(DataError::Shape {
                what: file.to_owned(),
                expected: "no more numbers than a file can hold".to_owned(),
                found: shape.iter().map(|&size| size.try_into().unwrap_or(usize::MAX)).collect(),
            });
        };
        let shape = shape.iter().map(|&size| size as usize).collect();
        Ok(Self { number, fortran, shape, count, length })
    }

    /// Reads and checks the header; the reader then stands at the first number.
    pub(crate) fn read(reader: &mut impl Read, file: &str) -> Result<Self> {
        let bad = |problem: String| DataError::NpyHeader { file: file.to_owned(), problem };
        let start = read_at_most(reader, 8, file)?;
        let Some((magic, version)) =
            start.split_first_chunk::<6>().filter(|(_, version)| version.len() == 2)
        else {
            return Err(bad(format!(
                "{} bytes are too short for the magic string and the version",
                start.len()
            )));
        };
        if magic.starts_with(b"PK") {
            return Err(bad(
                "is a zip archive, as .npz files and archives of PyTorch are, where one array was \
                 expected"
                    .to_owned(),
            ));
        }
        if *magic != MAGIC {
            return Err(bad(format!("starts with {magic:02x?}, expected {MAGIC:02x?}")));
        }
        let width = match version {
            [1, 0] => 2,
            [2 | 3, 0] => 4,
            _ => return Err(bad(format!("version {version:?}, expected 1.0, 2.0 or 3.0"))),
        };
        let size = read_at_most(reader, width, file)?;
        let size = size.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte));
        if size > MAX_TEXT {
            return Err(bad(format!(
                "declares {size} bytes of text, at most {MAX_TEXT} are accepted"
            )));
        }
        let text = read_at_most(reader, size, file)?;
        if text.len() < size {
            return Err(bad(format!("{size} bytes of text declared, {} found", text.len())));
        }
        let fields = Fields::parse(&text).map_err(bad)?;
        fields.into_header((8 + width + size) as u64, file)
    }

    /// As [`read`](Self::read), of a file of so many bytes, which must be those of the array.
    pub(crate) fn read_whole(reader: &mut impl Read, length: u64, file: &str) -> Result<Self> {
        let header = Self::read(reader, file)?;
        let (expected, found) = (header.payload(), length.saturating_sub(header.length));
        let (file, what) = (file.to_owned(), "array");
        match found.cmp(&expected) {
            Ordering::Less => Err(DataError::Truncated { file, what, expected, found }),
            Ordering::Greater => Err(DataError::Oversized { file, what, expected }),
            Ordering::Equal => Ok(header),
        }
    }

    /// Bytes that follow the header.
    pub(crate) fn payload(&self) -> u64 {
        (self.count * self.number.item) as u64
    }
}

fn read_at_most(reader: &mut impl Read, limit: usize, file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limit);
    reader.take(limit as u64).read_to_end(&mut bytes).map_err(DataError::io("read", file))?;
    Ok(bytes)
}

/// The header of version 1.0 for an array in row-major order, padded so that the numbers start at a
/// multiple of 64.
///
/// For at most 32 axes, whose text is far below the 65,535 bytes that version 1.0 can declare.
pub(crate) fn bytes(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    // Python writes (2, 3) but (2,); a trailing comma is allowed in both, a trailing space is not
    // needed in either.
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// The dictionary as it stands in the file.
#[derive(Debug)]
struct Fields {
    /// The type string, or the text of a structured type.
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Fields {
    fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the text is not UTF-8".to_owned())?;
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        cursor.expect('{')?;
        while !cursor.accept('}') {
            let key = cursor.string()?;
            cursor.expect(':')?;
            let repeated = match key {
                "descr" => descr.replace(cursor.descr()?).is_some(),
                "fortran_order" => fortran.replace(cursor.boolean()?).is_some(),
                "shape" => shape.replace(cursor.sizes()?).is_some(),
                _ => return Err(format!("unexpected key {key:?}")),
            };
            if repeated {
                return Err(format!("key {key:?} appears twice"));
            }
            if !cursor.accept(',') {
                cursor.expect('}')?;
                break;
            }
        }
        if !cursor.rest.trim().is_empty() {
            return Err("text after the dictionary".to_owned());
        }
        let missing = |key| format!("key {key:?} is missing");
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    fn into_header(self, length: u64, file: &str) -> Result<Header> {
        let number = number_type(&self.descr, file)?;
        Header::of(number, &self.shape, self.fortran, length, file).map_err(|error| match error {
            DataError::Shape { what: file, found, .. } => {
                let problem = format!("shape {found:?} is larger than any file");
                DataError::NpyHeader { file, problem }
            }
            other => other,
        })
    }
}

/// The type that a string such as `<f4` names.
fn number_type(descr: &str, file: &str) -> Result<NumberType> {
    let (order, code) = descr.split_at_checked(1).unwrap_or(("", descr));
    let found = match code {
        "f2" => Some((Kind::Float, 2)),
        "f4" => Some((Kind::Float, 4)),
        "f8" => Some((Kind::Float, 8)),
        "i1" => Some((Kind::Signed, 1)),
        "i2" => Some((Kind::Signed, 2)),
        "i4" => Some((Kind::Signed, 4)),
        "i8" => Some((Kind::Signed, 8)),
        "b1" => Some((Kind::Bool, 1)),
        "u1" => Some((Kind::Unsigned, 1)),
        "u2" => Some((Kind::Unsigned, 2)),
        "u4" => Some((Kind::Unsigned, 4)),
        "u8" => Some((Kind::Unsigned, 8)),
        _ => None,
    };
    match found {
        Some((kind, item)) if matches!(order, "<" | ">") || (order == "|" && item == 1) => {
            Ok(NumberType { kind, item, big_endian: order == ">" })
        }
        _ => Err(DataError::Dtype {
            what: file.to_owned(),
            expected: "float16, float32, float64, an integer or bool",
            found: format!("{descr:?}"),
            advice: advice(code),
        }),
    }
}

fn advice(code: &str) -> &'static str {
    if code.starts_with('O') {
        "pickled objects are not read, for that runs code from the file: load it with numpy (allow_pickle=True) where you \
         trust it, and save each array in it on its own with numpy.save"
    } else {
        "convert in numpy, as in numpy.save(path, array.astype(numpy.float32))"
    }
}

/// The text that is not yet parsed. Every method skips spaces first.
struct Cursor<'a> {
    rest: &'a str,
}

type Parsed<T> = std::result::Result<T, String>;

impl<'a> Cursor<'a> {
    fn accept(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Parsed<()> {
        if self.accept(wanted) {
            Ok(())
        } else {
            Err(format!("expected {wanted:?} before {:?}", self.near()))
        }
    }

    /// The next few characters, for messages.
    fn near(&self) -> String {
        self.rest.chars().take(20).collect()
    }

    /// The text up to the character, which is consumed.
    fn until(&mut self, end: char) -> Parsed<&'a str> {
        let (text, rest) = self
            .rest
            .split_once(end)
            .ok_or_else(|| format!("{end:?} is missing after {:?}", self.near()))?;
        self.rest = rest;
        Ok(text)
    }

    /// A string in single or double quotes, without escapes.
    fn string(&mut self) -> Parsed<&'a str> {
        if self.accept('\'') {
            self.until('\'')
        } else {
            self.expect('"')?;
            self.until('"')
        }
    }

    /// A type string; of a structured type, which is refused later, the list as text.
    fn descr(&mut self) -> Parsed<String> {
        if self.accept('[') {
            Ok(format!("[{}]", self.until(']')?))
        } else {
            self.string().map(str::to_owned)
        }
    }

    fn boolean(&mut self) -> Parsed<bool> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("expected True or False before {:?}", self.near()))
    }

    /// A tuple of whole numbers.
    fn sizes(&mut self) -> Parsed<Vec<u64>> {
        self.expect('(')?;
        let text = self.until(')')?.trim();
        let text = text.strip_suffix(',').unwrap_or(text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let size = |size: &str| {
            let size = size.trim();
            size.parse()
                .map_err(|_| format!("axis length {size:?} is not a whole number below 2^64"))
        };
        text.split(',').map(size).collect()
    }
}
