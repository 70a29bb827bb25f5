//! What `torch.save` writes: a zip archive and a name come in, the place of that tensor goes out.
//! The archive holds a pickle, which says what there is, and the storages of tensors, one an entry.
//! Called by `arrays`.

use crate::{
    arrays::{
        archive::Archive,
        choice::choose,
        located::Located,
        pickle::{Pickle, StoredTensor},
    },
    error::{DataError, Result},
    npy::header::{Header, Kind, NumberType},
};

/// The entry that says what an archive holds.
const PICKLE: &str = "data.pkl";
/// The longest one that is read; those of networks of thousands of layers have 1 MB.
const MAX_PICKLE: u64 = 1 << 25;
const ADVICE: &str = "save the tensor alone, torch.save(x, path), or with safetensors";

/// Whether an archive is one of `torch.save`.
pub(super) fn is_one(archive: &Archive) -> bool {
    root(archive).is_some()
}

/// The index of the pickle, and the folder that all entries are in, with its slash.
fn root(archive: &Archive) -> Option<(usize, &str)> {
    let roots = archive.names().iter().enumerate().filter_map(|(index, name)| {
        let root = name.strip_suffix(PICKLE)?;
        (root.is_empty() || root.ends_with('/')).then_some((index, root))
    });
    // A program of TorchScript has pickles in folders below.
    roots.min_by_key(|(_, root)| root.len())
}

/// The tensor of this name; without one, the only one.
pub(super) fn locate(mut archive: Archive, wanted: Option<&str>) -> Result<Located> {
    let file = archive.file().to_owned();
    let (index, root) = match root(&archive) {
        Some((index, root)) => (index, root.to_owned()),
        None => return Err(refused(&file, format!("has no entry {PICKLE}"))),
    };
    let bytes = archive.entry(index)?.bytes(MAX_PICKLE)?;
    let pickle = Pickle::parse(&bytes).map_err(|problem| refused(&file, problem))?;
    let tensors = pickle.tensors();
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        return Err(refused(&file, "holds no tensor".to_owned()));
    }
    let (chosen, tensor) = &tensors[choose(&names, wanted, &file)?];
    let name = if chosen.is_empty() { file } else { archive.named(chosen) };
    let number = NumberType {
        big_endian: is_big_endian(&mut archive, &root)?,
        ..number_type(&tensor.storage_type, &name)?
    };
    place(archive, &format!("{root}data/{}", tensor.key), tensor, number, name)
}

fn is_big_endian(archive: &mut Archive, root: &str) -> Result<bool> {
    let entry = format!("{root}byteorder");
    let Some(index) = archive.names().iter().position(|name| *name == entry) else {
        return Ok(false);
    };
    Ok(archive.entry(index)?.bytes(16)? == b"big")
}

/// The place of a tensor in the entry of its storage.
fn place(
    mut archive: Archive,
    entry: &str,
    tensor: &StoredTensor,
    number: NumberType,
    name: String,
) -> Result<Located> {
    let Some(index) = archive.names().iter().position(|name| name == entry) else {
        return Err(refused(&name, format!("lacks its numbers, the entry {entry}")));
    };
    let fortran = is_fortran(tensor).ok_or_else(|| DataError::Format {
        file: name.clone(),
        format: "tensor",
        problem: format!("strides {:?} of shape {:?} skip", tensor.strides, tensor.shape),
        advice: "save x.contiguous()",
    })?;
    let item = number.item as u64;
    let skip = tensor.offset.saturating_mul(item);
    let header = Header::of(number, &tensor.shape, fortran, skip, &name)?;
    let (found, expected) = (archive.entry(index)?.size, skip.saturating_add(header.payload()));
    if expected > found {
        return Err(DataError::Truncated { file: name, what: "storage", expected, found });
    }
    Ok(Located::in_entry(archive, index, skip, header, name))
}

/// Whether numbers lie in Fortran order; none if in neither order. Axes of length 1 are in both.
fn is_fortran(tensor: &StoredTensor) -> Option<bool> {
    let long = |(size, _): &(u64, u64)| *size != 1;
    let axes = tensor.shape.iter().copied().zip(tensor.strides.iter().copied());
    let axes: Vec<(u64, u64)> = axes.filter(long).collect();
    if tensor.shape.len() != tensor.strides.len() {
        None
    } else if is_dense(axes.iter().rev()) {
        Some(false)
    } else {
        is_dense(axes.iter()).then_some(true)
    }
}

/// Whether each axis steps over those before it, the fastest first.
fn is_dense<'a>(mut axes: impl Iterator<Item = &'a (u64, u64)>) -> bool {
    let next = |expected: u64, (size, stride): &(u64, u64)| {
        (*stride == expected).then(|| expected.saturating_mul(*size))
    };
    axes.try_fold(1, next).is_some()
}

fn number_type(storage: &str, name: &str) -> Result<NumberType> {
    let (kind, item) = match storage {
        "BoolStorage" => (Kind::Bool, 1),
        "ByteStorage" => (Kind::Unsigned, 1),
        "CharStorage" => (Kind::Signed, 1),
        "ShortStorage" => (Kind::Signed, 2),
        "HalfStorage" => (Kind::Float, 2),
        "BFloat16Storage" => (Kind::Bfloat, 2),
        "IntStorage" => (Kind::Signed, 4),
        "FloatStorage" => (Kind::Float, 4),
        "LongStorage" => (Kind::Signed, 8),
        "DoubleStorage" => (Kind::Float, 8),
        other => {
            return Err(DataError::Dtype {
                what: name.to_owned(),
                expected: "floats of 16 to 64 bits, signed integers, uint8 or booleans",
                found: other.to_owned(),
                advice: "convert it before it is saved, as in x.float() or x.long()",
            });
        }
    };
    Ok(NumberType { kind, item, big_endian: false })
}

fn refused(file: &str, problem: String) -> DataError {
    DataError::Format { file: file.to_owned(), format: "file of PyTorch", problem, advice: ADVICE }
}
