//! The heads of an attention: where their queries, keys and values lie in the inputs, and the
//! probabilities of a block of queries. Called by the loops of values and derivatives.

use std::ops::Range;

use candle_core::{Shape, Tensor};
use faer::MatRef;
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        attention::softmax::{softmax, softmax_derivative_row, softmax_row},
        batched::batched_matmul,
        host_op::vectorised,
        matmul::{add_product, rows_mut},
        real::Real,
    },
};

/// Scores that one block of queries holds at most, unless it has [`FEWEST_QUERIES`].
const SCORES: usize = 1 << 16;
const FEWEST_QUERIES: usize = 32;

/// The sizes of an attention: q (N, groups ratio, queries, width), k (N, groups, keys, width) and v
/// (N, groups, keys, columns). Head h reads keys and values of group h / ratio.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
    /// The three are one tensor (N, tokens, 3, heads, width), and so are tangents and cotangents;
    /// results are (N, tokens, heads, width).
    pub(crate) packed: bool,
}

impl Heads {
    pub(super) fn heads(&self) -> usize {
        self.groups * self.ratio
    }

    /// Shape of the result.
    pub(super) fn result(&self) -> Shape {
        if self.packed {
            return (self.examples, self.queries, self.heads(), self.columns).into();
        }
        (self.examples, self.heads(), self.queries, self.columns).into()
    }

    /// Tensors that hold q, k and v.
    pub(super) fn inputs(&self) -> usize {
        if self.packed { 1 } else { 3 }
    }

    /// Queries of one block.
    pub(super) fn block(&self) -> usize {
        (SCORES / self.keys).max(FEWEST_QUERIES).min(self.queries)
    }

    /// The blocks of the queries of a head.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (block, queries) = (self.block(), self.queries);
        (0..queries).step_by(block).map(move |start| start..(start + block).min(queries))
    }

    /// Keys that the queries before `end` see.
    pub(super) fn seen(&self, end: usize) -> usize {
        if self.causal { self.keys.min(end) } else { self.keys }
    }

    /// Queries (0), keys (1) or values (2) of a head of the batch in the tensor that holds them, or
    /// a tangent of them.
    pub(super) fn matrix<'a, T>(&self, all: &'a [T], which: usize, head: usize) -> MatRef<'a, T> {
        let (count, columns) = match which {
            0 => (self.queries, self.width),
            1 => (self.keys, self.width),
            _ => (self.keys, self.columns),
        };
        let (start, stride) = if self.packed {
            let (example, head) = (head / self.heads(), head % self.heads());
            let stride = 3 * self.heads() * self.width;
            (example * count * stride + (which * self.heads() + head) * columns, stride)
        } else {
            let place = if which == 0 { head } else { head / self.ratio };
            (place * count * columns, columns)
        };
        strided(&all[start..], count, columns, stride)
    }

    /// One head of the batch in a tensor of the result's shape.
    pub(super) fn of_result<'a, T>(&self, all: &'a [T], head: usize) -> MatRef<'a, T> {
        let (count, columns) = (self.queries, self.columns);
        let (start, stride) = if self.packed {
            let (example, head) = (head / self.heads(), head % self.heads());
            let stride = self.heads() * columns;
            (example * count * stride + head * columns, stride)
        } else {
            (head * count * columns, columns)
        };
        strided(&all[start..], count, columns, stride)
    }

    /// Fills a tensor of the result's shape, of zeros, head by head: `one(scratch, number of the
    /// head in the batch, its rows)`.
    pub(super) fn for_each_head<T: Real, S>(
        &self,
        out: &mut [T],
        scratch: impl Fn() -> S + Sync + Send,
        one: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
    ) {
        let from = |first: usize, out: &mut [T]| {
            (out.par_chunks_mut(self.queries * self.columns).enumerate())
                .for_each_init(&scratch, |scratch, (at, out)| one(scratch, first + at, out));
        };
        if !self.packed {
            return from(0, out);
        }
        let of_example = self.heads() * self.queries * self.columns;
        out.par_chunks_mut(of_example).enumerate().for_each(|(example, out)| {
            let mut values = vec![T::zero(); of_example];
            from(example * self.heads(), &mut values);
            interleave(&values, self.heads(), self.columns, out);
        });
    }
}

/// A matrix whose rows begin this far apart.
fn strided<T>(all: &[T], rows: usize, columns: usize, stride: usize) -> MatRef<'_, T> {
    let entries = &all[..(rows - 1) * stride + columns];
    MatRef::from_row_major_slice_with_stride(entries, rows, columns, stride)
}

/// Queries, keys and values of one head, and the mask, (queries, keys), that is added to scores.
#[derive(Clone, Copy)]
pub(super) struct Head<'a, T> {
    pub(super) q: MatRef<'a, T>,
    pub(super) k: MatRef<'a, T>,
    pub(super) v: MatRef<'a, T>,
    mask: Option<&'a [T]>,
}

