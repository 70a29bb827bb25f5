//! Row-major matrices with a row an example, as products read them.

use std::ops::Range;

use entk_models::Real;
use faer::MatRef;

use crate::{error::Result, memory::reserved};

/// Shortest side of a product. faer takes other routes, with other roundings, for products with a
/// side below 8; shorter tiles are computed this long and cropped.
pub(crate) const SHORTEST: usize = 16;

/// A row-major matrix with one row per example, followed by rows of zeros that lengthen a
/// range of examples which is too short for a product.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    values: Vec<T>,
    width: usize,
}

impl<T: Real> Rows<T> {
    /// No rows yet, and memory for `count` of `width` numbers.
    pub(crate) fn with_capacity(count: usize, width: usize) -> Result<Self> {
        Ok(Self { values: reserved(count + SHORTEST, width)?, width })
    }

    /// Memory of earlier rows for `count` others of `width` numbers, all of which are to be
    /// written.
    pub(crate) fn reused(&mut self, count: usize, width: usize) -> &mut [T] {
        self.width = width;
        self.values.resize((count + SHORTEST - 1) * width, T::zero());
        let (rows, padding) = self.values.split_at_mut(count * width);
        padding.fill(T::zero());
        rows
    }

    pub(crate) fn extend(&mut self, values: &[T]) {
        self.values.extend_from_slice(values);
    }

    /// Appends the zeros; call once, after the last row.
    pub(crate) fn pad(&mut self) {
        self.values.resize(self.values.len() + (SHORTEST - 1) * self.width, T::zero());
    }

    /// Some rows, one after the other.
    pub(crate) fn part(&self, range: &Range<usize>) -> &[T] {
        &self.values[range.start * self.width..range.end * self.width]
    }

    /// A block of rows; the range may reach into the zeros.
    pub(crate) fn view(&self, range: &Range<usize>) -> MatRef<'_, T> {
        MatRef::from_row_major_slice(self.part(range), range.len(), self.width)
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { values: Vec::new(), width: 0 }
    }
}

/// The inputs and cotangents of a layer whose Jacobian rows are not kept: cotangents have a row
/// each row of the kernel, inputs one for `sharing` of these, the outputs of an example.
#[derive(Debug)]
pub(crate) struct FactorPair<T> {
    pub(crate) inputs: Rows<T>,
    pub(crate) cotangents: Rows<T>,
    pub(crate) sharing: usize,
}

impl<T: Real> FactorPair<T> {
    /// Memory for `count` rows of so many inputs and cotangents.
    pub(crate) fn with_capacity(
        count: usize,
        [inputs, cotangents]: [usize; 2],
        sharing: usize,
    ) -> Result<Self> {
        Ok(Self {
            inputs: Rows::with_capacity(count / sharing, inputs)?,
            cotangents: Rows::with_capacity(count, cotangents)?,
            sharing,
        })
    }

    pub(crate) fn pad(&mut self) {
        self.inputs.pad();
        self.cotangents.pad();
    }
}

/// Rows and columns of a part of the kernel, and those of the inputs behind them.
#[derive(Debug)]
pub(crate) struct SharedInputs {
    sharing: usize,
    /// Rows, and columns, of inputs that are multiplied, as long as a product needs.
    pub(crate) inputs: [Range<usize>; 2],
    /// Rows and columns of the first input that belong to the part before.
    skip: [usize; 2],
    width: usize,
}

impl SharedInputs {
    pub(crate) fn new(sharing: usize, rows: &Range<usize>, cols: &Range<usize>) -> Self {
        let of = |range: &Range<usize>| {
            lengthened(&(range.start / sharing..range.end.div_ceil(sharing)))
        };
        let skip = [rows, cols].map(|range| range.start % sharing);
        Self { sharing, inputs: [of(rows), of(cols)], skip, width: cols.len() }
    }

    /// Numbers of a product of inputs.
    pub(crate) fn size(&self) -> usize {
        self.inputs[0].len() * self.inputs[1].len()
    }

    /// `tile += (a + bias) * d`: a is the product of the inputs behind every row and column, d that
    /// of cotangents. `line` is memory that is used again.
    pub(crate) fn add<A: Real>(
        &self,
        tile: &mut [A],
        [a, d]: [&[A]; 2],
        bias: A,
        line: &mut Vec<A>,
    ) {
        let [skip_rows, skip] = self.skip;
        let needed = (skip + self.width).div_ceil(self.sharing);
        let rows = tile.chunks_exact_mut(self.width).zip(d.chunks_exact(self.width));
        let mut last = usize::MAX;
        for (at, (tile, d)) in rows.enumerate() {
            let input = (skip_rows + at) / self.sharing;
            if input != last {
                let a = &a[input * self.inputs[1].len()..][..needed];
                line.clear();
                match self.sharing {
                    1 => line.extend(a.iter().map(|a| *a + bias)),
                    n => line.extend(a.iter().flat_map(|a| std::iter::repeat_n(*a + bias, n))),
                }
                last = input;
            }
            for ((k, a), d) in tile.iter_mut().zip(&line[skip..]).zip(d) {
                *k += *a * *d;
            }
        }
    }
}

/// The range, lengthened to what a product needs.
pub(crate) fn lengthened(range: &Range<usize>) -> Range<usize> {
    range.start..range.end.max(range.start + SHORTEST)
}

/// Cuts a range into parts of `edge`; a rest too short for a product goes to the last one.
pub(crate) fn cuts(range: &Range<usize>, edge: usize) -> Vec<Range<usize>> {
    let (edge, n) = (edge.max(SHORTEST), range.len());
    let whole = (n / edge).max(1);
    let count = if n > whole * edge && n - whole * edge >= SHORTEST { whole + 1 } else { whole };
    let at = |c: usize| range.start + c * edge;
    (0..count).map(|c| at(c)..if c + 1 == count { range.end } else { at(c + 1) }).collect()
}
