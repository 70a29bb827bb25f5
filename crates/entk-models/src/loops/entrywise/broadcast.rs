//! Sums, differences, products and quotients of two tensors with broadcasting. Tensors have a
//! leading axis of examples, or of one entry for all examples; the others are aligned at the last,
//! as NumPy does. Called by the operations of two values.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        axis::strided::contiguous,
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Entries of one task.
const TASK: usize = 1 << 14;

/// What is done with two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Subtract,
    /// a b.
    Multiply,
    /// a / b.
    Divide,
}

/// Neighbouring axes of the result that both inputs share in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    size: usize,
    /// Whether a and b have these axes; the one that does not repeats its entry.
    has: [bool; 2],
    /// Distance between neighbours in a and b, 0 where it repeats.
    strides: [usize; 2],
}

/// The runs of axes, outermost first: at least one.
fn runs(out: &[usize], inputs: [&[usize]; 2]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (axis, &size) in out.iter().enumerate().filter(|(_, size)| **size != 1) {
        let has = inputs.map(|dims| dims[axis] == size);
        match runs.last_mut().filter(|last| last.has == has) {
            Some(last) => last.size *= size,
            None => runs.push(Run { size, has, strides: [0; 2] }),
        }
    }
    if runs.is_empty() {
        runs.push(Run { size: 1, has: [true; 2], strides: [0; 2] });
    }
    let mut strides = [1; 2];
    for run in runs.iter_mut().rev() {
        let Run { size, has, strides: of_run } = run;
        for ((has, of_run), stride) in has.iter().zip(of_run).zip(&mut strides) {
            if *has {
                *of_run = *stride;
                *stride *= *size;
            }
        }
    }
    runs
}

/// One rule applied to two tensors with broadcasting.
struct Broadcast {
    rule: Binary,
    shape: Shape,
    runs: Vec<Run>,
}

impl Broadcast {
    /// Where the entries of a and b for the start of this row of the innermost run are.
    fn offsets(&self, mut row: usize) -> [usize; 2] {
        let mut offsets = [0; 2];
        for run in self.runs.iter().rev().skip(1) {
            let at = row % run.size;
            row /= run.size;
            offsets = [0, 1].map(|input| offsets[input] + at * run.strides[input]);
        }
        offsets
    }

    /// Fills `out`, which starts at entry `first` of the result, row by row.
    #[inline(always)]
    fn fill<T: Real>(&self, f: impl Fn(T, T) -> T, first: usize, [a, b]: [&[T]; 2], out: &mut [T]) {
        let Some(inner) = self.runs.last() else { return };
        let mut done = 0;
        while done < out.len() {
            let (row, column) = ((first + done) / inner.size, (first + done) % inner.size);
            let length = (inner.size - column).min(out.len() - done);
            let starts = self.offsets(row);
            let [a_at, b_at] = [0, 1].map(|at| starts[at] + column * inner.strides[at]);
            let part = &mut out[done..done + length];
            match inner.has {
                [true, true] => {
                    let pairs = a[a_at..a_at + length].iter().zip(&b[b_at..b_at + length]);
                    for (o, (a, b)) in part.iter_mut().zip(pairs) {
                        *o = f(*a, *b);
                    }
                }
                [true, false] => {
                    let b = b[b_at];
                    for (o, a) in part.iter_mut().zip(&a[a_at..]) {
                        *o = f(*a, b);
                    }
                }
                _ => {
                    let a = a[a_at];
                    for (o, b) in part.iter_mut().zip(&b[b_at..]) {
                        *o = f(a, *b);
                    }
                }
            }
            done += length;
        }
    }

    fn task<T: Real>(&self, first: usize, inputs: [&[T]; 2], out: &mut [T]) {
        match self.rule {
            Binary::Add => vectorised(
                #[inline(always)]
                || self.fill(|a, b| a + b, first, inputs, out),
            ),
            Binary::Subtract => vectorised(
                #[inline(always)]
                || self.fill(|a, b| a - b, first, inputs, out),
            ),
            Binary::Multiply => vectorised(
                #[inline(always)]
                || self.fill(|a, b| a * b, first, inputs, out),
            ),
            Binary::Divide => vectorised(
                #[inline(always)]
                || self.fill(|a, b| a / b, first, inputs, out),
            ),
        }
    }
}

impl HostOp for Broadcast {
    const NAME: &'static str = "broadcast";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        (out.par_chunks_mut(TASK).enumerate())
            .for_each(|(task, out)| self.task(task * TASK, [inputs[0], inputs[1]], out));
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (a, b) = (inputs[0], inputs[1]);
        let result = match self.rule {
            Binary::Add => a.broadcast_add(b),
            Binary::Subtract => a.broadcast_sub(b),
            Binary::Multiply => a.broadcast_mul(b),
            Binary::Divide => a.broadcast_div(b),
        };
        Ok(result?.broadcast_as(self.shape.clone())?)
    }
}

