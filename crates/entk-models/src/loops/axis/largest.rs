//! Positions of the largest entries of windows: planes and the windows along both of their axes go
//! in, the number of an entry for each window comes out. Called by max pooling and by the maximum
//! over axes, which read and write their entries by these numbers.

use candle_core::{
    CpuStorage, CustomOp1, DType, Layout, Result as CandleResult, Shape, Tensor, WithDType,
};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        axis::{strided::contiguous, taps::AxisTaps},
        host_op::{host_slice, on_host, vectorised},
        real::Real,
    },
};

/// Entries that one task reads, at least.
const TASK: usize = 1 << 13;

/// The windows of planes (H, W): the product of those along each axis, which read ascending
/// entries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlaneWindows {
    /// Windows along H.
    pub(crate) rows: AxisTaps,
    /// Windows along W.
    pub(crate) columns: AxisTaps,
}

impl PlaneWindows {
    fn inputs(&self) -> usize {
        self.rows.inputs() * self.columns.inputs()
    }

    fn outputs(&self) -> usize {
        self.rows.outputs() * self.columns.outputs()
    }

    /// Fills `out` with the positions in `x` of the largest entries: in every row those of its
    /// windows, then among rows, each time the first of equals, so that the first in row-major
    /// order is found. A NaN is larger than every number, and the last NaN wins.
    #[inline(always)]
    fn largest<T: Real>(&self, x: &[T], scratch: &mut Vec<(T, u32)>, out: &mut [u32]) {
        let (width, outputs) = (self.columns.inputs(), self.columns.outputs());
        scratch.clear();
        for (row, x) in x.chunks_exact(width).enumerate() {
            for taps in self.columns.iter() {
                let first = taps[0].0;
                let mut best = (x[first], first);
                for (column, _) in &taps[1..] {
                    best = larger(best, (x[*column], *column));
                }
                scratch.push((best.0, (row * width + best.1) as u32));
            }
        }
        for (taps, out) in self.rows.iter().zip(out.chunks_exact_mut(outputs)) {
            for (column, out) in out.iter_mut().enumerate() {
                let at = |row: usize| scratch[row * outputs + column];
                *out = taps[1..].iter().fold(at(taps[0].0), |best, tap| larger(best, at(tap.0))).1;
            }
        }
    }

    /// From operations of tensors: `x` and the result are (planes, H, W) and (planes, H', W').
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let (_, height, width) = x.dims3()?;
        let positions = Tensor::arange(0, (height * width) as u32, x.device())?;
        let positions = positions.reshape((1, height, width))?.broadcast_as(x.dims())?;
        let columns = largest_along(2, &self.columns, (x.clone(), positions.contiguous()?))?;
        Ok(largest_along(1, &self.rows, columns)?.1)
    }
}

#[inline(always)]
fn larger<T: Real, P>(best: (T, P), next: (T, P)) -> (T, P) {
    #[expect(clippy::eq_op, reason = "true for NaN alone")]
    let wins = next.0 > best.0 || next.0 != next.0;
    if wins { next } else { best }
}

/// The largest values and their positions along one axis, tap by tap; windows of few repeat their
/// last.
fn largest_along(
    axis: usize,
    taps: &AxisTaps,
    (values, positions): (Tensor, Tensor),
) -> Result<(Tensor, Tensor)> {
    let mut best: Option<(Tensor, Tensor)> = None;
    for at in 0..taps.most() {
        let tap = |taps: &[(usize, f64)]| taps[at.min(taps.len() - 1)].0 as u32;
        let entries: Vec<u32> = taps.iter().map(tap).collect();
        let entries = Tensor::from_vec(entries, taps.outputs(), values.device())?;
        let next = (values.index_select(&entries, axis)?, positions.index_select(&entries, axis)?);
        best = Some(match best {
            None => next,
            Some(best) => {
                let wins = (next.0.gt(&best.0)? + next.0.ne(&next.0)?)?;
                (wins.where_cond(&next.0, &best.0)?, wins.where_cond(&next.1, &best.1)?)
            }
        });
    }
    best.ok_or_else(|| candle_core::Error::Msg("largest entries: no window".into()).into())
}

struct Largest<'a> {
    windows: &'a PlaneWindows,
    planes: usize,
}

