//! Steps in parameter space: two tensors and a factor go in, their sum comes out. Called by
//! `Params`.

use candle_core::{DType, Shape, Tensor};

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// `x + alpha y`, entry by entry.
struct AddScaled {
    alpha: f64,
    shape: Shape,
}

impl HostOp for AddScaled {
    const NAME: &'static str = "add_scaled";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let alpha = T::from_f64(self.alpha);
        vectorised(|| {
            let pairs = inputs[0].iter().zip(inputs[1]);
            out.iter_mut().zip(pairs).for_each(|(out, (x, y))| *out = *x + alpha * *y);
        });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok((inputs[0] + (inputs[1] * self.alpha)?)?)
    }
}

/// `x + alpha y`.
///
/// On the host one plain loop. Tensor arithmetic would take two passes through a thread pool of its
/// own, at several times the cost: more than the sweeps of a small network.
pub(crate) fn add_scaled(x: &Tensor, alpha: f64, y: &Tensor) -> Result<Tensor> {
    let op = AddScaled { alpha, shape: x.shape().clone() };
    if matches!(x.dtype(), DType::F32 | DType::F64) && x.dtype() == y.dtype() {
        return op.apply(&[x, y]);
    }
    op.composed(&[x, y])
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::*;

    #[test]
    fn views_are_added_entry_by_entry() -> Result<()> {
        let base = Tensor::arange(0f64, 24.0, &Device::Cpu)?.reshape((2, 3, 4))?;
        let x = base.i(1)?.transpose(0, 1)?;
        let y = base.i(0)?.transpose(0, 1)?;
        for dtype in [DType::F32, DType::F64] {
            let (x, y) = (x.to_dtype(dtype)?, y.to_dtype(dtype)?);
            let sum = add_scaled(&x, -0.5, &y)?;
            let expected = (&x - (&y * 0.5)?)?;
            assert_eq!(sum.dims(), [4, 3]);
            assert_eq!(
                sum.to_dtype(DType::F64)?.to_vec2::<f64>()?,
                expected.to_dtype(DType::F64)?.to_vec2::<f64>()?
            );
        }
        Ok(())
    }
}
