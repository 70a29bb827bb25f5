//! The entries of a tensor on the host, in place: what a copy from a GPU ends with, and all that
//! one on the CPU is. Called by both makes of the device module.

use candle_core::{Storage, Tensor, WithDType};

use crate::error::{DeviceError, Result};

/// The entries of a contiguous tensor of the host.
pub(crate) fn on_host<T: WithDType, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => {
            Ok(read(&T::cpu_storage_as_slice(storage)?[start..end]))
        }
        _ => Err(DeviceError::Shape {
            what: "copy to the host",
            expected: "a contiguous tensor of the CPU".to_string(),
            got: tensor.dims().to_vec(),
        }),
    }
}
