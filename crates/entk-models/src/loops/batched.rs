//! Products of many matrices, pair by pair, with axes of length one meeting all of the other side.
//! Tensors (..., rows, columns) in, a tensor out; tasks are of fixed size, so that bits do not
//! depend on threads. Called by `MatMul` and by the composition of attention.

use candle_core::{Shape, Tensor};
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    error::{ModelError, Result},
    loops::{
        host_op::HostOp,
        matmul::{add_rows_product, rows, rows_mut},
        real::Real,
    },
};

/// Rows of one result that one task computes.
const TASK_ROWS: usize = 64;
/// Multiply-adds that one task should at least do.
const TASK: usize = 1 << 16;

/// One side of the products: matrices as they are stored, and which of them each product takes.
struct Matrices {
    rows: usize,
    columns: usize,
    transposed: bool,
    taken: Vec<usize>,
}

impl Matrices {
    fn of<'a, T>(&self, stored: &'a [T], product: usize) -> MatRef<'a, T> {
        let size = self.rows * self.columns;
        let start = self.taken[product] * size;
        let matrix = rows(&stored[start..start + size], self.rows, self.columns);
        if self.transposed { matrix.transpose() } else { matrix }
    }

    /// Rows and columns of the factors.
    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

struct BatchedProduct {
    left: Matrices,
    right: Matrices,
    shape: Shape,
}

impl HostOp for BatchedProduct {
    const NAME: &'static str = "batched_matmul";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let ((m, k), (_, n)) = (self.left.shape(), self.right.shape());
        (out.par_chunks_mut(m * n).enumerate())
            .with_min_len((TASK / (m * k * n).max(1)).max(1))
            .for_each(|(product, out)| {
                let left = self.left.of(inputs[0], product);
                let right = self.right.of(inputs[1], product);
                out.par_chunks_mut(TASK_ROWS * n).enumerate().for_each(|(task, part)| {
                    let (first, count) = (task * TASK_ROWS, part.len() / n);
                    add_rows_product(rows_mut(part, count, n), left.subrows(first, count), right);
                });
            });
    }

    /// On a GPU the device's own library multiplies copies in which every matrix stands as it is
    /// read, along one axis: candle's products of transposed and repeated matrices are wrong in
    /// some cases, and refused for three or more leading axes.
    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let side = |x: &Tensor, matrices: &Matrices| {
            let x = if matrices.transposed { x.t()? } else { x.clone() };
            let mut shape = self.shape.dims().to_vec();
            let axes = shape.len();
            shape[axes - 2..].copy_from_slice(&x.dims()[axes - 2..]);
            let (rows, columns) = matrices.shape();
            x.broadcast_as(shape)?.contiguous()?.reshape(((), rows, columns))
        };
        let product = side(inputs[0], &self.left)?.matmul(&side(inputs[1], &self.right)?)?;
        Ok(product.reshape(&self.shape)?)
    }
}

/// The axes of two sides that meet, of equal length or 1.
pub(crate) fn broadcast_axes(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let meet = |(left, right): (&usize, &usize)| match (*left, *right) {
        (left, right) if left == right || right == 1 => Some(left),
        (1, right) => Some(right),
        _ => None,
    };
    (left.len() == right.len()).then(|| left.iter().zip(right).map(meet).collect())?
}

/// Which matrix of a side each product takes, in row-major order of the products.
fn taken(side: &[usize], products: &[usize]) -> Vec<usize> {
    let mut taken = vec![0];
    for (own, all) in side.iter().zip(products) {
        let step = usize::from(*own > 1);
        let inner = |first: &usize| {
            let first = first * own;
            (0..*all).map(move |at| first + at * step)
        };
        taken = taken.iter().flat_map(inner).collect();
    }
    taken
}

