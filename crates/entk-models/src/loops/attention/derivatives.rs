//! Derivatives of attention: q, k and v with tangents, or with a cotangent of the result, go in.
//! Probabilities are computed again, a block of queries at a time, so that none are kept between
//! the passes. Called by `Attend`.

use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        attention::{
            Heads, Slices, by_group, composed_probabilities, part, probabilities, set_product,
            softmax::{softmax_derivative, softmax_derivative_row},
            some_rows,
        },
        batched::batched_matmul,
        entrywise::add,
        host_op::{HostOp, vectorised},
        matmul::{add_product, rows, rows_mut},
        real::Real,
    },
};

/// Probabilities of a block, and a matrix of the same size.
#[derive(Default)]
struct Scratch<T> {
    p: Vec<T>,
    d: Vec<T>,
}

/// `scale p (d - <p, d>)` in place of d, row by row.
fn score_derivative<T: Real>(p: &[T], d: &mut [T], seen: usize, scale: f64) {
    let scale = T::from_f64(scale);
    vectorised(
        #[inline(always)]
        || {
            for (p, d) in p.chunks_exact(seen).zip(d.chunks_exact_mut(seen)) {
                softmax_derivative_row(p, d);
                d.iter_mut().for_each(|d| *d *= scale);
            }
        },
    );
}

/// The tangent `dp v + p dv` with `dp = p (ds - <p, ds>)`, `ds = scale (dq k^T + q dk^T)`. Inputs:
/// q, k, v, the mask, if there is one, and those of dq, dk and dv that there are.
struct AttentionTangent {
    heads: Heads,
    masked: bool,
    given: [bool; 3],
}

impl AttentionTangent {
    /// Where the tangents are among the inputs.
    fn places(&self) -> [Option<usize>; 3] {
        let mut next = 3 + usize::from(self.masked);
        self.given.map(|given| {
            let place = given.then_some(next);
            next += usize::from(given);
            place
        })
    }

    fn head<T: Real>(
        &self,
        head: &Slices<'_, T>,
        tangents: [Option<&[T]>; 3],
        scratch: &mut Scratch<T>,
        out: &mut [T],
    ) {
        let h = &self.heads;
        let [dq, dk, dv] = tangents;
        for block in h.blocks() {
            let seen = h.seen(block.end);
            let keys = 0..seen;
            probabilities(h, head, &block, &mut scratch.p);
            let out = &mut out[block.start * h.columns..block.end * h.columns];
            if let Some(dv) = dv {
                let out = rows_mut(out, block.len(), h.columns);
                add_product(
                    out,
                    rows(&scratch.p, block.len(), seen),
                    some_rows(dv, &keys, h.columns),
                );
            }
            if dq.is_none() && dk.is_none() {
                continue;
            }
            scratch.d.clear();
            scratch.d.resize(block.len() * seen, T::zero());
            for (q, k) in [(dq, Some(head.k)), (Some(head.q), dk)] {
                let (Some(q), Some(k)) = (q, k) else { continue };
                let scores = rows_mut(&mut scratch.d, block.len(), seen);
                add_product(
                    scores,
                    some_rows(q, &block, h.width),
                    some_rows(k, &keys, h.width).transpose(),
                );
            }
            score_derivative(&scratch.p, &mut scratch.d, seen, h.scale);
            let out = rows_mut(out, block.len(), h.columns);
            add_product(
                out,
                rows(&scratch.d, block.len(), seen),
                some_rows(head.v, &keys, h.columns),
            );
        }
    }
}

impl HostOp for AttentionTangent {
    const NAME: &'static str = "attention_tangent";

    fn output(&self) -> Shape {
        self.heads.result()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let h = &self.heads;
        let slices = Slices::of(inputs, self.masked);
        let [dq, dk, dv] = self.places().map(|place| place.map(|place| inputs[place]));
        let scratch = || Scratch { p: Vec::new(), d: Vec::new() };
        (out.par_chunks_mut(h.queries * h.columns).enumerate()).for_each_init(
            scratch,
            |scratch, (at, out)| {
                let group = at / h.ratio;
                let tangents = [
                    dq.map(|dq| part(dq, at, h.queries * h.width)),
                    dk.map(|dk| part(dk, group, h.keys * h.width)),
                    dv.map(|dv| part(dv, group, h.keys * h.columns)),
                ];
                self.head(&slices.head(h, at), tangents, scratch, out);
            },
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let h = &self.heads;
        let p = composed_probabilities(h, inputs, self.masked)?;
        let [dq, dk, dv] = self.places().map(|place| place.map(|place| inputs[place]));
        let mut dy = Tensor::zeros(h.result(), p.dtype(), p.device())?;
        for (q, k) in [(dq, Some(inputs[1])), (Some(inputs[0]), dk)] {
            let (Some(q), Some(k)) = (q, k) else { continue };
            let ds = (batched_matmul(&by_group(h, q)?, k, [false, true])? * h.scale)?;
            let through = batched_matmul(&softmax_derivative(&p, &ds)?, inputs[2], [false; 2])?;
            dy = add(&dy, &through.reshape(h.result())?)?;
        }
        match dv {
            Some(dv) => add(&dy, &batched_matmul(&p, dv, [false; 2])?.reshape(h.result())?),
            None => Ok(dy),
        }
    }
}

/// The cotangents of q, k and v, one after another. Inputs: q, k, v, the mask, if there is one, and
/// dy.
struct AttentionCotangents {
    heads: Heads,
    masked: bool,
}

impl AttentionCotangents {
    /// Numbers in q, k and v.
    fn sizes(&self) -> [usize; 3] {
        let h = &self.heads;
        let keys = h.examples * h.groups * h.keys;
        [h.examples * h.heads() * h.queries * h.width, keys * h.width, keys * h.columns]
    }

