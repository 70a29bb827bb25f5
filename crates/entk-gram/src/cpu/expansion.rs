//! Convolutions whose Jacobian rows are expanded from their factors, some filters at a time.

use std::ops::Range;

use entk_models::{ConvRows, Geometry, Real};
use rayon::prelude::*;

use crate::cpu::rows::{FactorPair, Rows, SHORTEST};

/// Columns of a range of filters at least.
const RANGE_COLUMNS: usize = 512;
/// Filters of a range at least, as far as there are; see [`SHORTEST`].
const RANGE_FILTERS: usize = 16;

/// A convolution whose Jacobian rows (C' C k k numbers an example) are longer than the factors
/// they are made of: the rows of some filters at a time are expanded where they are multiplied.
#[derive(Debug, Clone)]
pub(crate) struct Expansion {
    geometry: Geometry,
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
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry }
    }

    /// Ranges of filters whose products are added one after the other. A function of the
    /// geometry alone, so that every entry of K is the same sequence of operations whatever the
    /// memory.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let (filters, patch) = (self.geometry.filters, self.geometry.patch());
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
        filters.len() * self.geometry.patch()
    }
}

impl<T: Real> Expanded<T> {
    /// Jacobian rows of a range of examples for consecutive ranges of filters, several examples
    /// at a time. Cost: one product of inner size H' W' an example.
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
        let inputs = pair.inputs.part(examples);
        let cotangents = pair.cotangents.part(examples);
        let g = expansion.geometry;
        (rows.par_chunks_mut(width))
            .zip(inputs.par_chunks(g.input_len()))
            .zip(cotangents.par_chunks(g.output_len()))
            .for_each_init(
                || ConvRows::new(g),
                |conv, ((row, x), dy)| conv.write(x, dy, &filters, row),
            );
    }
}
