//! The transpose of broadcasting: a cotangent goes in, its sums over the axes along which a value
//! was repeated come out, never over examples. Called by the operations of two values.

use std::ops::Range;

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        axis::{
            strided::contiguous,
            sums::{Axis, axis_sums},
        },
        entrywise::{
            broadcast::{Binary, aligned, binary},
            scaled,
        },
        host_op::{HostOp, vectorised},
        real::Real,
        row::row_dot,
    },
};

/// Entries that one task reads, at least.
const TASK: usize = 1 << 14;

/// Sums of products, (outer, axis, inner) to (outer, inner), times a constant.
struct ProductSum {
    axis: Axis,
    scale: f64,
}

impl HostOp for ProductSum {
    const NAME: &'static str = "product_sum";

    fn output(&self) -> Shape {
        (self.axis.outer, self.axis.inner).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (inner, scale) = (self.axis.inner, T::from_f64(self.scale));
        let plane = self.axis.size * inner;
        (out.par_chunks_mut(inner)
            .zip(inputs[0].par_chunks(plane).zip(inputs[1].par_chunks(plane))))
        .with_min_len((TASK / plane).max(1))
        .for_each(|(out, (x, y))| {
            vectorised(
                #[inline(always)]
                || {
                    add_products(x, y, out);
                    out.iter_mut().for_each(|out| *out *= scale);
                },
            );
        });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let product = inputs[0].mul(inputs[1])?;
        axis_sums(&product, self.axis, self.scale)
    }
}

#[inline(always)]
fn add_products<T: Real>(x: &[T], y: &[T], out: &mut [T]) {
    if let [out] = out {
        *out += row_dot(x, y, T::zero());
        return;
    }
    for (x, y) in x.chunks_exact(out.len()).zip(y.chunks_exact(out.len())) {
        out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (x, y))| *out += *x * *y);
    }
}

/// The axes of `dims` over which a value of shape `input` was repeated, in runs of neighbours; the
/// leading axis is none of them.
fn repeated_axes(dims: &[usize], input: &[usize]) -> Vec<Range<usize>> {
    let input = aligned(input, dims.len());
    let mut runs: Vec<Range<usize>> = Vec::new();
    for axis in (1..dims.len()).filter(|axis| input[*axis] != dims[*axis]) {
        match runs.last_mut().filter(|run| run.end == axis) {
            Some(run) => run.end += 1,
            None => runs.push(axis..axis + 1),
        }
    }
    runs
}

/// `scale` times the cotangent `dy` of a broadcast value as that of the value, which has shape
/// `input` with any leading axis: summed where the value was repeated, never over examples.
///
/// # Errors
/// Those of the device.
pub(crate) fn unbroadcast(dy: &Tensor, input: &[usize], scale: f64) -> Result<Tensor> {
    let (mut x, mut dims, mut scale) = (dy.clone(), dy.dims().to_vec(), scale);
    for run in repeated_axes(dy.dims(), input) {
        x = axis_sums(&x, Axis::of(&dims, run.clone()), std::mem::replace(&mut scale, 1.0))?;
        dims[run].fill(1);
    }
    let shape = [&dy.dims()[..1], &input[1..]].concat();
    Ok(contiguous(&scaled(&x, scale)?)?.reshape(shape)?)
}

/// [`unbroadcast`] of the product of `dy` with another factor. Cost: one pass over memory where the
/// factor has the shape of `dy` and the value was repeated along neighbouring axes.
///
/// # Errors
/// Those of the device.
pub(crate) fn unbroadcast_product(
    dy: &Tensor,
    factor: &Tensor,
    input: &[usize],
    scale: f64,
) -> Result<Tensor> {
    match &repeated_axes(dy.dims(), input)[..] {
        [run] if factor.dims() == dy.dims() && dy.elem_count() > 0 => {
            let axis = Axis::of(dy.dims(), run.clone());
            let sums = ProductSum { axis, scale }.apply(&[dy, factor])?;
            Ok(sums.reshape([&dy.dims()[..1], &input[1..]].concat())?)
        }
        _ => unbroadcast(&binary(Binary::Multiply, dy, factor)?, input, scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::entrywise::broadcast::{
        broadcast_dims,
        testing::{SHAPES, largest, tensor},
    };

    #[test]
    fn cotangents_are_summed_where_values_were_repeated() -> Result<()> {
        for (a, b) in SHAPES {
            let dims = broadcast_dims(a, b);
            let (dy, full) = (tensor(&dims, 3)?, tensor(&dims, 4)?);
            for input in [a, b] {
                // The transpose: <dy f, broadcast x> = <cotangent, x>, example by example.
                let each = [&dims[..1], &input[1..]].concat();
                let x = tensor(&each, 5)?;
                let wide = binary(Binary::Multiply, &x, &dy.ones_like()?)?;
                for (found, product) in [
                    (unbroadcast(&dy, input, -0.5)?, dy.clone()),
                    (unbroadcast_product(&dy, &full, input, -0.5)?, (&dy * &full)?),
                ] {
                    assert_eq!(found.dims(), each);
                    let sums = |t: Tensor| t.reshape((dims[0], ()))?.sum(1);
                    let difference = (sums(((product * &wide)? * -0.5)?)? - sums((found * &x)?)?)?;
                    // Sums of terms of size 4 in two orders.
                    let tolerance = 8.0 * dy.elem_count() as f64 * f64::EPSILON;
                    assert!(largest(&difference)? <= tolerance, "{dims:?} {input:?}");
                }
            }
        }
        Ok(())
    }
}
