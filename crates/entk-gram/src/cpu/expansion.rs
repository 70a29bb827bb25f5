//! Convolutions and dense layers over tokens whose Jacobian rows are expanded from their factors,
//! some filters or outputs at a time.

use std::ops::Range;

use entk_models::{ConvRows, Geometry, Real};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::{
    cpu::rows::{FactorPair, Rows, SHORTEST},
    factors::form::TokenSizes,
};

/// Columns of a range of filters at least.
const RANGE_COLUMNS: usize = 512;
/// Filters of a range at least, as far as there are; see [`SHORTEST`].
const RANGE_FILTERS: usize = 16;

/// A layer whose Jacobian rows (of a convolution C' C k k numbers an example) are longer than the
/// factors they are made of: the rows of some filters, or outputs, at a time are expanded where
/// they are multiplied.
#[derive(Debug, Clone)]
pub(crate) struct Expansion {
    filters: usize,
    /// Columns of the rows of one filter.
    patch: usize,
    of: Expandable,
}

#[derive(Debug, Clone, Copy)]
enum Expandable {
    Conv(Geometry),
    Tokens(TokenSizes),
}

/// The expanded rows of some examples for consecutive ranges, in memory that is used again.
#[derive(Debug)]
pub(crate) struct Expanded<T> {
    pub(crate) rows: Rows<T>,
}

impl<T> Default for Expanded<T> {
    fn default() -> Self {
        Self { rows: Rows::default() }
    }
}

impl Expansion {
    pub(crate) fn of_conv(geometry: Geometry) -> Self {
        let (filters, patch) = (geometry.filters, geometry.patch());
        Self { filters, patch, of: Expandable::Conv(geometry) }
    }

    pub(crate) fn of_tokens(tokens: TokenSizes) -> Self {
        let TokenSizes { inputs, outputs, .. } = tokens;
        Self { filters: outputs, patch: inputs, of: Expandable::Tokens(tokens) }
    }

    /// Ranges of filters whose products are added one after the other. A function of the layer's
    /// sizes alone, so that every entry of K is the same sequence of operations whatever the
    /// memory.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let &Self { filters, patch, .. } = self;
        let range = RANGE_COLUMNS.div_ceil(patch).max(RANGE_FILTERS);
        (0..filters).step_by(range).map(|f| f..(f + range).min(filters)).collect()
    }

    /// The ranges, as many at a time as fit into `bytes` for so many examples.
    pub(crate) fn passes<T>(&self, examples: usize, bytes: usize) -> Vec<Vec<Range<usize>>> {
        let mut passes: Vec<Vec<Range<usize>>> = Vec::new();
        let mut taken = usize::MAX;
        for range in self.ranges() {
            let more = self.columns(&range) * (examples + SHORTEST) * size_of::<T>();
            match passes.last_mut() {
                Some(pass) if taken.saturating_add(more) <= bytes => pass.push(range),
                _ => {
                    passes.push(vec![range]);
                    taken = 0;
                }
            }
            taken += more;
        }
        passes
    }

    /// Columns of the rows of these filters.
    pub(crate) fn columns(&self, filters: &Range<usize>) -> usize {
        filters.len() * self.patch
    }
}

impl<T: Real> Expanded<T> {
    /// Jacobian rows of a range of examples for consecutive ranges of filters, several examples
    /// at a time. Cost: one product of inner size H' W', or T, an example.
    pub(crate) fn fill(
        &mut self,
        expansion: &Expansion,
        pair: &FactorPair<T>,
        examples: &Range<usize>,
        ranges: &[Range<usize>],
    ) {
        let filters = ranges.first().map_or(0, |u| u.start)..ranges.last().map_or(0, |u| u.end);
        let width = expansion.columns(&filters);
        let rows = self.rows.reused(examples.len(), width);
        let (sharing, first) = (pair.sharing, examples.start / pair.sharing);
        let inputs = pair.inputs.part(&(first..examples.end.div_ceil(sharing)));
        let cotangents = pair.cotangents.part(examples);
        let [input_len, output_len] = match expansion.of {
            Expandable::Conv(g) => [g.input_len(), g.output_len()],
            Expandable::Tokens(t) => [t.tokens * t.inputs, t.tokens * t.outputs],
        };
        let input = |row: usize| {
            let at = (examples.start + row) / sharing - first;
            &inputs[at * input_len..(at + 1) * input_len]
        };
        let each = (rows.par_chunks_mut(width))
            .enumerate()
            .map(|(at, row)| (row, input(at)))
            .zip(cotangents.par_chunks(output_len));
        match expansion.of {
            Expandable::Conv(g) => each.for_each_init(
                || ConvRows::new(g),
                |conv, ((row, x), dy)| conv.write(x, dy, &filters, row),
            ),
            Expandable::Tokens(t) => {
                each.for_each(|((row, x), dy)| token_rows(&t, x, dy, &filters, row));
            }
        }
    }
}

/// Fills `row`, (outputs, in): the sum over tokens of `d (x) a`.
fn token_rows<T: Real>(
    TokenSizes { tokens, inputs, outputs }: &TokenSizes,
    x: &[T],
    dy: &[T],
    filters: &Range<usize>,
    row: &mut [T],
) {
    let x = MatRef::from_row_major_slice(x, *tokens, *inputs);
    let dy = MatRef::from_row_major_slice(dy, *tokens, *outputs);
    let dy = dy.subcols(filters.start, filters.len()).transpose();
    let row = MatMut::from_row_major_slice_mut(row, filters.len(), *inputs);
    matmul(row, Accum::Replace, dy, x, T::one(), Par::Seq);
}
