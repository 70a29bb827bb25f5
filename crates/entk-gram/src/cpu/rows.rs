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

/// The inputs and cotangents of a layer whose Jacobian rows are not kept, a row of the kernel each.
#[derive(Debug)]
pub(crate) struct FactorPair<T> {
    pub(crate) inputs: Rows<T>,
    pub(crate) cotangents: Rows<T>,
}

impl<T: Real> FactorPair<T> {
    /// Memory for `count` rows of so many inputs and cotangents.
    pub(crate) fn with_capacity(count: usize, [inputs, cotangents]: [usize; 2]) -> Result<Self> {
        Ok(Self {
            inputs: Rows::with_capacity(count, inputs)?,
            cotangents: Rows::with_capacity(count, cotangents)?,
        })
    }

    pub(crate) fn pad(&mut self) {
        self.inputs.pad();
        self.cotangents.pad();
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