/// `a b`, matrix by matrix, over leading axes of equal length or 1; transposed sides are stored so.
/// A single right side multiplies all rows of the left one at once.
///
/// # Errors
/// Sides that do not fit, and those of the device.
pub(crate) fn batched_matmul(a: &Tensor, b: &Tensor, transposed: [bool; 2]) -> Result<Tensor> {
    let (la, [ma, ka]) = split(a)?;
    let (lb, [mb, kb]) = split(b)?;
    let misfit = || ModelError::shape("matmul", format!("a partner of {:?}", a.dims()), b.dims());
    let leading = broadcast_axes(la, lb).ok_or_else(misfit)?;
    if lb.iter().all(|axis| *axis == 1) && !transposed[0] && la.iter().any(|axis| *axis > 1) {
        let rows = a.contiguous()?.reshape(((), ka))?;
        let product = batched_matmul(&rows, &b.reshape((mb, kb))?, transposed)?;
        let columns = product.dim(1)?;
        return Ok(product.reshape([&leading[..], &[ma, columns]].concat())?);
    }
    let side = |axes, rows, columns, transposed| Matrices {
        rows,
        columns,
        transposed,
        taken: taken(axes, &leading),
    };
    let (left, right) = (side(la, ma, ka, transposed[0]), side(lb, mb, kb, transposed[1]));
    let ((m, k), (inner, n)) = (left.shape(), right.shape());
    if k != inner {
        return Err(misfit());
    }
    let shape = [&leading[..], &[m, n]].concat().into();
    BatchedProduct { left, right, shape }.apply(&[a, b])
}

/// The leading axes of a tensor of matrices, and the sizes of a matrix.
fn split(x: &Tensor) -> Result<(&[usize], [usize; 2])> {
    match x.dims() {
        [leading @ .., rows, columns] => Ok((leading, [*rows, *columns])),
        dims => Err(ModelError::shape("matmul", "(..., rows, columns)", dims)),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)?)
    }

    /// One product of plain loops.
    fn plain(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let entry = |row: &[f64], j: usize| (row.iter().zip(b)).map(|(x, b)| x * b[j]).sum();
        a.iter().map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect()).collect()
    }

    #[test]
    fn every_product_is_that_of_plain_loops() -> Result<()> {
        // Products of 70 terms of size 4, in another order.
        let tolerance = 4.0 * 70.0 * 70.0 * f64::EPSILON;
        for (left, right, m, k, n) in [
            (vec![], vec![], 3, 70, 4),
            (vec![3], vec![3], 5, 7, 2),
            (vec![3], vec![1], 70, 7, 4),
            (vec![1], vec![3], 5, 7, 1),
            (vec![2, 1, 3], vec![1, 4, 3], 2, 5, 3),
            (vec![2, 4], vec![2, 1], 130, 3, 2),
        ] {
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let stored = |axes: &[usize], rows, columns, transposed| {
                    let matrix = if transposed { [columns, rows] } else { [rows, columns] };
                    [axes, &matrix].concat()
                };
                let a = tensor(&stored(&left, m, k, transposed[0]), 1)?;
                let b = tensor(&stored(&right, k, n, transposed[1]), 2)?;
                let product = batched_matmul(&a, &b, transposed)?;
                let leading = broadcast_axes(&left, &right).expect("axes that meet");
                let each = |x: &Tensor, transposed: bool, rows: usize, columns: usize| {
                    let x = if transposed { x.t()? } else { x.clone() };
                    let all = [&leading[..], &[rows, columns]].concat();
                    x.broadcast_as(all)?.contiguous()?.reshape(((), rows, columns))?.to_vec3()
                };
                let (a, b) = (each(&a, transposed[0], m, k)?, each(&b, transposed[1], k, n)?);
                assert_eq!(product.dims(), [&leading[..], &[m, n]].concat());
                let product = product.reshape(((), m, n))?.to_vec3::<f64>()?;
                for ((a, b), product) in a.iter().zip(&b).zip(&product) {
                    for (row, expected) in product.iter().zip(plain(a, b)) {
                        for (x, expected) in row.iter().zip(expected) {
                            assert!((x - expected).abs() <= tolerance, "{x} {expected}");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn views_are_read_as_they_stand() -> Result<()> {
        let (a, b) = (tensor(&[3, 2, 4], 3)?.transpose(0, 1)?, tensor(&[5, 4, 2], 4)?);
        let b = b.transpose(0, 2)?;
        let product = batched_matmul(&a, &b, [false, false])?;
        let copies = batched_matmul(&a.contiguous()?, &b.contiguous()?, [false, false])?;
        assert_eq!(product.to_vec3::<f64>()?, copies.to_vec3::<f64>()?);
        Ok(())
    }

    #[test]
    fn sides_that_do_not_fit_are_refused() -> Result<()> {
        for (left, right) in [(vec![2, 3], vec![4, 2]), (vec![2, 2, 3], vec![3, 3, 2])] {
            assert!(batched_matmul(&tensor(&left, 1)?, &tensor(&right, 2)?, [false; 2]).is_err());
        }
        assert!(batched_matmul(&tensor(&[3], 1)?, &tensor(&[3], 2)?, [false; 2]).is_err());
        Ok(())
    }
}
