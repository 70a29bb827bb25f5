//! Tensors on their way between devices: a tensor comes in; it goes out on another device, or its
//! entries where it is on the host already. Called wherever parameters or inputs are moved, and by
//! `device` and `no_device` as the last step of a copy from a GPU.

pub(crate) mod host_copies;

use candle_core::{Device, Storage, Tensor, WithDType};

use crate::error::{DeviceError, Result};

/// The tensor on another device. Between two GPUs it waits for the copy: this runs on the stream of
/// the second, which waits until the first has computed the tensor, but the first does not know
/// when the copy has been made, and may use the tensor's memory again.
///
/// # Errors
/// Those of the devices.
pub fn to_device(tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    let from = tensor.device();
    if from.same_device(device) || !(from.is_cuda() && device.is_cuda()) {
        return tensor.to_device(device);
    }
    let copy = tensor.to_device(device)?;
    device.synchronize()?;
    Ok(copy)
}

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
