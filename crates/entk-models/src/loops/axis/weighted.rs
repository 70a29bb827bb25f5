//! Weighted sums along one axis: a tensor and a table of taps go in, the tensor with that axis
//! replaced by the table's outputs comes out. Called by average pooling, resampling, padding and
//! choices of entries, whose transposes are weighted sums of the transposed table.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        axis::{
            phases::{merge, phase, place, split},
            taps::{AxisTaps, Run, Runs},
        },
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Entries that one task makes, about.
const TASK: usize = 1 << 13;

/// `out[o, j, i] = sum over the taps (k, w) of j of w x[o, k, i]`.
struct WeightedSum<'a> {
    taps: &'a AxisTaps,
    shape: Shape,
    inner: usize,
}

impl HostOp for WeightedSum<'_> {
    const NAME: &'static str = "weighted_sum";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        match self.inner {
            1 => self.along_last(inputs[0], out),
            _ => self.along_rows(inputs[0], out),
        }
    }

    /// One selection a tap; outputs of few taps repeat theirs with weight zero.
    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (plane, outputs) = (self.taps.inputs(), self.taps.outputs());
        let outer = self.shape.elem_count() / (outputs * self.inner);
        let x = inputs[0].reshape((outer, plane, self.inner))?;
        let (device, dtype) = (x.device(), x.dtype());
        let mut sum = Tensor::zeros((outer, outputs, self.inner), dtype, device)?;
        for at in 0..self.taps.most() {
            let tap = |taps: &[(usize, f64)]| match taps.get(at) {
                Some(tap) => *tap,
                None => (taps.first().map_or(0, |tap| tap.0), 0.0),
            };
            let (entries, weights): (Vec<_>, Vec<_>) = self.taps.iter().map(tap).unzip();
            let entries: Vec<u32> = entries.into_iter().map(|entry| entry as u32).collect();
            let entries = Tensor::from_vec(entries, outputs, device)?;
            let weights = Tensor::from_vec(weights, (outputs, 1), device)?.to_dtype(dtype)?;
            sum = (sum + x.index_select(&entries, 1)?.broadcast_mul(&weights)?)?;
        }
        Ok(sum.reshape(self.shape.clone())?)
    }
}

impl WeightedSum<'_> {
    /// Along the last axis: run by run through every row.
    fn along_last<T: Real>(&self, x: &[T], out: &mut [T]) {
        let (entries, outputs) = (self.taps.inputs(), self.taps.outputs());
        let runs = self.taps.runs();
        let rows = TASK.div_ceil(outputs);
        (out.par_chunks_mut(rows * outputs).zip(x.par_chunks(rows * entries))).for_each(
            |(out, x)| {
                vectorised(
                    #[inline(always)]
                    || {
                        let mut scratch = Vec::new();
                        let rows = x.chunks_exact(entries).zip(out.chunks_exact_mut(outputs));
                        rows.for_each(|(x, out)| add_runs(x, &runs, &mut scratch, out));
                    },
                );
            },
        );
    }

    /// Along another axis: output by output, whole rows of what lies behind the axis.
    fn along_rows<T: Real>(&self, x: &[T], out: &mut [T]) {
        let (inner, outputs) = (self.inner, self.taps.outputs());
        let taps: Vec<_> = self.taps.iter().collect();
        let plane = self.taps.inputs() * inner;
        let rows = TASK.div_ceil(inner);
        (out.par_chunks_mut(rows * inner).enumerate()).for_each(|(task, out)| {
            let first = task * rows;
            let turns = taps.iter().cycle().skip(first % outputs).zip(first..);
            vectorised(
                #[inline(always)]
                || {
                    for (out, (taps, row)) in out.chunks_exact_mut(inner).zip(turns) {
                        add_rows(&x[row / outputs * plane..], taps, out);
                    }
                },
            );
        });
    }
}

