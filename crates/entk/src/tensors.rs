//! Kernels as tensors of candle and back, for those who go on computing with them there.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{Error, Result},
    spectral::{CrossGram, Entries, Gram},
};

/// A kernel that is a matrix of candle, too.
///
/// ```
/// use entk::{AsTensor, prelude::*};
///
/// let kernel = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 3.0])?;
/// let tensor = kernel.to_tensor(&Device::Cpu)?;
/// assert_eq!(tensor.to_vec2::<f64>()?, [[2.0, 1.0], [1.0, 3.0]]);
/// assert_eq!(Gram::from_tensor(&tensor)?, kernel);
/// # Ok::<(), Error>(())
/// ```
pub trait AsTensor: Sized {
    /// A copy of the entries as a matrix on `device`, in their type.
    ///
    /// # Errors
    /// Those of the device.
    fn to_tensor(&self, device: &Device) -> Result<Tensor>;

    /// The kernel in a matrix of f32 or f64 on any device; strides may be any.
    ///
    /// # Errors
    /// [`Error::Candle`] unless the tensor has two axes; another type, NaN, infinity, and of a
    /// [`Gram`] a matrix that is not square or not symmetric.
    fn from_tensor(tensor: &Tensor) -> Result<Self>;
}

impl AsTensor for Gram {
    fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        to_tensor(self.entries(), [self.n(), self.n()], device)
    }

    fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let (n, _) = tensor.dims2()?;
        let flat = tensor.flatten_all()?;
        Ok(match reals(tensor)? {
            DType::F32 => Self::from_symmetric_f32(n, flat.to_vec1()?)?,
            _ => Self::from_symmetric_f64(n, flat.to_vec1()?)?,
        })
    }
}

impl AsTensor for CrossGram {
    fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        to_tensor(self.entries(), [self.rows(), self.cols()], device)
    }

    fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let (rows, cols) = tensor.dims2()?;
        let flat = tensor.flatten_all()?;
        Ok(match reals(tensor)? {
            DType::F32 => Self::from_f32(rows, cols, flat.to_vec1()?)?,
            _ => Self::from_f64(rows, cols, flat.to_vec1()?)?,
        })
    }
}

fn to_tensor(entries: Entries<'_>, shape: [usize; 2], device: &Device) -> Result<Tensor> {
    Ok(match entries {
        Entries::F32(values) => Tensor::from_slice(values, &shape, device)?,
        Entries::F64(values) => Tensor::from_slice(values, &shape, device)?,
    })
}

/// The type of a tensor, if it is one that kernels are stored in.
fn reals(tensor: &Tensor) -> Result<DType> {
    match tensor.dtype() {
        dtype @ (DType::F32 | DType::F64) => Ok(dtype),
        dtype => {
            let text = format!("a kernel is f32 or f64, this tensor is {dtype:?}; convert it");
            Err(Error::Candle(candle_core::Error::Msg(text)))
        }
    }
}
