use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor, WithDType, bail};
use entk_models::{ModelError, Params};

/// `a + alpha b` over all of theta; the statistics are those of `a`.
///
/// On the CPU one plain loop for each tensor. Tensor arithmetic would take two passes through a
/// thread pool of its own, at several times the cost: more than the sweeps of a small network.
pub(crate) fn add_scaled(a: &Params, alpha: f64, b: &Params) -> Result<Params, ModelError> {
    a.zip(b, |x, y| {
        Ok(if fused(x) {
            x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &AddScaled(alpha))?
        } else {
            on_device(x, alpha, y)?
        })
    })
}

/// Whether one plain loop on the host does it.
pub(crate) fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

fn on_device(x: &Tensor, alpha: f64, y: &Tensor) -> candle_core::Result<Tensor> {
    x + (y * alpha)?
}

/// `x + alpha y`, element by element.
struct AddScaled(f64);

impl CustomOp2 for AddScaled {
    fn name(&self) -> &'static str {
        "add-scaled"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sum = match (x, y) {
            (CpuStorage::F32(x), CpuStorage::F32(y)) => {
                CpuStorage::F32(sum(slice(x, x_layout)?, self.0 as f32, slice(y, y_layout)?))
            }
            (CpuStorage::F64(x), CpuStorage::F64(y)) => {
                CpuStorage::F64(sum(slice(x, x_layout)?, self.0, slice(y, y_layout)?))
            }
            _ => bail!("add-scaled: the two tensors must both be f32 or both f64"),
        };
        Ok((sum, x_layout.shape().clone()))
    }
}

/// The entries of a contiguous tensor.
pub(crate) fn slice<'a, T>(data: &'a [T], layout: &Layout) -> candle_core::Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("add-scaled: the tensors must be contiguous"),
    }
}

fn sum<T: WithDType>(x: &[T], alpha: T, y: &[T]) -> Vec<T> {
    x.iter().zip(y).map(|(&x, &y)| x + alpha * y).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::*;

    fn params(tensor: Tensor) -> Params {
        Params::new(vec![("w".to_string(), tensor)], vec![]).expect("finite")
    }

    #[test]
    fn views_are_added_element_by_element() -> Result<(), ModelError> {
        let base = Tensor::arange(0f64, 24.0, &Device::Cpu)?.reshape((2, 3, 4))?;
        let x = base.i(1)?.transpose(0, 1)?;
        let y = base.i(0)?.transpose(0, 1)?;
        for dtype in [DType::F32, DType::F64] {
            let (x, y) = (x.to_dtype(dtype)?, y.to_dtype(dtype)?);
            let sum = add_scaled(&params(x.clone()), -0.5, &params(y.clone()))?;
            let expected = on_device(&x, -0.5, &y)?;
            assert_eq!(sum.get("w")?.dims(), [4, 3]);
            assert_eq!(
                sum.get("w")?.to_dtype(DType::F64)?.to_vec2::<f64>()?,
                expected.to_dtype(DType::F64)?.to_vec2::<f64>()?
            );
        }
        Ok(())
    }
}
