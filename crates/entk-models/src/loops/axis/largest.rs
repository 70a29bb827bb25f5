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
        axis::{
            phases::{phase, place, split},
            strided::contiguous,
            taps::{AxisTaps, Runs},
        },
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

    /// Whether there is one window, which is the whole plane.
    fn is_whole(&self) -> bool {
        self.outputs() == 1 && self.rows.most() * self.columns.most() == self.inputs()
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

/// The position of the largest entry of a plane: the first of equals, or the last NaN.
#[inline(always)]
fn largest_of_all<T: Real>(x: &[T]) -> u32 {
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); 16];
    for chunk in x.chunks(lanes.len()) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = larger((*lane, ()), (*x, ())).0);
    }
    let most = lanes.into_iter().fold(lanes[0], |most, x| larger((most, ()), (x, ())).0);
    let position = match most.partial_cmp(&most) {
        Some(_) => x.iter().position(|x| *x == most),
        None => x.iter().rposition(|x| x.partial_cmp(x).is_none()),
    };
    position.unwrap_or(0) as u32
}

/// What the loop over planes needs of the windows.
struct Largest<'a> {
    windows: &'a PlaneWindows,
    planes: usize,
    runs: Runs,
    /// The first column of every window along W.
    firsts: Vec<u32>,
}

impl<'a> Largest<'a> {
    fn new(windows: &'a PlaneWindows, planes: usize) -> Self {
        let first = |taps: &[(usize, f64)]| taps[0].0 as u32;
        let firsts = windows.columns.iter().map(first).collect();
        Self { windows, planes, runs: windows.columns.runs_of_outputs(), firsts }
    }

    /// Fills `out` with the positions of one plane, window by window in row-major order, so that of
    /// equals the first is found. A NaN is larger than every number, and the last NaN wins.
    #[inline(always)]
    fn plane<T: Real>(&self, x: &[T], scratch: &mut Vec<T>, out: &mut [u32]) {
        let (width, outputs) = (self.windows.columns.inputs(), self.firsts.len());
        let step = self.runs.entries;
        let phases = phase(width, step) * step;
        scratch.clear();
        scratch.resize(outputs + x.len() / width * phases, T::zero());
        let (best, scratch) = scratch.split_at_mut(outputs);
        let x = if step == 1 { x } else { split_rows(x, width, step, scratch) };
        for (rows, out) in self.windows.rows.iter().zip(out.chunks_exact_mut(outputs)) {
            best.fill(T::from_f64(f64::NEG_INFINITY));
            let start = (rows[0].0 * width) as u32;
            out.iter_mut().zip(&self.firsts).for_each(|(out, first)| *out = start + first);
            for (row, _) in rows {
                for run in &self.runs.runs {
                    let x = &x[row * phases + place(run.entry, width, step)..][..run.count];
                    let first = (row * width + run.entry) as u32;
                    let windows = run.output..run.output + run.count;
                    update(x, [first, step as u32], &mut best[windows.clone()], &mut out[windows]);
                }
            }
        }
    }

    fn run<T: Real>(&self, x: &[T]) -> CpuStorage {
        let (inputs, outputs) = (self.windows.inputs(), self.windows.outputs());
        let mut out = vec![0; self.planes * outputs];
        let whole = self.windows.is_whole();
        (out.par_chunks_mut(outputs).zip(x.par_chunks(inputs)))
            .with_min_len((TASK / inputs).max(1))
            .for_each_init(Vec::new, |scratch, (out, x)| {
                vectorised(
                    #[inline(always)]
                    || match whole {
                        true => out[0] = largest_of_all(x),
                        false => self.plane(x, scratch, out),
                    },
                );
            });
        u32::to_cpu_storage_owned(out)
    }
}

/// The rows of a plane, each split into phases.
#[inline(always)]
fn split_rows<'s, T: Real>(x: &[T], width: usize, step: usize, scratch: &'s mut [T]) -> &'s [T] {
    let rows = scratch.chunks_exact_mut(phase(width, step) * step).zip(x.chunks_exact(width));
    rows.for_each(|(phases, row)| split(row, step, phases));
    scratch
}

/// Lets windows choose between what they have and an entry each, at positions `first`,
/// `first + step`, ...
#[inline(always)]
fn update<T: Real>(x: &[T], [first, step]: [u32; 2], best: &mut [T], out: &mut [u32]) {
    let mut position = first;
    for ((best, out), x) in best.iter_mut().zip(out).zip(x) {
        let wins = larger((*best, false), (*x, true)).1;
        *best = if wins { *x } else { *best };
        *out = if wins { position } else { *out };
        position = position.wrapping_add(step);
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
    let planes = x.elem_count().checked_div(inputs).unwrap_or(0);
    if planes * outputs == 0 {
        return Ok(Tensor::zeros((planes, outputs), DType::U32, x.device())?);
    }
    let x = contiguous(x)?;
    if on_host(&x) {
        return Ok(x.apply_op1_no_bwd(&Largest::new(windows, planes))?);
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
