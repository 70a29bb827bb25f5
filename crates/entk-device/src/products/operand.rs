//! Matrices rounded once for many products: in comes a tensor and a precision, out go views that
//! `add_product` multiplies.

use candle_core::{DType, Tensor};

use crate::{
    error::{DeviceError, Result},
    launch::Launch,
    products::precision::{Precision, round_to_bits},
};

/// A matrix as a product sees it: rounded to a precision once, so that both sides of a product and
/// all products read the same numbers.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_device::{Operand, Precision, add_product};
///
/// let rows = Tensor::randn(0f32, 1.0, (4, 50), &Device::Cpu)?;
/// let rows = Operand::new(&rows, Precision::Tf32x3)?;
/// let gram = Tensor::zeros((4, 4), rows.accumulator(), &Device::Cpu)?;
/// add_product(&gram, &rows, &rows.t()?)?;
/// # Ok::<(), entk_device::DeviceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Operand {
    precision: Precision,
    high: Tensor,
    low: Option<Tensor>,
}

impl Operand {
    /// Rounds a matrix of f32 or f64.
    ///
    /// # Errors
    /// [`DeviceError::DType`] for other types, and those of the device.
    pub fn new(values: &Tensor, precision: Precision) -> Result<Self> {
        if !matches!(values.dtype(), DType::F32 | DType::F64) {
            let (what, expected) = ("operand of a product", "f32 or f64");
            return Err(DeviceError::DType { what, expected, got: values.dtype() });
        }
        let (high, low) = match precision {
            Precision::F64 => (values.to_dtype(DType::F64)?, None),
            Precision::F32 => (values.to_dtype(DType::F32)?, None),
            Precision::Tf32 => (nearest(values, precision)?, None),
            Precision::Bf16 => (values.to_dtype(DType::F32)?.to_dtype(DType::BF16)?, None),
            Precision::Tf32x3 => {
                let high = nearest(values, precision)?;
                let rest = (values.to_dtype(DType::F32)? - &high)?;
                (high, Some(nearest(&rest, precision)?))
            }
            Precision::Bf16x3 => {
                let values = values.to_dtype(DType::F32)?;
                let high = values.to_dtype(DType::BF16)?;
                let rest = (values - high.to_dtype(DType::F32)?)?;
                (high, Some(rest.to_dtype(DType::BF16)?))
            }
        };
        Ok(Self { precision, high, low })
    }

    /// The precision.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The element type that products are summed in.
    pub fn accumulator(&self) -> DType {
        if self.precision == Precision::F64 { DType::F64 } else { DType::F32 }
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// Other than two dimensions.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        Ok(self.high.dims2()?)
    }

    /// The rounded matrix, and what rounding left over where there are two parts.
    pub fn parts(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.high, self.low.as_ref())
    }

    /// Some rows (dimension 0) or columns (1), as a view.
    ///
    /// # Errors
    /// A range beyond the matrix.
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        self.map(|part| part.narrow(dim, start, len))
    }

    /// The transpose, as a view.
    ///
    /// # Errors
    /// Other than two dimensions.
    pub fn t(&self) -> Result<Self> {
        self.map(Tensor::t)
    }

    fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let low = self.low.as_ref().map(&f).transpose()?;
        Ok(Self { precision: self.precision, high: f(&self.high)?, low })
    }
}

/// The nearest numbers of the precision's mantissa bits, as f32.
fn nearest(values: &Tensor, precision: Precision) -> Result<Tensor> {
    let values = values.to_dtype(DType::F32)?.contiguous()?;
    let bits = precision.mantissa_bits();
    Ok(values.apply_op1_no_bwd(&Round { bits })?)
}

struct Round {
    bits: u32,
}

impl candle_core::CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu_fwd(
        &self,
        storage: &candle_core::CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("round: needs a contiguous tensor")
        };
        let values = &storage.as_slice::<f32>()?[start..end];
        let rounded = values.iter().map(|x| round_to_bits(*x, self.bits)).collect();
        Ok((candle_core::CpuStorage::F32(rounded), layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
        let launch = Launch::round(layout.shape().elem_count(), self.bits);
        Ok((launch.run(&[(storage, layout)])?, layout.shape().clone()))
    }
}
