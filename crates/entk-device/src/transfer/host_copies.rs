//! Copies to the host that run while the device computes on: tiles of a Gram go in, their entries
//! come out. Called where a kernel leaves the device.

use candle_core::{DType, Device, Tensor};

use crate::{
    device::{Entry, Pinned},
    error::{DeviceError, Result},
};

/// Copies to the host that run while the device computes on: tensors go in, their entries come out
/// in the same order.
///
/// On a GPU each copy has a page-locked buffer and all share a stream of their own, which waits
/// for what the device was given before the copy was started, and for nothing later. On the CPU
/// nothing is copied.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use entk_device::HostCopies;
///
/// let mut copies = HostCopies::<f64>::new(&Device::Cpu, 6, 2)?;
/// copies.start(Tensor::ones((2, 3), candle_core::DType::F64, &Device::Cpu)?)?;
/// assert_eq!(copies.take(|entries| entries.iter().sum::<f64>())?, Some(6.0));
/// assert_eq!(copies.take(|entries| entries.len())?, None);
/// # Ok::<(), entk_device::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct HostCopies<T: Entry> {
    pinned: Pinned<T>,
    capacity: usize,
    slots: usize,
}

impl<T: Entry> HostCopies<T> {
    /// Takes `slots` buffers of `capacity` entries each.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(device: &Device, capacity: usize, slots: usize) -> Result<Self> {
        Ok(Self { pinned: Pinned::new(device, capacity, slots)?, capacity, slots })
    }

    /// Copies under way or waiting to be taken.
    pub fn len(&self) -> usize {
        self.pinned.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`start`](Self::start) needs a [`take`](Self::take) first.
    pub fn is_full(&self) -> bool {
        self.len() == self.slots
    }

    /// Starts to copy a contiguous tensor, which is kept until its copy is taken.
    ///
    /// # Errors
    /// [`DeviceError::Busy`] where all buffers are in use; a tensor of another type, longer than a
    /// buffer or not contiguous; those of the driver.
    pub fn start(&mut self, tensor: Tensor) -> Result<()> {
        let what = "copy to the host";
        if self.is_full() {
            return Err(DeviceError::Busy { slots: self.slots });
        }
        if tensor.dtype() != T::DTYPE {
            let expected = if T::DTYPE == DType::F64 { "f64" } else { "f32" };
            return Err(DeviceError::DType { what, expected, got: tensor.dtype() });
        }
        if tensor.elem_count() > self.capacity || !tensor.is_contiguous() {
            let expected = format!("at most {} contiguous entries", self.capacity);
            return Err(DeviceError::Shape { what, expected, got: tensor.dims().to_vec() });
        }
        self.pinned.start(tensor)
    }

    /// Waits for the oldest copy and hands over its entries, row-major; `None` where there is none.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn take<R>(&mut self, read: impl FnOnce(&[T]) -> R) -> Result<Option<R>> {
        self.pinned.take(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_come_back_in_order_and_bad_ones_are_refused() -> Result<()> {
        let mut copies = HostCopies::<f32>::new(&Device::Cpu, 6, 2)?;
        let tensor = Tensor::arange(0f32, 6.0, &Device::Cpu)?.reshape((2, 3))?;
        assert!(matches!(copies.start(tensor.t()?), Err(DeviceError::Shape { .. })));
        assert!(matches!(
            copies.start(tensor.to_dtype(DType::F64)?),
            Err(DeviceError::DType { got: DType::F64, .. })
        ));
        let long = Tensor::zeros(7, DType::F32, &Device::Cpu)?;
        assert!(matches!(copies.start(long), Err(DeviceError::Shape { .. })));
        copies.start(tensor.clone())?;
        copies.start(tensor.narrow(0, 1, 1)?)?;
        assert!(copies.is_full());
        assert!(matches!(copies.start(tensor), Err(DeviceError::Busy { slots: 2 })));
        assert_eq!(copies.take(<[f32]>::to_vec)?, Some(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(copies.take(<[f32]>::to_vec)?, Some(vec![3.0, 4.0, 5.0]));
        assert!(copies.is_empty() && copies.take(<[f32]>::len)?.is_none());
        Ok(())
    }
}
