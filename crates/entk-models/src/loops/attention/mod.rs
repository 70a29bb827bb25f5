//! Softmax, and scaled dot-product attention head by head: `y = softmax(scale q k^T + mask) v`. In
//! come queries, keys and values of a batch, out go values and, in [`derivatives`], tangents and
//! cotangents. Scores exist for a block of queries at a time. Called by `Attend` and `Softmax`.

pub(crate) mod derivatives;
pub(crate) mod softmax;

use std::ops::Range;

use candle_core::{Shape, Tensor};
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        attention::softmax::{softmax, softmax_row},
        batched::batched_matmul,
        host_op::{HostOp, vectorised},
        matmul::{add_product, rows, rows_mut},
        real::Real,
    },
};

/// Scores that one block of queries holds at most, unless it has [`FEWEST_QUERIES`].
const SCORES: usize = 1 << 16;
const FEWEST_QUERIES: usize = 32;

/// The sizes of an attention: q (N, groups ratio, queries, width), k (N, groups, keys, width) and v
/// (N, groups, keys, columns). Head h reads keys and values of group h / ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heads {
    pub(crate) examples: usize,
    pub(crate) groups: usize,
    pub(crate) ratio: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) width: usize,
    pub(crate) columns: usize,
    /// Factor of the scores.
    pub(crate) scale: f64,
    /// Query t sees the keys 0 to t alone.
    pub(crate) causal: bool,
}

impl Heads {
    fn heads(&self) -> usize {
        self.groups * self.ratio
    }

    /// Shape of the result.
    fn result(&self) -> Shape {
        (self.examples, self.heads(), self.queries, self.columns).into()
    }

    /// Queries of one block.
    fn block(&self) -> usize {
        (SCORES / self.keys).max(FEWEST_QUERIES).min(self.queries)
    }

    /// The blocks of the queries of a head.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (block, queries) = (self.block(), self.queries);
        (0..queries).step_by(block).map(move |start| start..(start + block).min(queries))
    }

    /// Keys that the queries before `end` see.
    fn seen(&self, end: usize) -> usize {
        if self.causal { self.keys.min(end) } else { self.keys }
    }
}

/// Queries, keys, values and the mask, (queries, keys), that is added to the scores.
#[derive(Clone, Copy)]
struct Slices<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    mask: Option<&'a [T]>,
}

impl<'a, T: Real> Slices<'a, T> {
    /// The first inputs of a loop: q, k, v and, if there is one, the mask.
    fn of(inputs: &[&'a [T]], masked: bool) -> Self {
        let mask = masked.then(|| inputs[3]);
        Self { q: inputs[0], k: inputs[1], v: inputs[2], mask }
    }

    /// Those of one head of the batch.
    fn head(&self, heads: &Heads, head: usize) -> Self {
        let group = head / heads.ratio;
        Self {
            q: part(self.q, head, heads.queries * heads.width),
            k: part(self.k, group, heads.keys * heads.width),
            v: part(self.v, group, heads.keys * heads.columns),
            mask: self.mask,
        }
    }
}

/// Number `at` of the parts of this length.
fn part<T>(slice: &[T], at: usize, length: usize) -> &[T] {
    &slice[at * length..(at + 1) * length]
}

/// Some rows of this many columns.
fn some_rows<'a, T>(slice: &'a [T], range: &Range<usize>, columns: usize) -> MatRef<'a, T> {
    rows(&slice[range.start * columns..range.end * columns], range.len(), columns)
}

/// `a b` in memory that holds other numbers.
fn set_product<T: Real>(out: &mut [T], a: MatRef<'_, T>, b: MatRef<'_, T>) {
    out.fill(T::zero());
    add_product(rows_mut(out, a.nrows(), b.ncols()), a, b);
}

/// The probabilities of a block of queries, one row a query, over the keys that the block sees.
fn probabilities<T: Real>(
    heads: &Heads,
    head: &Slices<'_, T>,
    block: &Range<usize>,
    out: &mut Vec<T>,
) {
    let seen = heads.seen(block.end);
    out.resize(block.len() * seen, T::zero());
    let keys = some_rows(head.k, &(0..seen), heads.width);
    set_product(out, some_rows(head.q, block, heads.width), keys.transpose());
    let scale = T::from_f64(heads.scale);
    vectorised(
        #[inline(always)]
        || {
            for (row, query) in out.chunks_exact_mut(seen).zip(block.clone()) {
                let (row, unseen) = row.split_at_mut(heads.seen(query + 1));
                row.iter_mut().for_each(|score| *score *= scale);
                if let Some(mask) = head.mask {
                    let mask = part(mask, query, heads.keys);
                    row.iter_mut().zip(mask).for_each(|(score, mask)| *score += *mask);
                }
                softmax_row(row);
                unseen.fill(T::zero());
            }
        },
    );
}

