use candle_core::{Shape, Tensor};
use entk_device::Launch;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul as faer_matmul};
use rayon::prelude::*;

use crate::{
    error::Result,
    ops::{
        host_op::{HostOp, apply, on_host},
        real::Real,
    },
};

/// Rows of the result that one task computes; fixed, so that bits do not depend on the threads.
const TASK_ROWS: usize = 64;

/// `c += a b`, on one thread.
pub(crate) fn add_product<T: Real>(c: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    faer_matmul(c, Accum::Add, a, b, T::one(), Par::Seq);
}

/// A row-major view of a slice.
pub(crate) fn rows<T>(slice: &[T], nrows: usize, ncols: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(slice, nrows, ncols)
}

/// A mutable row-major view of a slice.
pub(crate) fn rows_mut<T>(slice: &mut [T], nrows: usize, ncols: usize) -> MatMut<'_, T> {
    MatMut::from_row_major_slice_mut(slice, nrows, ncols)
}

/// Which operand is stored transposed.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// a (m, k) times b (k, n).
    Plain,
    /// a (m, k) times b^T, b stored (n, k).
    RightTransposed,
    /// a^T times b, a stored (k, m), b (k, n).
    LeftTransposed,
}

struct Product {
    m: usize,
    k: usize,
    n: usize,
    form: Form,
}

impl HostOp for Product {
    const NAME: &'static str = "matmul";

    fn output(&self) -> Shape {
        (self.m, self.n).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let &Product { m, k, n, form } = self;
        let (a, b) = match form {
            Form::Plain => (rows(inputs[0], m, k), rows(inputs[1], k, n)),
            Form::RightTransposed => (rows(inputs[0], m, k), rows(inputs[1], n, k).transpose()),
            Form::LeftTransposed => (rows(inputs[0], k, m).transpose(), rows(inputs[1], k, n)),
        };
        out.par_chunks_mut(TASK_ROWS * n).enumerate().for_each(|(task, part)| {
            let (first, count) = (task * TASK_ROWS, part.len() / n);
            add_product(rows_mut(part, count, n), a.subrows(first, count), b);
        });
    }

    fn device(&self) -> Option<Launch> {
        None
    }
}

/// On a GPU the device's own library multiplies.
fn product([m, k, n]: [usize; 3], form: Form, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if on_host(a) {
        return apply(Product { m, k, n, form }, &[a, b]);
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    Ok(match form {
        Form::Plain => a.matmul(&b)?,
        Form::RightTransposed => a.matmul(&b.t()?)?,
        Form::LeftTransposed => a.t()?.matmul(&b)?,
    })
}

/// `a b`, (m, k) times (k, n).
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, k), (_, n)) = (a.dims2()?, b.dims2()?);
    product([m, k, n], Form::Plain, a, b)
}

/// `a b^T`, (m, k) times the transpose of (n, k).
pub(crate) fn matmul_bt(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, k), (n, _)) = (a.dims2()?, b.dims2()?);
    product([m, k, n], Form::RightTransposed, a, b)
}

/// `a^T b`, the transpose of (k, m) times (k, n).
pub(crate) fn matmul_at(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((k, m), (_, n)) = (a.dims2()?, b.dims2()?);
    product([m, k, n], Form::LeftTransposed, a, b)
}