/// Adds the taps of one row; steps other than 1 go through phases in `scratch`.
#[inline(always)]
fn add_runs<T: Real>(x: &[T], runs: &Runs, scratch: &mut Vec<T>, out: &mut [T]) {
    let &Runs { entries, outputs, ref runs } = runs;
    scratch.clear();
    if entries > 1 {
        scratch.resize(phase(x.len(), entries) * entries, T::zero());
        split(x, entries, scratch);
        runs.iter().for_each(|run| {
            add_run(&scratch[place(run.entry, x.len(), entries)..], run, &mut out[run.output..]);
        });
    } else if outputs > 1 {
        scratch.resize(phase(out.len(), outputs) * outputs, T::zero());
        runs.iter().for_each(|run| {
            let to = place(run.output, out.len(), outputs);
            add_run(&x[run.entry..], run, &mut scratch[to..]);
        });
        merge(scratch, outputs, out);
    } else {
        runs.iter().for_each(|run| add_run(&x[run.entry..], run, &mut out[run.output..]));
    }
}

#[inline(always)]
fn add_run<T: Real>(x: &[T], run: &Run, out: &mut [T]) {
    let weight = T::from_f64(run.weight);
    out[..run.count].iter_mut().zip(&x[..run.count]).for_each(|(out, x)| *out += weight * *x);
}

#[inline(always)]
fn add_rows<T: Real>(x: &[T], taps: &[(usize, f64)], out: &mut [T]) {
    for (entry, weight) in taps {
        let weight = T::from_f64(*weight);
        let row = &x[*entry * out.len()..][..out.len()];
        out.iter_mut().zip(row).for_each(|(out, x)| *out += weight * *x);
    }
}

/// `x` with the entries along `axis` replaced by weighted sums of them. Cost: a multiply-add for
/// every tap of every result.
///
/// # Errors
/// Those of the device.
pub(crate) fn weighted_sums(x: &Tensor, axis: usize, taps: &AxisTaps) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    dims[axis] = taps.outputs();
    let inner = dims[axis + 1..].iter().product();
    let shape = Shape::from(dims);
    if shape.elem_count() == 0 {
        return Ok(Tensor::zeros(shape, x.dtype(), x.device())?);
    }
    WeightedSum { taps, shape, inner }.apply(&[x])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// Repeated, absent, single and many taps.
    fn tables(input: usize) -> Vec<AxisTaps> {
        let last = input - 1;
        let some = vec![vec![(0, 0.5), (last, -2.0), (0, 1.0)], vec![], vec![(last / 2, 1.0)]];
        let all = [(0..input).map(|entry| (entry, 1.0 / (entry + 1) as f64))];
        let many = (0..3 * input).map(|output| [(output % input, 1.0), (0, output as f64)]);
        vec![
            AxisTaps::new(input, some),
            AxisTaps::new(input, all),
            AxisTaps::new(input, many),
            AxisTaps::chosen(input, (0..input).rev()),
        ]
    }

    fn slow(x: &[f64], [outer, input, inner]: [usize; 3], taps: &AxisTaps) -> Vec<f64> {
        let mut out = Vec::new();
        for plane in 0..outer {
            for taps in taps.iter() {
                for at in 0..inner {
                    let term = |(k, w): &(usize, f64)| w * x[(plane * input + k) * inner + at];
                    out.push(taps.iter().map(term).sum());
                }
            }
        }
        out
    }

    #[test]
    fn sums_are_those_of_plain_loops_on_host_and_device() -> Result<()> {
        for sizes in [[3, 5, 1], [2, 4, 7], [70, 9, 130], [1, 1, 1], [5, 40, 1]] {
            let [outer, input, inner] = sizes;
            for taps in tables(input).iter().flat_map(|t| [t.clone(), t.transposed()]) {
                let x = numbers(outer * taps.inputs() * inner, 1);
                let expected = slow(&x, [outer, taps.inputs(), inner], &taps);
                let x = Tensor::from_vec(x, (outer, taps.inputs(), inner), &Device::Cpu)?;
                let shape = (outer, taps.outputs(), inner).into();
                let composed = WeightedSum { taps: &taps, shape, inner }.composed(&[&x])?;
                for sums in [weighted_sums(&x, 1, &taps)?, composed] {
                    assert_eq!(sums.dims(), [outer, taps.outputs(), inner]);
                    let sums = sums.flatten_all()?.to_vec1::<f64>()?;
                    // Terms of size 2 weight, one rounding each.
                    let terms = taps.most() as f64;
                    let tolerance = 4.0 * terms * terms * (3 * input) as f64 * f64::EPSILON;
                    for (sum, expected) in sums.iter().zip(&expected) {
                        assert!((sum - expected).abs() <= tolerance, "{sum} {expected}");
                    }
                }
            }
        }
        Ok(())
    }
}
