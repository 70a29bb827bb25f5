//! Softmax, and scaled dot-product attention head by head: `y = softmax(scale q k^T + mask) v`. In
//! come queries, keys and values of a batch, out go values and, in the modules, tangents and
//! cotangents. Scores exist for a block of queries at a time. Called by `Attend` and
//! `Softmax`.

pub(crate) mod cotangents;
pub(crate) mod heads;
pub(crate) mod mixed;
pub(crate) mod softmax;
pub(crate) mod tangent;

use candle_core::{Shape, Tensor};

use crate::{
    error::Result,
    loops::{
        attention::heads::{Head, Heads, composed_probabilities, unpacked},
        batched::batched_matmul,
        host_op::HostOp,
        matmul::{add_product, rows, rows_mut},
        real::Real,
    },
};

/// Inputs: q, k and v, or one tensor of all, and the mask, if there is one.
struct Attention {
    heads: Heads,
    masked: bool,
}

impl Attention {
    fn head<T: Real>(&self, head: &Head<'_, T>, scratch: &mut Vec<T>, out: &mut [T]) {
        let columns = self.heads.columns;
        for block in self.heads.blocks() {
            let seen = self.heads.seen(block.end);
            head.probabilities(&self.heads, &block, scratch);
            let out = &mut out[block.start * columns..block.end * columns];
            let out = rows_mut(out, block.len(), columns);
            add_product(out, rows(scratch, block.len(), seen), head.v.subrows(0, seen));
        }
    }
}

impl HostOp for Attention {
    const NAME: &'static str = "attention";

    fn output(&self) -> Shape {
        self.heads.result()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        self.heads.for_each_head(out, Vec::new, |scratch, at, out| {
            self.head(&Head::of(&self.heads, inputs, self.masked, at), scratch, out);
        });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let h = &self.heads;
        let mask = self.masked.then(|| inputs[h.inputs()]);
        if h.packed {
            let qkv = unpacked(h, inputs[0])?;
            let y = attention(Heads { packed: false, ..*h }, &qkv.each_ref(), mask)?;
            return Ok(y.transpose(1, 2)?.contiguous()?);
        }
        let p = composed_probabilities(h, [inputs[0], inputs[1]], mask)?;
        Ok(batched_matmul(&p, inputs[2], [false; 2])?.reshape(h.result())?)
    }
}

