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
/// Entries of a right operand that no core's cache holds: every task reads and packs all of them,
/// and then computes twice as many rows.
const LARGE: usize = 1 << 18;

/// `c += a b`, on one thread.
pub(crate) fn add_product<T: Real>(c: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    faer_matmul(c, Accum::Add, a, b, T::one(), Par::Seq);
}

/// Multiply-adds up to which a product may take other routes, with other roundings.
const SMALL: usize = 4096;
/// Sides from which on the roundings of an entry do not depend on the side.
const SHORTEST: usize = 16;

/// Rows, or columns, that a product needs so that none of its entries depends on how many there
/// are; `each` are the multiply-adds of one.
fn enough(count: usize, each: usize, most: usize) -> usize {
    count.max((SMALL / each.max(1) + 1).clamp(SHORTEST, most.max(SHORTEST)))
}

/// `c += a b` for some rows of examples: an entry is the same sequence of operations however many
/// rows there are, so that the bits of an example do not depend on its batch. A few rows are
/// multiplied as more.
pub(crate) fn add_rows_product<T: Real>(mut c: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    let (count, k, n) = (c.nrows(), a.ncols(), c.ncols());
    let needed = enough(count, k * n, TASK_ROWS);
    if needed == count {
        return add_product(c, a, b);
    }
    let (mut left, mut sum) = (vec![T::zero(); needed * k], vec![T::zero(); needed * n]);
    rows_mut(&mut left[..count * k], count, k).copy_from(a);
    rows_mut(&mut sum[..count * n], count, n).copy_from(&c);
    add_product(rows_mut(&mut sum, needed, n), rows(&left, needed, k), b);
    c.copy_from(rows(&sum[..count * n], count, n));
}

/// As [`add_rows_product`], for some columns of examples.
pub(crate) fn add_columns_product<T: Real>(c: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    let (m, k, count) = (c.nrows(), a.ncols(), c.ncols());
    let needed = enough(count, m * k, TASK_ROWS);
    if needed == count {
        return add_product(c, a, b);
    }
    let mut c = c;
    let (mut right, mut sum) = (vec![T::zero(); k * needed], vec![T::zero(); m * needed]);
    rows_mut(&mut right, k, needed).subcols_mut(0, count).copy_from(b);
    rows_mut(&mut sum, m, needed).subcols_mut(0, count).copy_from(&c);
    add_product(rows_mut(&mut sum, m, needed), a, rows(&right, k, needed));
    c.copy_from(rows(&sum, m, needed).subcols(0, count));
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

/// A product; a third input is a row that is added to each of its rows.
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
        let task_rows = if k * n < LARGE { TASK_ROWS } else { 2 * TASK_ROWS };
        out.par_chunks_mut(task_rows * n).enumerate().for_each(|(task, part)| {
            let (first, count) = (task * task_rows, part.len() / n);
            if let Some(bias) = inputs.get(2) {
                part.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias));
            }
            let (part, a) = (rows_mut(part, count, n), a.subrows(first, count));
            match transposed {
                // Examples are what is summed over.
                Transposed::Left => add_product(part, a, b),
                _ => add_rows_product(part, a, b),
            }
        });
    }

    /// On a GPU the device's own library multiplies.
    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (a, b) = (inputs[0].contiguous()?, inputs[1].contiguous()?);
        let product = match self.transposed {
            Transposed::Neither => a.matmul(&b)?,
            Transposed::Right => a.matmul(&b.t()?)?,
            Transposed::Left => a.t()?.matmul(&b)?,
        };
        match inputs.get(2) {
            Some(bias) => Ok(product.broadcast_add(bias)?),
            None => Ok(product),
        }
    }
}

/// `a b`, (m, k) times (k, n), plus a bias (n) in each row if it is given.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let ((m, k), (_, n)) = (a.dims2()?, b.dims2()?);
    let product = Product { m, k, n, transposed: Transposed::Neither };
    product.apply(&[Some(a), Some(b), bias].into_iter().flatten().collect::<Vec<_>>())
}

/// As [`matmul`], `a b^T`, (m, k) times the transpose of (n, k).
pub(crate) fn matmul_bt(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let ((m, k), (n, _)) = (a.dims2()?, b.dims2()?);
    let product = Product { m, k, n, transposed: Transposed::Right };
    product.apply(&[Some(a), Some(b), bias].into_iter().flatten().collect::<Vec<_>>())
}

/// `a^T b`, the transpose of (k, m) times (k, n).
pub(crate) fn matmul_at(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((k, m), (_, n)) = (a.dims2()?, b.dims2()?);
    Product { m, k, n, transposed: Transposed::Left }.apply(&[a, b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// Whether the entries of the first `count` of `most` rows, or columns, are those of all.
    fn agree<T: Real>(k: usize, n: usize, [count, most]: [usize; 2], columns: bool) -> bool {
        let typed =
            |count, seed| -> Vec<T> { numbers(count, seed).into_iter().map(T::from_f64).collect() };
        let (examples, weights) = (typed(most * k, 1), typed(n * k, 2));
        let product = |count: usize| {
            let mut c = vec![T::zero(); count * n];
            if columns {
                let b = rows(&examples, k, most).subcols(0, count);
                add_columns_product(rows_mut(&mut c, n, count), rows(&weights, n, k), b);
                return (0..count * n).map(|at| c[at % n * count + at / n]).collect();
            }
            let b = rows(&weights, n, k).transpose();
            add_rows_product(rows_mut(&mut c, count, n), rows(&examples[..count * k], count, k), b);
            c
        };
        let (some, all): (Vec<T>, Vec<T>) = (product(count), product(most));
        some == all[..count * n]
    }

    #[test]
    fn entries_do_not_depend_on_the_number_of_examples() {
        for (k, n) in [(5, 1), (5, 10), (84, 1), (84, 2), (84, 10), (400, 3), (513, 2), (1025, 16)]
        {
            for count in (1..64).filter(|count| count % 5 < 3) {
                for columns in [false, true] {
                    let counts = [count, 64];
                    let agree =
                        agree::<f32>(k, n, counts, columns) && agree::<f64>(k, n, counts, columns);
                    assert!(agree, "{count} examples, {k} terms, {n} outputs, {columns}");
                }
            }
        }
    }

    #[test]
    fn entries_of_large_products_do_not_depend_on_the_number_of_rows() {
        for (k, n) in [(768, 400), (3072, 96), (515, 513)] {
            for count in [1, 16, 37, 64, 100] {
                let counts = [count, 2 * TASK_ROWS];
                let agree = agree::<f32>(k, n, counts, false) && agree::<f64>(k, n, counts, false);
                assert!(agree, "{count} rows, {k} terms, {n} outputs");
            }
        }
    }

    #[test]
    fn a_bias_is_added_to_every_row() -> Result<()> {
        let cpu = candle_core::Device::Cpu;
        let tensor = |m, n, seed| Tensor::from_vec(numbers(m * n, seed), (m, n), &cpu);
        let (a, b, bias) = (tensor(70, 5, 1)?, tensor(5, 3, 2)?, tensor(1, 3, 3)?.squeeze(0)?);
        let expected = (matmul(&a, &b, None)?.broadcast_add(&bias))?;
        let transposed = b.t()?.contiguous()?;
        for found in [matmul(&a, &b, Some(&bias))?, matmul_bt(&a, &transposed, Some(&bias))?] {
            let error = (found - &expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
            // Sums of six terms of size 4, in two orders.
            assert!(error <= 6.0 * 24.0 * f64::EPSILON, "{error:e}");
        }
        Ok(())
    }
}
