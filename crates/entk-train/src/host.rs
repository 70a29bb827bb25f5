//! From tensors to plain numbers on the host: their entries in f64, and a hash of them.
//!
//! Gradients, metrics and distances read entries; checkpoints tell parameters and examples of
//! different runs apart by the hash.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// Entries hashed at a time.
const HASHED: usize = 1 << 16;

/// The entries of a tensor as f64 on the host, row-major.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}

/// A hash of names, shapes and values.
pub(crate) fn tensors_hash<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?} {:?};", tensor.dims(), tensor.dtype()).as_bytes());
        let (values, count) = (tensor.flatten_all()?, tensor.elem_count());
        for start in (0..count).step_by(HASHED) {
            let block = values.narrow(0, start, HASHED.min(count - start))?;
            bytes.clear();
            bytes.extend(host(&block)?.iter().flat_map(|x| x.to_le_bytes()));
            hasher.update(&bytes);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