    /// Adds what one head gives, block by block:
    /// `dv += p^T dy`, `ds = scale p (dy v^T - <p, dy v^T>)`, `dq = ds k`, `dk += ds^T q`.
    fn head<T: Real>(
        &self,
        head: &Slices<'_, T>,
        dy: &[T],
        scratch: &mut Scratch<T>,
        [dq, dk, dv]: [&mut [T]; 3],
    ) {
        let h = &self.heads;
        for block in h.blocks() {
            let (count, seen) = (block.len(), h.seen(block.end));
            let keys = 0..seen;
            let dy = some_rows(dy, &block, h.columns);
            probabilities(h, head, &block, &mut scratch.p);
            let p = rows(&scratch.p, count, seen);
            let dv = rows_mut(&mut dv[..seen * h.columns], seen, h.columns);
            add_product(dv, p.transpose(), dy);
            scratch.d.resize(count * seen, T::zero());
            set_product(&mut scratch.d, dy, some_rows(head.v, &keys, h.columns).transpose());
            score_derivative(&scratch.p, &mut scratch.d, seen, h.scale);
            let ds = rows(&scratch.d, count, seen);
            let dq = &mut dq[block.start * h.width..block.end * h.width];
            add_product(rows_mut(dq, count, h.width), ds, some_rows(head.k, &keys, h.width));
            let dk = rows_mut(&mut dk[..seen * h.width], seen, h.width);
            add_product(dk, ds.transpose(), some_rows(head.q, &block, h.width));
        }
    }
}

impl HostOp for AttentionCotangents {
    const NAME: &'static str = "attention_cotangents";

    fn output(&self) -> Shape {
        self.sizes().iter().sum::<usize>().into()
    }

