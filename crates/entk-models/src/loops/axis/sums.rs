//! Sums over one axis and their transpose, which repeats entries along one. Called by reductions,
//! whose means are sums times a constant.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        channel::{plane_sums, sum_slice},
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Entries that one task reads or makes, at least.
const TASK: usize = 1 << 13;

/// A tensor seen as (outer, axis, inner).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Product of the sizes before.
    pub(crate) outer: usize,
    /// Entries along the axis.
    pub(crate) size: usize,
    /// Product of the sizes behind.
    pub(crate) inner: usize,
}

impl Axis {
    /// Neighbouring axes of a tensor as one.
    pub(crate) fn of(dims: &[usize], axes: std::ops::Range<usize>) -> Self {
        let product = |dims: &[usize]| dims.iter().product();
        let (outer, inner) = (product(&dims[..axes.start]), product(&dims[axes.end..]));
        Self { outer, size: product(&dims[axes]), inner }
    }

    fn entries(&self) -> usize {
        self.outer * self.size * self.inner
    }

    fn least(&self) -> usize {
        (TASK / (self.size * self.inner)).max(1)
    }
}

/// (outer, axis, inner) -> (outer, inner), times a constant.
struct AxisSum {
    axis: Axis,
    scale: f64,
}

impl HostOp for AxisSum {
    const NAME: &'static str = "axis_sum";

    fn output(&self) -> Shape {
        (self.axis.outer, self.axis.inner).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (axis, scale) = (self.axis, T::from_f64(self.scale));
        (out.par_chunks_mut(axis.inner).zip(inputs[0].par_chunks(axis.size * axis.inner)))
            .with_min_len(axis.least())
            .for_each(|(out, x)| {
                vectorised(
                    #[inline(always)]
                    || {
                        if let [out] = out {
                            *out = sum_slice(x);
                        } else {
                            for x in x.chunks_exact(axis.inner) {
                                out.iter_mut().zip(x).for_each(|(out, x)| *out += *x);
                            }
                        }
                        out.iter_mut().for_each(|out| *out *= scale);
                    },
                );
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let Axis { outer, size, inner } = self.axis;
        let sums = match inner {
            1 => plane_sums(inputs[0], outer, size)?,
            _ => inputs[0].reshape((outer, size, inner))?.sum(1)?,
        };
        Ok((sums.reshape((outer, inner))? * self.scale)?)
    }
}

/// (outer, inner) -> (outer, axis, inner), times a constant: the transpose of [`AxisSum`].
struct Repeat {
    axis: Axis,
    scale: f64,
}

impl HostOp for Repeat {
    const NAME: &'static str = "repeat";

    fn output(&self) -> Shape {
        (self.axis.outer, self.axis.size, self.axis.inner).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (axis, scale) = (self.axis, T::from_f64(self.scale));
        (out.par_chunks_mut(axis.size * axis.inner).zip(inputs[0].par_chunks(axis.inner)))
            .with_min_len(axis.least())
            .for_each(|(out, x)| {
                vectorised(
                    #[inline(always)]
                    || match x {
                        [x] => out.fill(*x * scale),
                        x => (out.chunks_exact_mut(axis.inner)).for_each(|out| {
                            out.iter_mut().zip(x).for_each(|(out, x)| *out = *x * scale);
                        }),
                    },
                );
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let Axis { outer, size, inner } = self.axis;
        let scaled = (inputs[0].reshape((outer, 1, inner))? * self.scale)?;
        Ok(scaled.broadcast_as((outer, size, inner))?.contiguous()?)
    }
}

/// `scale` times the sums of `x` over an axis, (outer, inner). Those over the last axis are in
/// eight lanes, the others in the order of the axis.
///
/// # Errors
/// Those of the device.
pub(crate) fn axis_sums(x: &Tensor, axis: Axis, scale: f64) -> Result<Tensor> {
    if axis.entries() == 0 {
        return Ok(Tensor::zeros((axis.outer, axis.inner), x.dtype(), x.device())?);
    }
    AxisSum { axis, scale }.apply(&[x])
}

/// `scale` times `y`, (outer, inner), along a new axis: the transpose of [`axis_sums`].
///
/// # Errors
/// Those of the device.
pub(crate) fn repeated(y: &Tensor, axis: Axis, scale: f64) -> Result<Tensor> {
    if axis.entries() == 0 {
        return Ok(Tensor::zeros((axis.outer, axis.size, axis.inner), y.dtype(), y.device())?);
    }
    Repeat { axis, scale }.apply(&[y])
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loops::host_op::testing::numbers;

    const AXES: [Axis; 6] = [
        Axis { outer: 1, size: 1, inner: 1 },
        Axis { outer: 5, size: 37, inner: 1 },
        Axis { outer: 3, size: 150, inner: 1 },
        Axis { outer: 4, size: 3, inner: 11 },
        Axis { outer: 1, size: 197, inner: 64 },
        Axis { outer: 900, size: 2, inner: 7 },
    ];

    fn host(x: &Tensor) -> Result<Vec<f64>> {
        Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    }

    #[test]
    fn sums_and_repetitions_are_those_of_plain_loops_on_host_and_device() -> Result<()> {
        for axis in AXES {
            let Axis { outer, size, inner } = axis;
            let (x, y) = (numbers(axis.entries(), 1), numbers(outer * inner, 2));
            let entry = |o: usize, k: usize, i: usize| (o * size + k) * inner + i;
            let places = || (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
            let sums: Vec<f64> = places()
                .map(|(o, i)| (0..size).map(|k| x[entry(o, k, i)]).sum::<f64>() * 0.25)
                .collect();
            let mut copies = vec![0.0; axis.entries()];
            for (o, i) in places() {
                (0..size).for_each(|k| copies[entry(o, k, i)] = y[o * inner + i] * 0.25);
            }
            for (dtype, unit) in [(DType::F64, f64::EPSILON), (DType::F32, 1.2e-7)] {
                let tensor = |v: &[f64], shape: (usize, usize, usize)| {
                    Tensor::from_slice(v, shape, &Device::Cpu)?.to_dtype(dtype)
                };
                let x = tensor(&x, (outer, size, inner))?;
                let y = tensor(&y, (outer, 1, inner))?;
                let scale = 0.25;
                let sum = AxisSum { axis, scale };
                // Terms of size 2, one rounding each, added one by one.
                let tolerance = 2.0 * (size * size) as f64 * unit;
                for result in [sum.composed(&[&x])?, axis_sums(&x, axis, scale)?] {
                    for (result, sum) in host(&result)?.iter().zip(&sums) {
                        assert!((result - sum).abs() <= tolerance, "{axis:?}: {result} {sum}");
                    }
                }
                for result in [Repeat { axis, scale }.composed(&[&y])?, repeated(&y, axis, scale)?]
                {
                    for (result, copy) in host(&result)?.iter().zip(&copies) {
                        assert!((result - copy).abs() <= unit, "{axis:?}: {result} {copy}");
                    }
                }
            }
        }
        Ok(())
    }
}