/// Sizes with ones behind the first, up to this many axes.
pub(super) fn aligned(dims: &[usize], rank: usize) -> Vec<usize> {
    let (examples, shape) = dims.split_at(1);
    [examples, &vec![1; rank.saturating_sub(dims.len())], shape].concat()
}

/// The sizes of the result; those of a where they do not fit together.
pub(crate) fn broadcast_dims(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let pairs = aligned(a, rank).into_iter().zip(aligned(b, rank));
    pairs.map(|(a, b)| if a == 1 { b } else { a }).collect()
}

/// `x` with axes along which it repeats itself cut to one entry.
fn without_repetitions(x: &Tensor, rank: usize) -> Result<Tensor> {
    let mut x = x.clone();
    let strides = x.stride().to_vec();
    for (axis, _) in strides.iter().enumerate().filter(|(_, stride)| **stride == 0) {
        x = if x.dims()[axis] > 1 { x.narrow(axis, 0, 1)? } else { x };
    }
    let dims = aligned(x.dims(), rank);
    Ok(contiguous(&x)?.reshape(dims)?)
}

/// `a` and `b` joined by a rule, entry by entry, with broadcasting. Cost: one pass over memory.
///
/// # Errors
/// Shapes that do not fit together, and those of the device.
pub(crate) fn binary(rule: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dims = broadcast_dims(a.dims(), b.dims());
    let [a, b] = [without_repetitions(a, dims.len())?, without_repetitions(b, dims.len())?];
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    if dims.contains(&0) {
        return Ok(Tensor::zeros(dims, a.dtype(), a.device())?);
    }
    let runs = runs(shape.dims(), [a.dims(), b.dims()]);
    let result = Broadcast { rule, shape, runs }.apply(&[&a, &b])?;
    Ok(result.broadcast_as(dims)?)
}

#[cfg(test)]
pub(super) mod testing {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// Shapes with their leading axes that occur in networks, and outer products.
    pub(crate) const SHAPES: [(&[usize], &[usize]); 12] = [
        (&[3, 4, 5], &[3, 4, 5]),
        (&[3, 4, 5], &[1, 4, 5]),
        (&[3, 4, 5], &[1, 5]),
        (&[3, 4, 5], &[3, 5]),
        (&[3, 4, 5, 2], &[1, 4, 1, 1]),
        (&[3, 4, 5, 2], &[3, 4, 1, 1]),
        (&[3, 4, 5], &[1]),
        (&[3], &[3, 7]),
        (&[1, 4, 5], &[1, 1]),
        (&[3, 4, 1], &[3, 1, 6]),
        (&[2, 4, 1, 3, 1], &[1, 5, 1, 70]),
        (&[1], &[40, 700]),
    ];

    pub(crate) fn tensor(dims: &[usize], seed: u64) -> Result<Tensor> {
        let count = dims.iter().product();
        Ok(Tensor::from_vec(numbers(count, seed), dims, &Device::Cpu)?)
    }

    pub(crate) fn largest(x: &Tensor) -> Result<f64> {
        Ok(x.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{SHAPES, largest, tensor},
        *,
    };

    #[test]
    fn results_are_those_of_the_tensor_library_on_host_and_device() -> Result<()> {
        for (a, b) in SHAPES {
            let (a, b) = (tensor(a, 1)?, tensor(b, 2)?);
            let dims = broadcast_dims(a.dims(), b.dims());
            for rule in [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide] {
                for (a, b) in [(&a, &b), (&b, &a)] {
                    let [x, y] = [a, b].map(|t| t.reshape(aligned(t.dims(), dims.len())));
                    let (x, y) = (x?, y?);
                    let runs = runs(&dims, [x.dims(), y.dims()]);
                    let op = Broadcast { rule, shape: dims.clone().into(), runs };
                    let expected = op.composed(&[&x, &y])?;
                    let result = binary(rule, a, b)?;
                    assert_eq!(result.dims(), dims);
                    // One rounding, of the same numbers.
                    assert_eq!(largest(&(result - expected)?)?, 0.0, "{rule:?} {x:?} {y:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn expanded_tensors_are_read_where_they_are() -> Result<()> {
        let (a, b) = (tensor(&[1, 5], 1)?, tensor(&[3, 4, 5], 2)?);
        let expanded = a.broadcast_as((3, 5))?;
        assert_eq!(without_repetitions(&expanded, 3)?.dims(), [1, 1, 5]);
        let difference = (binary(Binary::Add, &expanded, &b)? - binary(Binary::Add, &a, &b)?)?;
        assert_eq!(largest(&difference)?, 0.0);
        let both = binary(Binary::Add, &expanded, &expanded)?;
        assert_eq!(both.dims(), [3, 5]);
        Ok(())
    }
}
