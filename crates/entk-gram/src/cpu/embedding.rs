//! Embeddings, whose kernel is summed id by id: ids and cotangents go in, rows of the kernel that
//! share ids are multiplied. Kept by [`kept`](super::kept), called by [`tile`](super::tile).

use std::ops::Range;

use entk_models::Real;
use pulp::Arch;

use crate::{error::Result, memory::reserved};

/// Numbers that are summed in the type of the factors before the kernel's takes over.
const CHUNK: usize = 512;
/// Partial sums of a chunk, so that they fill vectors.
const LANES: usize = 32;
/// Columns whose sums stay in cache while the rows of their id pass by.
const COLUMNS: usize = 8;

/// The gradients of a table, a row of the kernel each: the ids that occur, ascending, and for each
/// the sum of the cotangents of its tokens.
///
/// `K(x, x') = sum_v g_v . g'_v` over the ids v of both, where `g_v` is that sum. Cost: D
/// multiply-adds an id that both have; memory D + 1 numbers an id.
#[derive(Debug)]
pub(crate) struct EmbeddingRows<T> {
    width: usize,
    /// Where the ids of each row begin, and where those of the last end.
    starts: Vec<usize>,
    ids: Vec<u32>,
    sums: Vec<T>,
}

/// An id of a row.
#[derive(Debug, Clone, Copy)]
struct Occurrence {
    id: u32,
    /// The row, counted from the first that is looked at.
    row: usize,
    /// Its place among all ids.
    at: usize,
}

impl<T: Real> EmbeddingRows<T> {
    /// No rows yet, and memory for `count` of so many tokens.
    pub(crate) fn with_capacity(count: usize, tokens: usize, width: usize) -> Result<Self> {
        let (ids, sums) = (reserved(count, tokens)?, reserved(count, tokens * width)?);
        Ok(Self { width, starts: vec![0], ids, sums })
    }

    /// The rows of a micro-batch, from the ids (N, T) and cotangents (N, T, D) of its tokens.
    pub(crate) fn of_tokens(ids: &[u32], cotangents: &[T], tokens: usize, width: usize) -> Self {
        let mut rows = Self { width, starts: vec![0], ids: Vec::new(), sums: Vec::new() };
        let each = cotangents.chunks_exact(tokens * width);
        for (ids, cotangents) in ids.chunks_exact(tokens).zip(each) {
            let mut order: Vec<usize> = (0..tokens).collect();
            order.sort_by_key(|token| ids[*token]);
            for same in order.chunk_by(|a, b| ids[*a] == ids[*b]) {
                let start = rows.sums.len();
                rows.ids.push(ids[same[0]]);
                rows.sums.resize(start + width, T::zero());
                for cotangents in same.iter().map(|token| &cotangents[token * width..]) {
                    rows.sums[start..].iter_mut().zip(cotangents).for_each(|(s, d)| *s += *d);
                }
            }
            rows.starts.push(rows.ids.len());
        }
        rows
    }

    /// Appends one row of others.
    pub(crate) fn push(&mut self, others: &Self, row: usize) {
        let range = others.starts[row]..others.starts[row + 1];
        self.ids.extend_from_slice(&others.ids[range.clone()]);
        self.sums.extend_from_slice(&others.sums[range.start * self.width..range.end * self.width]);
        self.starts.push(self.ids.len());
    }

    /// Adds the kernel between some rows and some of others to a row-major tile. The range may
    /// reach beyond the last row.
    pub(crate) fn add<A: Real>(
        &self,
        others: &Self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        tile: &mut [A],
    ) {
        let (left, right) = (self.by_id(rows), others.by_id(cols));
        let mut groups = right.chunk_by(same_id).peekable();
        for rows in left.chunk_by(same_id) {
            while groups.next_if(|group| group[0].id < rows[0].id).is_some() {}
            if let Some(group) = groups.next_if(|group| group[0].id == rows[0].id) {
                Arch::new().dispatch(
                    #[inline(always)]
                    || self.add_id(others, [rows, group], cols.len(), tile),
                );
            }
        }
    }

    /// Adds the products of one id.
    #[inline(always)]
    fn add_id<A: Real>(
        &self,
        others: &Self,
        [rows, cols]: [&[Occurrence]; 2],
        width: usize,
        tile: &mut [A],
    ) {
        for cols in cols.chunks(COLUMNS) {
            for row in rows {
                let left = self.sum(row.at);
                for col in cols {
                    tile[row.row * width + col.row] +=
                        inner_product::<T, A>(left, others.sum(col.at));
                }
            }
        }
    }

    #[inline(always)]
    fn sum(&self, at: usize) -> &[T] {
        &self.sums[at * self.width..(at + 1) * self.width]
    }

    /// All ids of some rows, ascending, those of one id in the order of the rows.
    fn by_id(&self, rows: &Range<usize>) -> Vec<Occurrence> {
        let last = self.starts.len() - 1;
        let of_row = |row: usize| {
            let of = move |at| Occurrence { id: self.ids[at], row: row - rows.start, at };
            (self.starts[row]..self.starts[row + 1]).map(of)
        };
        let mut all: Vec<_> = (rows.start..rows.end.min(last)).flat_map(of_row).collect();
        all.sort_by_key(|occurrence| occurrence.id);
        all
    }
}

fn same_id(a: &Occurrence, b: &Occurrence) -> bool {
    a.id == b.id
}

/// One fixed sequence of operations for each length.
#[inline(always)]
fn inner_product<T: Real, A: Real>(a: &[T], b: &[T]) -> A {
    let mut total = A::zero();
    for (a, b) in a.chunks(CHUNK).zip(b.chunks(CHUNK)) {
        total += A::from_f64(in_lanes(a, b).to_f64());
    }
    total
}

#[inline(always)]
fn in_lanes<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += *a * *b;
        }
    }
    let rest = left.remainder().iter().zip(right.remainder());
    lanes.iter_mut().zip(rest).for_each(|(lane, (a, b))| *lane += *a * *b);
    lanes.into_iter().fold(T::zero(), |sum, lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_whole_tables_in_any_tile() -> Result<()> {
        let (n, tokens, width, vocabulary) = (19, 7, 601, 12);
        let ids: Vec<u32> = (0..n * tokens).map(|at| (at * at % 37 % vocabulary) as u32).collect();
        let d: Vec<f64> = (0..n * tokens * width).map(|at| (at % 23) as f64 - 11.0).collect();
        let mut tables = vec![vec![0.0; vocabulary * width]; n];
        for (at, id) in ids.iter().enumerate() {
            for k in 0..width {
                tables[at / tokens][*id as usize * width + k] += d[at * width + k];
            }
        }
        let batch = EmbeddingRows::of_tokens(&ids, &d, tokens, width);
        let mut rows = EmbeddingRows::with_capacity(n, tokens, width)?;
        (0..n).for_each(|row| rows.push(&batch, row));
        for (first, second) in [(0..19, 0..19), (3..19, 0..16), (12..28, 18..34)] {
            let mut tile = vec![1.0_f64; first.len() * second.len()];
            rows.add(&rows, &first, &second, &mut tile);
            for (i, row) in first.clone().enumerate() {
                for (j, col) in second.clone().enumerate() {
                    // Integers: exact in any order.
                    let expected: f64 = match (tables.get(row), tables.get(col)) {
                        (Some(a), Some(b)) => a.iter().zip(b).map(|(a, b)| a * b).sum(),
                        _ => 0.0,
                    };
                    assert_eq!(tile[i * second.len() + j], 1.0 + expected, "{row} {col}");
                }
            }
        }
        Ok(())
    }
}
