//! Tensors from one device to another: a tensor and a device come in, the tensor there goes out.
//! Called wherever parameters or inputs are moved.

use candle_core::{Device, Result, Tensor};

/// The tensor on another device. Between two GPUs it waits for both: the copy itself runs on the
/// stream of the second, which does not know when the first has computed the tensor, nor the first
/// when the copy has been made.
///
/// # Errors
/// Those of the devices.
pub fn to_device(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    let from = tensor.device();
    if from.same_device(device) || !(from.is_cuda() && device.is_cuda()) {
        return tensor.to_device(device);
    }
    from.synchronize()?;
    let copy = tensor.to_device(device)?;
    device.synchronize()?;
    Ok(copy)
}