/// Inputs: q, k, v and the mask, if there is one.
struct Attention {
    heads: Heads,
    masked: bool,
}

impl Attention {
    fn head<T: Real>(&self, head: &Slices<'_, T>, scratch: &mut Vec<T>, out: &mut [T]) {
        let columns = self.heads.columns;
        for block in self.heads.blocks() {
            let seen = self.heads.seen(block.end);
            probabilities(&self.heads, head, &block, scratch);
            let out = &mut out[block.start * columns..block.end * columns];
            let out = rows_mut(out, block.len(), columns);
            let values = some_rows(head.v, &(0..seen), columns);
            add_product(out, rows(scratch, block.len(), seen), values);
        }
    }
}

impl HostOp for Attention {
    const NAME: &'static str = "attention";

    fn output(&self) -> Shape {
        self.heads.result()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let slices = Slices::of(inputs, self.masked);
        (out.par_chunks_mut(self.heads.queries * self.heads.columns).enumerate())
            .for_each_init(Vec::new, |scratch, (at, out)| {
                self.head(&slices.head(&self.heads, at), scratch, out)
            });
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let p = composed_probabilities(&self.heads, inputs, self.masked)?;
        Ok(batched_matmul(&p, inputs[2], [false; 2])?.reshape(self.heads.result())?)
    }
}

/// All probabilities, (N, groups, ratio queries, keys), in tensor operations.
fn composed_probabilities(heads: &Heads, inputs: &[&Tensor], masked: bool) -> Result<Tensor> {
    let Heads { examples, groups, ratio, queries, keys, .. } = *heads;
    let q = by_group(heads, inputs[0])?;
    let mut scores = (batched_matmul(&q, inputs[1], [false, true])? * heads.scale)?.reshape((
        examples,
        groups * ratio,
        queries,
        keys,
    ))?;
    if masked {
        scores = scores.broadcast_add(inputs[3])?;
    }
    if heads.causal {
        scores = scores.broadcast_add(&causal_mask(queries, keys, &scores)?)?;
    }
    by_group(heads, &softmax(&scores)?)
}

/// (N, heads, queries, ...) as (N, groups, ratio queries, ...).
fn by_group(heads: &Heads, x: &Tensor) -> Result<Tensor> {
    let rows = heads.ratio * heads.queries;
    Ok(x.contiguous()?.reshape((heads.examples, heads.groups, rows, x.dim(3)?))?)
}

/// 0 where query t sees key s, s <= t, and minus infinity elsewhere.
pub(crate) fn causal_mask(queries: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let entry = |at: usize| if at % keys <= at / keys { 0.0 } else { f64::NEG_INFINITY };
    let mask: Vec<f64> = (0..queries * keys).map(entry).collect();
    Ok(Tensor::from_vec(mask, (queries, keys), like.device())?.to_dtype(like.dtype())?)
}

/// `softmax(scale q k^T + mask) v`, (N, heads, queries, columns).
pub(crate) fn attention(heads: Heads, qkv: [&Tensor; 3], mask: Option<&Tensor>) -> Result<Tensor> {
    let inputs: Vec<&Tensor> = qkv.into_iter().chain(mask).collect();
    Attention { heads, masked: mask.is_some() }.apply(&inputs)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

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
            let y = attention(h, [&qkv[0], &qkv[1], &qkv[2]], mask)?;
            let host = |x: &Tensor| x.flatten_all()?.to_vec1::<f64>();
            let (q, k, v) = (host(&qkv[0])?, host(&qkv[1])?, host(&qkv[2])?);
            let values = mask.map(host).transpose()?;
            let mut expected = Vec::new();
            for at in 0..h.examples * h.heads() {
                let group = at / h.ratio;
                let head = [
                    part(&q, at, h.queries * h.width),
                    part(&k, group, h.keys * h.width),
                    part(&v, group, h.keys * h.columns),
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
}