/// `softmax(scale q k^T + mask) v`, for q, k and v, or one tensor of all: see
/// [`Heads`](heads::Heads) for shapes.
pub(crate) fn attention(heads: Heads, qkv: &[&Tensor], mask: Option<&Tensor>) -> Result<Tensor> {
    let inputs: Vec<&Tensor> = qkv.iter().copied().chain(mask).collect();
    Attention { heads, masked: mask.is_some() }.apply(&inputs)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::{attention::heads::packed, host_op::testing::numbers};

    /// Scores of 5 terms of size 4, in exponentials, and averages of values of size 2.
    pub(super) const ROUND_OFF: f64 = 4096.0 * f64::EPSILON;

    /// One block and several, heads of their own and in groups, more keys than queries and fewer.
    pub(super) fn cases() -> Vec<(Heads, bool)> {
        let heads = Heads {
            examples: 2,
            groups: 2,
            ratio: 3,
            queries: 5,
            keys: 7,
            width: 5,
            columns: 3,
            scale: 0.4,
            causal: false,
            packed: false,
        };
        let long = Heads { examples: 1, ratio: 1, queries: 50, keys: 1500, ..heads };
        assert!(long.block() < 50);
        let shapes = [heads, long, Heads { ratio: 1, queries: 9, ..heads }];
        let cases = |heads| {
            [(false, false), (true, false), (false, true), (true, true)]
                .map(|(causal, masked)| (Heads { causal, ..heads }, masked))
        };
        shapes.into_iter().flat_map(cases).collect()
    }

    /// q, k and v, and a mask that takes out some keys but never the first.
    pub(super) fn inputs(heads: &Heads, seed: u64) -> Result<([Tensor; 3], Tensor)> {
        let Heads { examples, groups, queries, keys, width, columns, .. } = *heads;
        let tensor = |shape: [usize; 4], seed| {
            Tensor::from_vec(numbers(shape.iter().product(), seed), &shape, &Device::Cpu)
        };
        let q = tensor([examples, heads.heads(), queries, width], seed)?;
        let k = tensor([examples, groups, keys, width], seed + 1)?;
        let v = tensor([examples, groups, keys, columns], seed + 2)?;
        let mut mask = numbers(queries * keys, 9);
        let entries = mask.iter_mut().enumerate().filter(|(at, _)| at % keys % 3 == 2);
        entries.for_each(|(_, mask)| *mask = f64::NEG_INFINITY);
        Ok(([q, k, v], Tensor::from_vec(mask, (queries, keys), &Device::Cpu)?))
    }

    pub(super) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
        assert_eq!(a.dims(), b.dims());
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= tolerance, "{error:e}");
        Ok(())
    }

    /// The definition for one query, key by key.
    fn plain(h: &Heads, [q, k, v]: [&[f64]; 3], mask: Option<&[f64]>, query: usize) -> Vec<f64> {
        let score = |key: usize| {
            let products = (0..h.width).map(|at| q[query * h.width + at] * k[key * h.width + at]);
            let unseen = h.causal && key > query;
            let mask = mask.map_or(0.0, |mask| mask[query * h.keys + key]);
            if unseen { 0.0 } else { (h.scale * products.sum::<f64>() + mask).exp() }
        };
        let scores: Vec<f64> = (0..h.keys).map(score).collect();
        let sum: f64 = scores.iter().sum();
        let value = |column: usize| {
            (0..h.keys).map(|key| scores[key] * v[key * h.columns + column]).sum::<f64>() / sum
        };
        (0..h.columns).map(value).collect()
    }

    #[test]
    fn values_are_those_of_the_definition() -> Result<()> {
        for (h, masked) in cases() {
            let (qkv, mask) = inputs(&h, 1)?;
            let mask = masked.then_some(&mask);
            let y = attention(h, &qkv.each_ref(), mask)?;
            let host = |x: &Tensor| x.flatten_all()?.to_vec1::<f64>();
            let (q, k, v) = (host(&qkv[0])?, host(&qkv[1])?, host(&qkv[2])?);
            let values = mask.map(host).transpose()?;
            let mut expected = Vec::new();
            for at in 0..h.examples * h.heads() {
                let group = at / h.ratio;
                let head = [
                    &q[at * h.queries * h.width..],
                    &k[group * h.keys * h.width..],
                    &v[group * h.keys * h.columns..],
                ];
                for query in 0..h.queries {
                    expected.extend(plain(&h, head, values.as_deref(), query));
                }
            }
            let expected = Tensor::from_vec(expected, y.shape(), &Device::Cpu)?;
            assert_close(&y, &expected, ROUND_OFF)?;
            let all: Vec<&Tensor> = qkv.iter().chain(mask).collect();
            assert_close(&Attention { heads: h, masked }.composed(&all)?, &expected, ROUND_OFF)?;
        }
        Ok(())
    }

    /// Sizes of one tensor of all, as a projection writes it.
    pub(super) fn packed_cases() -> Vec<(Heads, bool)> {
        let heads = |(h, masked): (Heads, bool)| {
            let tokens = h.queries.max(h.keys);
            let (queries, keys, columns, groups) = (tokens, tokens, h.width, h.heads());
            let scale = h.scale / 4.0;
            (Heads { queries, keys, columns, groups, scale, ratio: 1, packed: true, ..h }, masked)
        };
        cases().into_iter().map(heads).filter(|(h, _)| h.keys < 100).collect()
    }

    #[test]
    fn packed_values_are_those_of_values_apart() -> Result<()> {
        for (h, masked) in packed_cases() {
            let apart = Heads { packed: false, ..h };
            let (qkv, mask) = inputs(&apart, 1)?;
            let mask = masked.then_some(&mask);
            let expected = attention(apart, &qkv.each_ref(), mask)?.transpose(1, 2)?;
            let all = packed(qkv.each_ref())?;
            assert_close(&attention(h, &[&all], mask)?, &expected, 0.0)?;
            let all: Vec<&Tensor> = [&all].into_iter().chain(mask).collect();
            assert_close(&Attention { heads: h, masked }.composed(&all)?, &expected, ROUND_OFF)?;
        }
        Ok(())
    }
}
