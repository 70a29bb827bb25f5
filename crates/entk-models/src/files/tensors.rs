//! Tensors by name from files of other programs: a path goes in, tensors of the host come out.
//! Called where weights are loaded.

use std::{collections::HashMap, io::Read, path::Path};

use candle_core::{DType, Device, Tensor, pickle, safetensors::load_buffer};
use entk_device::{
    files::{self, FileError},
    memory,
};
use serde_json::Value;

use crate::error::{ModelError, Result};

/// Tensors by name.
pub(crate) type NamedTensors = HashMap<String, Tensor>;

/// How a file that PyTorch saves begins: it is a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";
/// How a file that PyTorch saved before version 1.6 begins.
const OLD_PICKLE: &[u8] = b"\x80\x02";
/// Where training programs put the state dict in what they save; nowhere is first.
const KEYS: [Option<&str>; 4] = [None, Some("state_dict"), Some("model_state_dict"), Some("model")];

/// Reads a safetensors file, the index of several (`.json`), or a state dict that PyTorch saved.
/// The contents say which.
pub(crate) fn read(path: &Path) -> Result<NamedTensors> {
    let mut head = Vec::new();
    let opened = files::open(path).and_then(|file| {
        let (length, is_pipe) = (file.length()?, file.is_pipe()?);
        if !is_pipe {
            file.take(4).read_to_end(&mut head)?;
        }
        Ok((length, is_pipe))
    });
    let (length, is_pipe) = opened.map_err(FileError::new("read", path))?;
    if is_pipe {
        return Err(refused(path, "is a pipe or a device; save it to a file first"));
    }
    ensure_memory(path, length)?;
    match head.as_slice() {
        ZIP => read_pickle(path),
        [b'{', ..] if path.extension().is_some_and(|e| e == "json") => read_shards(path),
        head if head.starts_with(OLD_PICKLE) => Err(refused(
            path,
            "is of a PyTorch before 1.6; load it there and save it with safetensors",
        )),
        _ => read_safetensors(path),
    }
}

/// Refuses a file that memory cannot hold twice: as bytes and as tensors.
fn ensure_memory(path: &Path, length: u64) -> Result<()> {
    let what = format!("the file {}", path.display());
    let remedy = "use a smaller network, or a machine with more memory";
    Ok(memory::ensure(&what, length.saturating_mul(2), None, remedy)?)
}

fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    let bytes = files::read(path).map_err(FileError::new("read", path))?;
    ensure_memory(path, bytes.len() as u64)?;
    load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| refused(path, unlike_safetensors(&bytes, error)))
}

/// What is wrong with a file that is no safetensors file, from its first bytes and its length.
fn unlike_safetensors(bytes: &[u8], error: impl std::fmt::Display) -> String {
    let header = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let is_json = bytes.get(8) == Some(&b'{');
    match header {
        Some(header) if is_json && header < 1 << 40 => format!(
            "is no whole safetensors file ({error}): cut off, overlong or damaged; fetch or save \
             it again"
        ),
        _ => "is neither a safetensors file nor a state dict of PyTorch; save \
              `model.state_dict()` with `safetensors.torch.save_file`"
            .into(),
    }
}

/// The files that an index lists, which lie beside it.
fn read_shards(index: &Path) -> Result<NamedTensors> {
    let text = files::read(index).map_err(FileError::new("read", index))?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| refused(index, error))?;
    let no_map = || refused(index, "has no `weight_map` of names to safetensors files beside it");
    let map = json.get("weight_map").and_then(Value::as_object).ok_or_else(no_map)?;
    let mut names: Vec<&str> =
        map.values().map(|file| file.as_str().ok_or_else(no_map)).collect::<Result<_>>()?;
    names.sort_unstable();
    names.dedup();
    let mut all = NamedTensors::new();
    for name in names {
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            return Err(no_map());
        }
        all.extend(read_safetensors(&index.with_file_name(name))?);
    }
    Ok(all)
}

fn read_pickle(path: &Path) -> Result<NamedTensors> {
    for key in KEYS {
        // A key that is not there is no error: the next may be. candle's reader panics on some
        // damaged files.
        let read = std::panic::catch_unwind(|| pickle::read_all_with_key(path, key));
        let Ok(Ok(tensors)) = read else { continue };
        if !tensors.is_empty() {
            return Ok(tensors.into_iter().collect());
        }
    }
    let reason = "holds no state dict that can be read; save `model.state_dict()`, best with \
                  safetensors";
    Err(refused(path, reason))
}

/// A tensor of a file in another element type of numbers that are no integers.
pub(crate) fn to_float(tensor: &Tensor, name: &str, path: &Path, dtype: DType) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(tensor.to_dtype(dtype)?),
        other => {
            Err(refused(path, format!("{name}: element type {other:?}; save it as F32 or F64")))
        }
    }
}

pub(crate) fn refused(path: &Path, reason: impl ToString) -> ModelError {
    ModelError::WeightFile { path: path.to_path_buf(), reason: reason.to_string() }
}
