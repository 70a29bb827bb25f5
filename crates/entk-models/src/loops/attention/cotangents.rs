//! The cotangents of attention: q, k and v with a cotangent of the result go in. Probabilities are
//! computed again, a block of queries at a time, so that none are kept between the passes. Called
//! by `Attend`.

use candle_core::{Shape, Tensor};
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        attention::{
            heads::{
                Head, Heads, Scratch, by_group, composed_probabilities, interleave, packed,
                score_derivative, set_product, unpacked,
            },
            softmax::softmax_derivative,
        },
        batched::batched_matmul,
        host_op::HostOp,
        matmul::{add_product, rows, rows_mut},
        real::Real,
    },
};

/// The cotangents of q, k and v, one after another, or as one tensor. Inputs: q, k and v, or one
/// tensor of all, the mask, if there is one, and dy.
struct AttentionCotangents {
    heads: Heads,
    masked: bool,
}

impl AttentionCotangents {
    /// Numbers in q, k and v of one example.
    fn sizes(&self) -> [usize; 3] {
        let h = &self.heads;
        let keys = h.groups * h.keys;
        [h.heads() * h.queries * h.width, keys * h.width, keys * h.columns]
    }

    /// Adds what one head gives, block by block:
    /// `dv += p^T dy`, `ds = scale p (dy v^T - <p, dy v^T>)`, `dq = ds k`, `dk += ds^T q`.
    fn head<T: Real>(
        &self,
        head: &Head<'_, T>,
        dy: MatRef<'_, T>,
        scratch: &mut Scratch<T>,
        [dq, dk, dv]: [&mut [T]; 3],
    ) {
        let h = &self.heads;
        for block in h.blocks() {
            let (count, seen) = (block.len(), h.seen(block.end));
            let dy = dy.subrows(block.start, count);
            head.probabilities(h, &block, &mut scratch.p);
            let dv = rows_mut(&mut dv[..seen * h.columns], seen, h.columns);
            add_product(dv, rows(&scratch.p, count, seen).transpose(), dy);
            scratch.d.resize(count * seen, T::zero());
            set_product(&mut scratch.d, dy, head.v.subrows(0, seen).transpose());
            score_derivative(&scratch.p, &mut scratch.d, seen, h.scale);
            let ds = rows(&scratch.d, count, seen);
            let dq = &mut dq[block.start * h.width..block.end * h.width];
            add_product(rows_mut(dq, count, h.width), ds, head.k.subrows(0, seen));
            let dk = rows_mut(&mut dk[..seen * h.width], seen, h.width);
            add_product(dk, ds.transpose(), head.q.subrows(block.start, count));
        }
    }

    /// Groups of the batch from number `first` on. A task is a group, its heads in order: they add
    /// to the same keys and values.
    fn groups<T: Real>(&self, inputs: &[&[T]], first: usize, [dq, dk, dv]: [&mut [T]; 3]) {
        let h = &self.heads;
        let dy = inputs[h.inputs() + usize::from(self.masked)];
        (dq.par_chunks_mut(h.ratio * h.queries * h.width))
            .zip(dk.par_chunks_mut(h.keys * h.width).zip(dv.par_chunks_mut(h.keys * h.columns)))
            .enumerate()
            .for_each_init(Scratch::new, |scratch, (group, (dq, (dk, dv)))| {
                for (at, dq) in dq.chunks_exact_mut(h.queries * h.width).enumerate() {
                    let at = (first + group) * h.ratio + at;
                    let head = Head::of(h, inputs, self.masked, at);
                    let dy = h.of_result(dy, at);
                    self.head(&head, dy, scratch, [dq, &mut *dk, &mut *dv]);
                }
            });
    }
}

/// A slice cut after the first and the second of three lengths.
fn cut<T>(all: &mut [T], [first, second, _]: [usize; 3]) -> [&mut [T]; 3] {
    let (a, rest) = all.split_at_mut(first);
    let (b, c) = rest.split_at_mut(second);
    [a, b, c]
}

impl HostOp for AttentionCotangents {
    const NAME: &'static str = "attention_cotangents";