impl<'a, T: Real> Head<'a, T> {
    /// A head of the batch, from the inputs of a loop: q, k and v, or one tensor of all, and the
    /// mask, if there is one.
    pub(super) fn of(heads: &Heads, inputs: &[&'a [T]], masked: bool, head: usize) -> Self {
        let matrix =
            |which: usize| heads.matrix(inputs[if heads.packed { 0 } else { which }], which, head);
        let mask = masked.then(|| inputs[heads.inputs()]);
        Self { q: matrix(0), k: matrix(1), v: matrix(2), mask }
    }

    /// The probabilities of a block of queries, one row a query, over the keys that it sees.
    pub(super) fn probabilities(&self, heads: &Heads, block: &Range<usize>, out: &mut Vec<T>) {
        let seen = heads.seen(block.end);
        out.resize(block.len() * seen, T::zero());
        let keys = self.k.subrows(0, seen);
        set_product(out, self.q.subrows(block.start, block.len()), keys.transpose());
        let scale = T::from_f64(heads.scale);
        vectorised(
            #[inline(always)]
            || {
                for (row, query) in out.chunks_exact_mut(seen).zip(block.clone()) {
                    let (row, unseen) = row.split_at_mut(heads.seen(query + 1));
                    row.iter_mut().for_each(|score| *score *= scale);
                    if let Some(mask) = self.mask {
                        let mask = &mask[query * heads.keys..(query + 1) * heads.keys];
                        row.iter_mut().zip(mask).for_each(|(score, mask)| *score += *mask);
                    }
                    softmax_row(row);
                    unseen.fill(T::zero());
                }
            },
        );
    }
}

/// `a b` in memory that holds other numbers.
pub(super) fn set_product<T: Real>(out: &mut [T], a: MatRef<'_, T>, b: MatRef<'_, T>) {
    out.fill(T::zero());
    add_product(rows_mut(out, a.nrows(), b.ncols()), a, b);
}

/// Probabilities of a block, and a matrix of the same size.
pub(super) struct Scratch<T> {
    pub(super) p: Vec<T>,
    pub(super) d: Vec<T>,
}

impl<T> Scratch<T> {
    pub(super) fn new() -> Self {
        Self { p: Vec::new(), d: Vec::new() }
    }
}

/// `scale p (d - <p, d>)` in place of d, row by row.
pub(super) fn score_derivative<T: Real>(p: &[T], d: &mut [T], seen: usize, scale: f64) {
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

/// Blocks (blocks, rows, columns) as (rows, blocks, columns).
pub(super) fn interleave<T: Copy>(from: &[T], blocks: usize, columns: usize, to: &mut [T]) {
    let rows = from.len() / (blocks * columns);
    for (row, to) in to.chunks_exact_mut(blocks * columns).enumerate() {
        for (block, to) in to.chunks_exact_mut(columns).enumerate() {
            let start = (block * rows + row) * columns;
            to.copy_from_slice(&from[start..start + columns]);
        }
    }
}

/// All probabilities, (N, groups, ratio queries, keys), in tensor operations.
pub(super) fn composed_probabilities(
    heads: &Heads,
    [q, k]: [&Tensor; 2],
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let Heads { examples, groups, ratio, queries, keys, .. } = *heads;
    let q = by_group(heads, q)?;
    let mut scores = (batched_matmul(&q, k, [false, true])? * heads.scale)?.reshape((
        examples,
        groups * ratio,
        queries,
        keys,
    ))?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    if heads.causal {
        scores = scores.broadcast_add(&causal_mask(queries, keys, &scores)?)?;
    }
    by_group(heads, &softmax(&scores)?)
}

/// (N, heads, queries, ...) as (N, groups, ratio queries, ...).
pub(super) fn by_group(heads: &Heads, x: &Tensor) -> Result<Tensor> {
    let rows = heads.ratio * heads.queries;
    Ok(x.contiguous()?.reshape((heads.examples, heads.groups, rows, x.dim(3)?))?)
}

/// 0 where query t sees key s, s <= t, and minus infinity elsewhere.
fn causal_mask(queries: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let entry = |at: usize| if at % keys <= at / keys { 0.0 } else { f64::NEG_INFINITY };
    let mask: Vec<f64> = (0..queries * keys).map(entry).collect();
    Ok(Tensor::from_vec(mask, (queries, keys), like.device())?.to_dtype(like.dtype())?)
}

/// q, k and v, (N, heads, tokens, width), of one tensor that holds all.
pub(super) fn unpacked(heads: &Heads, all: &Tensor) -> Result<[Tensor; 3]> {
    let shape = (heads.examples, heads.queries, 3, heads.heads(), heads.width);
    let all = all.reshape(shape)?.permute((2, 0, 3, 1, 4))?.contiguous()?;
    Ok([all.get(0)?, all.get(1)?, all.get(2)?])
}

/// The transpose of [`unpacked`].
pub(super) fn packed(parts: [&Tensor; 3]) -> Result<Tensor> {
    Ok(Tensor::stack(&parts, 0)?.permute((1, 3, 0, 2, 4))?.contiguous()?)
}