impl Largest<'_> {
    fn run<T: Real>(&self, x: &[T]) -> CpuStorage {
        let (inputs, outputs) = (self.windows.inputs(), self.windows.outputs());
        let mut out = vec![0; self.planes * outputs];
        (out.par_chunks_mut(outputs).zip(x.par_chunks(inputs)))
            .with_min_len((TASK / inputs).max(1))
            .for_each_init(Vec::new, |scratch, (out, x)| {
                vectorised(
                    #[inline(always)]
                    || self.windows.largest(x, scratch, out),
                );
            });
        u32::to_cpu_storage_owned(out)
    }
}

impl CustomOp1 for Largest<'_> {
    fn name(&self) -> &'static str {
        "largest"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let out = match storage {
            CpuStorage::F32(_) => self.run::<f32>(host_slice(&(storage, layout))?),
            CpuStorage::F64(_) => self.run::<f64>(host_slice(&(storage, layout))?),
            _ => return Err(candle_core::Error::Msg("largest: needs f32 or f64".into())),
        };
        Ok((out, (self.planes, self.windows.outputs()).into()))
    }
}

/// For every plane of `x`, (planes, H W) in any shape, and every window the position in its plane
/// of the largest entry, u32, (planes, H' W'): the first of equals, and a NaN before any number.
/// Each window has to read an entry. Cost: a comparison for every row and tap along W, and for
/// every window and tap along H.
///
/// # Errors
/// Those of the device.
pub(crate) fn largest(x: &Tensor, windows: &PlaneWindows) -> Result<Tensor> {
    let (inputs, outputs) = (windows.inputs(), windows.outputs());
    let planes = if inputs == 0 { 0 } else { x.elem_count() / inputs };
    if planes * outputs == 0 {
        return Ok(Tensor::zeros((planes, outputs), DType::U32, x.device())?);
    }
    let x = contiguous(x)?;
    if on_host(&x) {
        return Ok(x.apply_op1_no_bwd(&Largest { windows, planes })?);
    }
    let x = x.reshape((planes, windows.rows.inputs(), windows.columns.inputs()))?;
    Ok(windows.composed(&x)?.reshape((planes, outputs))?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    fn windows(input: usize, window: usize, stride: usize, dilation: usize) -> AxisTaps {
        let starts = (0..input).step_by(stride);
        AxisTaps::new(
            input,
            starts.map(|start| {
                let taps = (0..window).map(move |at| start + at * dilation);
                taps.filter(move |entry| *entry < input).map(|entry| (entry, 1.0))
            }),
        )
    }

    /// Every entry of every window, in row-major order.
    fn slow(x: &[f64], windows: &PlaneWindows) -> Vec<u32> {
        let width = windows.columns.inputs();
        let mut out = Vec::new();
        for x in x.chunks(windows.inputs()) {
            for rows in windows.rows.iter() {
                for columns in windows.columns.iter() {
                    let entries = rows.iter().flat_map(|r| columns.iter().map(move |c| (r.0, c.0)));
                    let mut best = None;
                    for at in entries.map(|(row, column)| row * width + column) {
                        if best.is_none_or(|best: usize| x[at] > x[best] || x[at].is_nan()) {
                            best = Some(at);
                        }
                    }
                    out.push(best.expect("a window with an entry") as u32);
                }
            }
        }
        out
    }

    #[test]
    fn positions_are_those_of_plain_loops_on_host_and_device() -> Result<()> {
        let all = |size: usize| AxisTaps::new(size, [(0..size).map(|entry| (entry, 1.0))]);
        let cases = [
            (windows(7, 3, 2, 1), windows(9, 3, 2, 1)),
            (windows(8, 2, 2, 2), windows(5, 3, 1, 1)),
            (AxisTaps::identity(1), windows(13, 4, 3, 1)),
            (all(6), AxisTaps::identity(11)),
            (all(4), all(5)),
        ];
        for (rows, columns) in cases {
            let windows = PlaneWindows { rows, columns };
            let planes = 37;
            let mut x = numbers(planes * windows.inputs(), 1);
            // Ties everywhere, and a few NaN.
            x.iter_mut().for_each(|x| *x = x.round());
            x.iter_mut().step_by(41).for_each(|x| *x = f64::NAN);
            let expected = slow(&x, &windows);
            let x = Tensor::from_vec(x, planes * windows.inputs(), &Device::Cpu)?;
            for dtype in [DType::F32, DType::F64] {
                let x = x.to_dtype(dtype)?;
                let sides = (planes, windows.rows.inputs(), windows.columns.inputs());
                let composed = windows.composed(&x.reshape(sides)?)?;
                for positions in [largest(&x, &windows)?, composed] {
                    assert_eq!(positions.flatten_all()?.to_vec1::<u32>()?, expected);
                }
            }
        }
        Ok(())
    }
}