    fn output(&self) -> Shape {
        (self.heads.examples * self.sizes().iter().sum::<usize>()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let h = &self.heads;
        if !h.packed {
            let sizes = self.sizes().map(|size| h.examples * size);
            return self.groups(inputs, 0, cut(out, sizes));
        }
        let of_example = self.sizes().iter().sum();
        out.par_chunks_mut(of_example).enumerate().for_each(|(example, out)| {
            let mut cotangents = vec![T::zero(); of_example];
            self.groups(inputs, example * h.groups, cut(&mut cotangents, self.sizes()));
            interleave(&cotangents, 3 * h.heads(), h.width, out);
        });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let h = &self.heads;
        let (mask, dy) = (self.masked.then(|| inputs[h.inputs()]), inputs[inputs.len() - 1]);
        if h.packed {
            let (qkv, dy) = (unpacked(h, inputs[0])?, dy.transpose(1, 2)?);
            let apart = Heads { packed: false, ..*h };
            let all = attention_cotangents(apart, &qkv.each_ref(), mask, &dy)?;
            return Ok(packed([&all[0], &all[1], &all[2]])?.flatten_all()?);
        }
        let &[q, k, v, ..] = inputs else { return Ok(dy.clone()) };
        let (p, dy) = (composed_probabilities(h, [q, k], mask)?, by_group(h, dy)?);
        let dv = batched_matmul(&p, &dy, [true, false])?;
        let dp = batched_matmul(&dy, v, [false, true])?;
        let ds = (softmax_derivative(&p, &dp)? * h.scale)?;
        let dq = batched_matmul(&ds, k, [false; 2])?;
        let dk = batched_matmul(&ds, &by_group(h, q)?, [true, false])?;
        Ok(Tensor::cat(&[dq.flatten_all()?, dk.flatten_all()?, dv.flatten_all()?], 0)?)
    }
}

/// The cotangents of q, k and v, or of one tensor of all, for a cotangent dy of the result.
pub(crate) fn attention_cotangents(
    heads: Heads,
    qkv: &[&Tensor],
    mask: Option<&Tensor>,
    dy: &Tensor,
) -> Result<Vec<Tensor>> {
    let inputs: Vec<&Tensor> = qkv.iter().copied().chain(mask).chain([dy]).collect();
    let all = AttentionCotangents { heads, masked: mask.is_some() }.apply(&inputs)?;
    let mut start = 0;
    let part = |x: &&Tensor| {
        let count = x.elem_count();
        start += count;
        Ok(all.narrow(0, start - count, count)?.reshape(x.shape())?)
    };
    qkv.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::attention::{
        attention,
        tangent::attention_tangent,
        tests::{ROUND_OFF, assert_close, cases, inputs, packed_cases},
    };

    #[test]
    fn cotangents_are_transposed_tangents() -> Result<()> {
        for (h, masked) in cases() {
            let ((qkv, mask), (moved, _)) = (inputs(&h, 1)?, inputs(&h, 4)?);
            let mask = masked.then_some(&mask);
            let dy = attention(h, &moved.each_ref(), None)?;
            let cotangents = attention_cotangents(h, &qkv.each_ref(), mask, &dy)?;
            let inner = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f64>();
            for at in 0..3 {
                let mut tangents = [None; 3];
                tangents[at] = Some(&moved[at]);
                let left = inner(&dy, &attention_tangent(h, &qkv.each_ref(), mask, &tangents)?)?;
                let right = inner(&cotangents[at], &moved[at])?;
                let tolerance = ROUND_OFF * dy.elem_count() as f64;
                assert!((left - right).abs() <= tolerance, "{at}: {left} {right}");
            }
            let all: Vec<&Tensor> = qkv.iter().chain(mask).chain([&dy]).collect();
            let composed = AttentionCotangents { heads: h, masked }.composed(&all)?;
            let flat = cotangents.iter().map(|tensor| Ok(tensor.flatten_all()?));
            let expected = Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)?;
            assert_close(&composed, &expected, 16.0 * ROUND_OFF)?;
        }
        Ok(())
    }

    #[test]
    fn packed_cotangents_are_those_of_values_apart() -> Result<()> {
        for (h, masked) in packed_cases() {
            let apart = Heads { packed: false, ..h };
            let ((qkv, mask), (moved, _)) = (inputs(&apart, 1)?, inputs(&apart, 4)?);
            let (mask, all) = (masked.then_some(&mask), packed(qkv.each_ref())?);
            let (dy, turned) = (&moved[0], moved[0].transpose(1, 2)?);
            let expected = attention_cotangents(apart, &qkv.each_ref(), mask, dy)?;
            let expected = packed([&expected[0], &expected[1], &expected[2]])?;
            let cotangent = attention_cotangents(h, &[&all], mask, &turned)?;
            assert_close(&cotangent[0], &expected, 0.0)?;
            let inputs: Vec<&Tensor> = [&all].into_iter().chain(mask).chain([&turned]).collect();
            let composed = AttentionCotangents { heads: h, masked }.composed(&inputs)?;
            assert_close(&composed, &expected.flatten_all()?, 16.0 * ROUND_OFF)?;
        }
        Ok(())
    }

    #[test]
    fn single_precision_follows_double() -> Result<()> {
        // Scores of size 10 to f32 round-off, in exponentials, and sums of a few dozen terms.
        let tolerance = 1e-4;
        for (h, masked) in cases() {
            let ((qkv, mask), (moved, _)) = (inputs(&h, 1)?, inputs(&h, 4)?);
            let dy = attention(h, &moved.each_ref(), None)?;
            let single = |x: &Tensor| x.to_dtype(candle_core::DType::F32);
            let singles = [single(&qkv[0])?, single(&qkv[1])?, single(&qkv[2])?];
            let narrow = single(&mask)?;
            let of = |mask| masked.then_some(mask);
            let double = attention_cotangents(h, &qkv.each_ref(), of(&mask), &dy)?;
            let ours = attention_cotangents(h, &singles.each_ref(), of(&narrow), &single(&dy)?)?;
            for (ours, double) in ours.iter().zip(&double) {
                let ours = ours.to_dtype(candle_core::DType::F64)?;
                let scale = double.abs()?.max_all()?.to_scalar::<f64>()?;
                assert_close(&ours, double, tolerance * scale)?;
            }
        }
        Ok(())
    }
}
