//! The tangent of attention: q, k and v with tangents go in. Probabilities are computed again, a
//! block of queries at a time, so that none are kept between the passes. Called by `Attend`.

use candle_core::{Shape, Tensor};
use faer::MatRef;

use crate::{
    error::Result,
    loops::{
        attention::{
            heads::{
                Head, Heads, Scratch, by_group, composed_probabilities, score_derivative, unpacked,
            },
            softmax::softmax_derivative,
        },
        batched::batched_matmul,
        entrywise::add,
        host_op::HostOp,
        matmul::{add_product, rows, rows_mut},
        real::Real,
    },
};

/// The tangent `dp v + p dv` with `dp = p (ds - <p, ds>)`, `ds = scale (dq k^T + q dk^T)`. Inputs:
/// q, k and v, or one tensor of all, the mask, if there is one, and the tangents that there are.
struct AttentionTangent {
    heads: Heads,
    masked: bool,
    given: [bool; 3],
}

impl AttentionTangent {
    /// Where the tangents are among the inputs.
    fn places(&self) -> [Option<usize>; 3] {
        let mut next = self.heads.inputs() + usize::from(self.masked);
        if self.heads.packed {
            return [Some(next); 3];
        }
        self.given.map(|given| {
            let place = given.then_some(next);
            next += usize::from(given);
            place
        })
    }

    fn head<T: Real>(
        &self,
        head: &Head<'_, T>,
        [dq, dk, dv]: [Option<MatRef<'_, T>>; 3],
        scratch: &mut Scratch<T>,
        out: &mut [T],
    ) {
        let h = &self.heads;
        for block in h.blocks() {
            let (count, seen) = (block.len(), h.seen(block.end));
            head.probabilities(h, &block, &mut scratch.p);
            let out = &mut out[block.start * h.columns..block.end * h.columns];
            if let Some(dv) = dv {
                let p = rows(&scratch.p, count, seen);
                add_product(rows_mut(out, count, h.columns), p, dv.subrows(0, seen));
            }
            scratch.d.clear();
            scratch.d.resize(count * seen, T::zero());
            for (q, k) in [(dq, Some(head.k)), (Some(head.q), dk)] {
                let (Some(q), Some(k)) = (q, k) else { continue };
                let scores = rows_mut(&mut scratch.d, count, seen);
                let keys = k.subrows(0, seen).transpose();
                add_product(scores, q.subrows(block.start, count), keys);
            }
            if dq.is_some() || dk.is_some() {
                score_derivative(&scratch.p, &mut scratch.d, seen, h.scale);
                let d = rows(&scratch.d, count, seen);
                add_product(rows_mut(out, count, h.columns), d, head.v.subrows(0, seen));
            }
        }
    }

    /// By the tensor operations of q, k and v apart.
    fn composed_apart(
        &self,
        [q, k, v]: [&Tensor; 3],
        mask: Option<&Tensor>,
        [dq, dk, dv]: [Option<&Tensor>; 3],
    ) -> Result<Tensor> {
        let h = &self.heads;
        let p = composed_probabilities(h, [q, k], mask)?;
        let mut dy = Tensor::zeros(h.result(), p.dtype(), p.device())?;
        for (q, k) in [(dq, Some(k)), (Some(q), dk)] {
            let (Some(q), Some(k)) = (q, k) else { continue };
            let ds = (batched_matmul(&by_group(h, q)?, k, [false, true])? * h.scale)?;
            let through = batched_matmul(&softmax_derivative(&p, &ds)?, v, [false; 2])?;
            dy = add(&dy, &through.reshape(h.result())?)?;
        }
        match dv {
            Some(dv) => add(&dy, &batched_matmul(&p, dv, [false; 2])?.reshape(h.result())?),
            None => Ok(dy),
        }
    }
}

impl HostOp for AttentionTangent {
    const NAME: &'static str = "attention_tangent";

    fn output(&self) -> Shape {
        self.heads.result()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (h, places) = (&self.heads, self.places());
        h.for_each_head(out, Scratch::new, |scratch, at, out| {
            let tangent =
                |which: usize| places[which].map(|place| h.matrix(inputs[place], which, at));
            let tangents = [tangent(0), tangent(1), tangent(2)];
            self.head(&Head::of(h, inputs, self.masked, at), tangents, scratch, out);
        });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let h = &self.heads;
        let mask = self.masked.then(|| inputs[h.inputs()]);
        let tangents = self.places().map(|place| place.map(|place| inputs[place]));
        if !h.packed {
            return self.composed_apart([inputs[0], inputs[1], inputs[2]], mask, tangents);
        }
        let apart = Self { heads: Heads { packed: false, ..*h }, ..*self };
        let (qkv, given) = (unpacked(h, inputs[0])?, tangents[0].map(|all| unpacked(h, all)));
        let given = given.transpose()?;
        let tangents = [0, 1, 2].map(|which| given.as_ref().map(|given| &given[which]));
        let y = apart.composed_apart(qkv.each_ref(), mask, tangents)?;
        Ok(y.transpose(1, 2)?.contiguous()?)
    }
}

/// The tangent of the result for tangents of q, k and v, or of one tensor of all.
pub(crate) fn attention_tangent(
    heads: Heads,
    qkv: &[&Tensor],
    mask: Option<&Tensor>,
    tangents: &[Option<&Tensor>],
) -> Result<Tensor> {
    let is_given = |which: usize| tangents.get(which).is_some_and(Option::is_some);
    let given = [is_given(0), is_given(1), is_given(2)];
    let tangents = tangents.iter().flatten();
    let inputs: Vec<&Tensor> = qkv.iter().copied().chain(mask).chain(tangents.copied()).collect();
    AttentionTangent { heads, masked: mask.is_some(), given }.apply(&inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::attention::{
        attention,
        heads::packed,
        tests::{ROUND_OFF, assert_close, cases, inputs, packed_cases},
    };

    const STEP: f64 = 1e-5;
    /// Truncation h^2 and round-off eps / h, times scores of size 10, cubed.
    const DIFFERENCES: f64 = 1e-7;

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
                    attention(h, &point.each_ref(), mask)
                };
                let expected = ((along(STEP)? - along(-STEP)?)? / (2.0 * STEP))?;
                let at = |at: usize| given[at].then_some(&moved[at]);
                let tangents = [at(0), at(1), at(2)];
                let tangent = attention_tangent(h, &qkv.each_ref(), mask, &tangents)?;
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
    fn packed_tangents_are_those_of_values_apart() -> Result<()> {
        for (h, masked) in packed_cases() {
            let apart = Heads { packed: false, ..h };
            let ((qkv, mask), (moved, _)) = (inputs(&apart, 1)?, inputs(&apart, 4)?);
            let mask = masked.then_some(&mask);
            let tangents = moved.each_ref().map(Some);
            let expected = attention_tangent(apart, &qkv.each_ref(), mask, &tangents)?;
            let (all, along) = (packed(qkv.each_ref())?, packed(moved.each_ref())?);
            let tangent = attention_tangent(h, &[&all], mask, &[Some(&along)])?;
            assert_close(&tangent, &expected.transpose(1, 2)?, 0.0)?;
            let inputs: Vec<&Tensor> = [&all].into_iter().chain(mask).chain([&along]).collect();
            let op = AttentionTangent { heads: h, masked, given: [true; 3] };
            assert_close(&op.composed(&inputs)?, &tangent, 16.0 * ROUND_OFF)?;
        }
        Ok(())
    }
}
