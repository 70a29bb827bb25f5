//! Matrix products of tensors, in tasks of fixed size so that bits do not depend on threads, and
//! the views of slices that convolutions multiply.

use candle_core::{Shape, Tensor};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul as faer_matmul};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{host_op::HostOp, real::Real},
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
enum Transposed {
    /// a (m, k) times b (k, n).
    Neither,
    /// a (m, k) times b^T, b stored (n, k).
    Right,
    /// a^T times b, a stored (k, m), b (k, n).
    Left,
}

struct Product {
    m: usize,
    k: usize,
    n: usize,
    transposed: Transposed,
}

impl HostOp for Product {
    const NAME: &'static str = "matmul";

    fn output(&self) -> Shape {
        (self.m, self.n).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let &Product { m, k, n, transposed } = self;
        let (a, b) = match transposed {
            Transposed::Neither => (rows(inputs[0], m, k), rows(inputs[1], k, n)),
            Transposed::Right => (rows(inputs[0], m, k), rows(inputs[1], n, k).transpose()),
            Transposed::Left => (rows(inputs[0], k, m).transpose(), rows(inputs[1], k, n)),
        };
        out.par_chunks_mut(TASK_ROWS * n).enumerate().for_each(|(task, part)| {
            let (first, count) = (task * TASK_ROWS, part.len() / n);
            add_product(rows_mut(part, count, n), a.subrows(first, count), b);
        });
    }

    /// On a GPU the device's own library multiplies.
    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (a, b) = (inputs[0].contiguous()?, inputs[1].contiguous()?);
        Ok(match self.transposed {
            Transposed::Neither => a.matmul(&b)?,
            Transposed::Right => a.matmul(&b.t()?)?,
            Transposed::Left => a.t()?.matmul(&b)?,
        })
    }
}

/// `a b`, (m, k) times (k, n).
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, k), (_, n)) = (a.dims2()?, b.dims2()?);
    Product { m, k, n, transposed: Transposed::Neither }.apply(&[a, b])
}

/// `a b^T`, (m, k) times the transpose of (n, k).
pub(crate) fn matmul_bt(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, k), (n, _)) = (a.dims2()?, b.dims2()?);
    Product { m, k, n, transposed: Transposed::Right }.apply(&[a, b])
}

/// `a^T b`, the transpose of (k, m) times (k, n).
pub(crate) fn matmul_at(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((k, m), (_, n)) = (a.dims2()?, b.dims2()?);
    Product { m, k, n, transposed: Transposed::Left }.apply(&[a, b])
}