    /// A task is a group of heads, in order: they add to the same keys and values.
    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let h = &self.heads;
        let slices = Slices::of(inputs, self.masked);
        let dy = inputs[3 + usize::from(self.masked)];
        let [queries, keys, _] = self.sizes();
        let (dq, rest) = out.split_at_mut(queries);
        let (dk, dv) = rest.split_at_mut(keys);
        let scratch = || Scratch { p: Vec::new(), d: Vec::new() };
        (dq.par_chunks_mut(h.ratio * h.queries * h.width))
            .zip(dk.par_chunks_mut(h.keys * h.width).zip(dv.par_chunks_mut(h.keys * h.columns)))
            .enumerate()
            .for_each_init(scratch, |scratch, (group, (dq, (dk, dv)))| {
                for (at, dq) in dq.chunks_exact_mut(h.queries * h.width).enumerate() {
                    let at = group * h.ratio + at;
                    let dy = part(dy, at, h.queries * h.columns);
                    self.head(&slices.head(h, at), dy, scratch, [dq, &mut *dk, &mut *dv]);
                }
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let h = &self.heads;
        let p = composed_probabilities(h, inputs, self.masked)?;
        let dy = by_group(h, inputs[3 + usize::from(self.masked)])?;
        let dv = batched_matmul(&p, &dy, [true, false])?;
        let dp = batched_matmul(&dy, inputs[2], [false, true])?;
        let ds = (softmax_derivative(&p, &dp)? * h.scale)?;
        let dq = batched_matmul(&ds, inputs[1], [false; 2])?;
        let dk = batched_matmul(&ds, &by_group(h, inputs[0])?, [true, false])?;
        Ok(Tensor::cat(&[dq.flatten_all()?, dk.flatten_all()?, dv.flatten_all()?], 0)?)
    }
}

/// The tangent of the result for tangents of q, k and v.
pub(crate) fn attention_tangent(
    heads: Heads,
    qkv: [&Tensor; 3],
    mask: Option<&Tensor>,
    tangents: [Option<&Tensor>; 3],
) -> Result<Tensor> {
    let given = tangents.map(|tangent| tangent.is_some());
    let inputs: Vec<&Tensor> =
        qkv.into_iter().chain(mask).chain(tangents.into_iter().flatten()).collect();
    AttentionTangent { heads, masked: mask.is_some(), given }.apply(&inputs)
}

/// The cotangents of q, k and v for a cotangent dy of the result.
pub(crate) fn attention_cotangents(
    heads: Heads,
    qkv: [&Tensor; 3],
    mask: Option<&Tensor>,
    dy: &Tensor,
) -> Result<[Tensor; 3]> {
    let inputs: Vec<&Tensor> = qkv.into_iter().chain(mask).chain([dy]).collect();
    let op = AttentionCotangents { heads, masked: mask.is_some() };
    let [queries, keys, values] = op.sizes();
    let all = op.apply(&inputs)?;
    let part =
        |which: usize, start, count| all.narrow(0, start, count)?.reshape(qkv[which].shape());
    let (dq, dk) = (part(0, 0, queries)?, part(1, queries, keys)?);
    Ok([dq, dk, part(2, queries + keys, values)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::attention::{
        attention,
        tests::{ROUND_OFF, assert_close, cases, inputs},
    };

    const STEP: f64 = 1e-5;
    /// Truncation h^2 and round-off eps / h, times scores of size 10, cubed.
    const DIFFERENCES: f64 = 1e-7;

    fn refer(tensors: &[Tensor; 3]) -> [&Tensor; 3] {
        [&tensors[0], &tensors[1], &tensors[2]]
    }

    #[test]
    fn tangents_are_differences() -> Result<()> {
        for (h, masked) in cases() {
            let ((qkv, mask), (moved, _)) = (inputs(&h, 1)?, inputs(&h, 4)?);
            let mask = masked.then_some(&mask);
            for given in
                [[true, false, false], [false, true, false], [false, false, true], [true; 3]]
            {
                let along = |step: f64| {
                    let mut point = qkv.clone();
                    for at in (0..3).filter(|at| given[*at]) {
                        point[at] = (&point[at] + (&moved[at] * step)?)?;
                    }
                    attention(h, refer(&point), mask)
                };
                let expected = ((along(STEP)? - along(-STEP)?)? / (2.0 * STEP))?;
                let at = |at: usize| given[at].then_some(&moved[at]);
                let tangents = [at(0), at(1), at(2)];
                let tangent = attention_tangent(h, refer(&qkv), mask, tangents)?;
                assert_close(&tangent, &expected, DIFFERENCES)?;
                let all: Vec<&Tensor> =
                    qkv.iter().chain(mask).chain(tangents.into_iter().flatten()).collect();
                let op = AttentionTangent { heads: h, masked, given };
                assert_close(&op.composed(&all)?, &tangent, 16.0 * ROUND_OFF)?;
            }
        }
        Ok(())
    }

    #[test]
    fn cotangents_are_transposed_tangents() -> Result<()> {
        for (h, masked) in cases() {
            let ((qkv, mask), (moved, _)) = (inputs(&h, 1)?, inputs(&h, 4)?);
            let mask = masked.then_some(&mask);
            let dy = attention(h, refer(&moved), None)?;
            let cotangents = attention_cotangents(h, refer(&qkv), mask, &dy)?;
            let inner = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f64>();
            for at in 0..3 {
                let mut tangents = [None; 3];
                tangents[at] = Some(&moved[at]);
                let left = inner(&dy, &attention_tangent(h, refer(&qkv), mask, tangents)?)?;
                let right = inner(&cotangents[at], &moved[at])?;
                let tolerance = ROUND_OFF * dy.elem_count() as f64;
                assert!((left - right).abs() <= tolerance, "{at}: {left} {right}");
            }
            let all: Vec<&Tensor> = qkv.iter().chain(mask).chain([&dy]).collect();
            let composed = AttentionCotangents { heads: h, masked }.composed(&all)?;
            let flat = cotangents.map(|tensor| tensor.flatten_all());
            let [dq, dk, dv] = flat;
            let expected = Tensor::cat(&[dq?, dk?, dv?], 0)?;
            assert_close(&composed, &expected, 16.0 * ROUND_OFF)?;
        }
        Ok(())
    }

    #[test]
    fn single_precision_follows_double() -> Result<()> {
        // Scores of size 10 to f32 round-off, in exponentials, and sums of a few dozen terms.
        let tolerance = 1e-4;
        for (h, masked) in cases() {
            let ((qkv, mask), (moved, _)) = (inputs(&h, 1)?, inputs(&h, 4)?);
            let dy = attention(h, refer(&moved), None)?;
            let single = |x: &Tensor| x.to_dtype(candle_core::DType::F32);
            let singles = [single(&qkv[0])?, single(&qkv[1])?, single(&qkv[2])?];
            let narrow = single(&mask)?;
            let of = |mask| masked.then_some(mask);
            let double = attention_cotangents(h, refer(&qkv), of(&mask), &dy)?;
            let ours = attention_cotangents(h, refer(&singles), of(&narrow), &single(&dy)?)?;
            for (ours, double) in ours.iter().zip(&double) {
                let ours = ours.to_dtype(candle_core::DType::F64)?;
                let scale = double.abs()?.max_all()?.to_scalar::<f64>()?;
                assert_close(&ours, double, tolerance * scale)?;
            }
        }
        Ok(())
    }
}
