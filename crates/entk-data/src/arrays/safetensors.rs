//! Safetensors files: a file and a name come in, the place of that tensor goes out. The JSON at the
//! start is read by the crate `safetensors`, the numbers where they lie. Called by `arrays`.

use std::io::Read;

use ::safetensors::{Dtype, tensor::Metadata};
use entk_device::{files::operations::InputFile, memory::ensure};

use crate::{
    arrays::{choice::choose, located::Located},
    error::{DataError, Result},
    npy::header::{Header, Kind, NumberType},
};

/// Bytes of the length of the JSON.
const LENGTH: u64 = 8;
/// The longest JSON that the format allows.
const MAX_JSON: u64 = 100_000_000;

/// The tensor of this name; without one, the only one.
pub(super) fn locate(
    mut file: InputFile,
    length: u64,
    name: String,
    wanted: Option<&str>,
) -> Result<Located> {
    let (metadata, start) = metadata(&mut file, length, &name)?;
    let tensors = metadata.tensors();
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    if names.is_empty() {
        return Err(refused(&name, "holds no tensor".to_owned()));
    }
    let chosen = names[choose(&names, wanted, &name)?];
    let name = format!("{name}:{chosen}");
    let info = tensors[chosen];
    let number = number_type(info.dtype, &name)?;
    let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
    let header = Header::of(number, &shape, false, start, &name)?;
    let (from, to) = info.data_offsets;
    if to.saturating_sub(from) as u64 != header.payload() {
        let problem = format!("has {} bytes for shape {shape:?}", to.saturating_sub(from));
        return Err(refused(&name, problem));
    }
    Ok(Located::in_file(file, start + from as u64, header, name))
}

/// What the JSON says, which fits the file, and where the numbers begin.
fn metadata(file: &mut InputFile, length: u64, name: &str) -> Result<(Metadata, u64)> {
    let mut size = [0; LENGTH as usize];
    let short = || refused(name, format!("has {length} bytes"));
    let read = file.read_exact(&mut size);
    read.map_err(
        |error| if length < LENGTH { short() } else { DataError::io("read", name)(error) },
    )?;
    let size = u64::from_le_bytes(size);
    if size > MAX_JSON.min(length - LENGTH) {
        return Err(refused(name, format!("says {size} bytes of names, of a file of {length}")));
    }
    ensure(&format!("the names of {name}"), size.saturating_mul(4), None, "use a smaller file")?;
    let mut json = vec![0; size as usize];
    file.read_exact(&mut json).map_err(DataError::io("read", name))?;
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|error| refused(name, format!("begins with names that are none ({error})")))?;
    let (start, expected) = (LENGTH + size, metadata.data_len() as u64);
    let (file, what, found) = (name.to_owned(), "tensors", length - start);
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(DataError::Truncated { file, what, expected, found }),
        std::cmp::Ordering::Greater => Err(DataError::Oversized { file, what, expected }),
        std::cmp::Ordering::Equal => Ok((metadata, start)),
    }
}

fn number_type(dtype: Dtype, name: &str) -> Result<NumberType> {
    let (kind, item) = match dtype {
        Dtype::BOOL => (Kind::Bool, 1),
        Dtype::U8 => (Kind::Unsigned, 1),
        Dtype::I8 => (Kind::Signed, 1),
        Dtype::U16 => (Kind::Unsigned, 2),
        Dtype::I16 => (Kind::Signed, 2),
        Dtype::F16 => (Kind::Float, 2),
        Dtype::BF16 => (Kind::Bfloat, 2),
        Dtype::U32 => (Kind::Unsigned, 4),
        Dtype::I32 => (Kind::Signed, 4),
        Dtype::F32 => (Kind::Float, 4),
        Dtype::U64 => (Kind::Unsigned, 8),
        Dtype::I64 => (Kind::Signed, 8),
        Dtype::F64 => (Kind::Float, 8),
        other => {
            return Err(DataError::Dtype {
                what: name.to_owned(),
                expected: "floats of 16 to 64 bits, integers or booleans",
                found: format!("{other:?}"),
                advice: "convert it before it is saved, as in tensor.float()",
            });
        }
    };
    Ok(NumberType { kind, item, big_endian: false })
}

fn refused(file: &str, problem: String) -> DataError {
    let advice = "fetch it again, or save it with safetensors.torch.save_file";
    DataError::Format { file: file.to_owned(), format: "safetensors file", problem, advice }
}
