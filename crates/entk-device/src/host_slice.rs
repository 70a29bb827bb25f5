//! The entries of a tensor on the host, read in place: the last step of a copy from a GPU, and the
//! only one on the CPU. Called by `device` and by `no_device`.

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
