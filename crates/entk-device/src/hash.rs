//! BLAKE3 of tensors, as 64 hexadecimal digits.
//!
//! In come tensors on any device; out go hashes of their names, shapes and values, by which stores
//! and checkpoints recognise what they were made from. The hash of given tensors never changes,
//! since files hold it.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

/// Examples hashed by one thread at a time.
const EXAMPLES: usize = 1024;

/// Entries converted at a time.
const ENTRIES: usize = 1 << 16;

/// The hash of names, shapes and values, f32 or f64 in their own element type, in this order.
///
/// # Errors
/// Another element type, or a copy that the device refused.
pub fn named<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?}\n", tensor.dims()).as_bytes());
        update(&mut hasher, tensor)?;
    }
    Ok(hasher.finalize().to_string())
}

/// The hash of names, shapes, element types and values converted to f64, in this order.
///
/// # Errors
/// An element type that has no f64, or a copy that the device refused.
pub fn named_as_f64<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?} {:?};", tensor.dims(), tensor.dtype()).as_bytes());
        let (values, count) = (tensor.flatten_all()?, tensor.elem_count());
        for start in (0..count).step_by(ENTRIES) {
            let block = values.narrow(0, start, ENTRIES.min(count - start))?;
            update(&mut hasher, &block.to_device(&Device::Cpu)?.to_dtype(DType::F64)?)?;
        }
    }
    Ok(hasher.finalize().to_string())
}

/// The hash of a data set's shape and values, f32, f64 or u32 in their own element type: a hash
/// over those of blocks of 1024 examples, which all threads compute.
///
/// # Errors
/// A scalar, another element type, or a copy that the device refused.
pub fn examples(inputs: &Tensor) -> Result<String> {
    let n = inputs.dim(0)?;
    let starts: Vec<usize> = (0..n).step_by(EXAMPLES).collect();
    let hash = |start: usize| {
        let mut hasher = blake3::Hasher::new();
        update(&mut hasher, &inputs.narrow(0, start, EXAMPLES.min(n - start))?)?;
        Ok(hasher.finalize())
    };
    // One thread talks to a device.
    let blocks: Vec<blake3::Hash> = if inputs.device().is_cpu() {
        starts.into_par_iter().map(hash).collect::<Result<_>>()
    } else {
        starts.into_iter().map(hash).collect::<Result<_>>()
    }?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?}\n", inputs.dims()).as_bytes());
    blocks.iter().for_each(|block| {
        hasher.update(block.as_bytes());
    });
    Ok(hasher.finalize().to_string())
}

/// Feeds the values, row-major and little-endian.
fn update(hasher: &mut blake3::Hasher, tensor: &Tensor) -> Result<()> {
    let values = tensor.flatten_all()?.to_device(&Device::Cpu)?;
    let bytes: Vec<u8> = match tensor.dtype() {
        DType::F64 => values.to_vec1::<f64>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::U32 => values.to_vec1::<u32>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => values.to_vec1::<f32>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    hasher.update(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
        values.into_iter().flatten().collect()
    }

    fn hash(parts: &[&[u8]]) -> String {
        blake3::hash(&parts.concat()).to_string()
    }

    #[test]
    fn hashes_are_those_of_the_bytes_that_files_were_made_with() -> Result<()> {
        let values = [0.5f32, -1.25, 3.0, 0.1];
        let x = Tensor::new(&values, &Device::Cpu)?.reshape((2, 2))?;
        let (t, tensors) = (x.t()?, || [("a", &x), ("b.c", &x)].into_iter());
        let own = bytes(values.map(f32::to_le_bytes));
        let wide = bytes(values.map(|v| f64::from(v).to_le_bytes()));
        assert_eq!(named(tensors())?, hash(&[b"a [2, 2]\n", &own, b"b.c [2, 2]\n", &own]));
        let expected = hash(&[b"a [2, 2] F32;", &wide, b"b.c [2, 2] F32;", &wide]);
        assert_eq!(named_as_f64(tensors())?, expected);
        assert_eq!(examples(&x)?, hash(&[b"[2, 2]\n", blake3::hash(&own).as_bytes()]));
        assert_ne!(named([("a", &t)].into_iter())?, named([("a", &x)].into_iter())?);
        Ok(())
    }

    #[test]
    fn examples_are_hashed_in_blocks_of_1024() -> Result<()> {
        let x = Tensor::arange(0f64, 1500.0, &Device::Cpu)?;
        let block = |from: u32, to: u32| {
            let values = bytes((from..to).map(|v| f64::from(v).to_le_bytes()));
            blake3::hash(&values).as_bytes().to_vec()
        };
        let expected = hash(&[b"[1500]\n", &block(0, 1024), &block(1024, 1500)]);
        assert_eq!(examples(&x)?, expected);
        Ok(())
    }
}
