//! What tensors must be before anything is computed from them: finite, of the right shape and
//! element type. Called where tensors enter this crate or one above it.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::error::{ModelError, Result};

/// Refuses a tensor that holds NaN or infinity, naming it and the first such entry.
///
/// Cost: one pass; a tensor that is not contiguous or not on the host is copied.
///
/// # Errors
/// [`ModelError::NonFinite`].
pub fn ensure_finite(tensor: &Tensor, what: &str) -> Result<()> {
    let bad = match in_place(tensor) {
        Some(bad) => bad,
        None => of_copy(tensor)?,
    };
    match bad {
        None => Ok(()),
        Some((index, value)) => Err(ModelError::NonFinite { what: what.to_string(), index, value }),
    }
}

type FirstNonFinite = Option<(usize, f64)>;

/// Of a tensor that lies in the host's memory in one stretch.
fn in_place(tensor: &Tensor) -> Option<FirstNonFinite> {
    let (storage, layout) = tensor.storage_and_layout();
    let (from, to) = layout.contiguous_offsets()?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(v)) => Some(first_non_finite(&v[from..to], |x| f64::from(*x))),
        Storage::Cpu(CpuStorage::F64(v)) => Some(first_non_finite(&v[from..to], |x| *x)),
        _ => None,
    }
}

fn of_copy(tensor: &Tensor) -> Result<FirstNonFinite> {
    let host = tensor.flatten_all()?.to_device(&Device::Cpu)?;
    Ok(match tensor.dtype() {
        DType::F32 => first_non_finite(&host.to_vec1::<f32>()?, |x| f64::from(*x)),
        DType::F64 => first_non_finite(&host.to_vec1::<f64>()?, |x| *x),
        _ => first_non_finite(&host.to_dtype(DType::F32)?.to_vec1::<f32>()?, |x| f64::from(*x)),
    })
}

fn first_non_finite<T>(values: &[T], to_f64: impl Fn(&T) -> f64) -> Option<(usize, f64)> {
    values.iter().map(to_f64).enumerate().find(|(_, x)| !x.is_finite())
}

/// Refuses a batch whose per-example shape is not `example` or whose dtype is not `dtype`.
pub(crate) fn ensure_batch(x: &Tensor, example: &[usize], dtype: DType, what: &str) -> Result<()> {
    let dims = x.dims();
    if dims.len() != example.len() + 1 || dims[1..] != *example || dims[0] == 0 {
        return Err(ModelError::shape(what, format!("(N >= 1, {example:?})"), dims));
    }
    if x.dtype() != dtype {
        return Err(ModelError::DType { what: what.to_string(), expected: dtype, got: x.dtype() });
    }
    Ok(())
}

/// Whether every entry is exactly zero. On the host nothing is copied, and a first entry that is
/// not zero ends the search.
pub(crate) fn all_zero(tensor: &Tensor) -> Result<bool> {
    let (storage, layout) = tensor.storage_and_layout();
    Ok(match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(v)), Some((a, b))) => v[a..b].iter().all(|x| *x == 0.0),
        (Storage::Cpu(CpuStorage::F64(v)), Some((a, b))) => v[a..b].iter().all(|x| *x == 0.0),
        _ => tensor.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? == 0.0,
    })
}
