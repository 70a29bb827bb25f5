//! Sums over bands in an order that no number of ranks changes: in come the terms of consecutive
//! bands, out go the sums of a binary tree over all bands. `row_bands` calls it.

use std::ops::Range;

/// The sum over the bands `index 2^level..(index + 1) 2^level`.
#[derive(Debug)]
pub(crate) struct Subtree {
    level: u32,
    index: usize,
    pub(crate) sum: Vec<f64>,
}

impl Subtree {
    /// The term of one band.
    pub(crate) fn band(index: usize, sum: Vec<f64>) -> Self {
        Self { level: 0, index, sum }
    }
}

/// Appends the subtree that follows those that are there, and joins what are two halves.
pub(crate) fn push(subtrees: &mut Vec<Subtree>, mut next: Subtree) {
    while next.index % 2 == 1
        && let Some(mut left) = subtrees.pop_if(|left| left.level == next.level)
    {
        left.sum.iter_mut().zip(&next.sum).for_each(|(sum, term)| *sum += term);
        next = Subtree { level: next.level + 1, index: next.index / 2, sum: left.sum };
    }
    subtrees.push(next);
}

/// The largest subtrees of consecutive bands, without their sums.
pub(crate) fn subtrees(bands: Range<usize>) -> Vec<Subtree> {
    let mut all = Vec::new();
    bands.for_each(|band| push(&mut all, Subtree::band(band, Vec::new())));
    all
}

/// The sum of what is left at the end, from the first band on.
pub(crate) fn total(subtrees: Vec<Subtree>) -> Vec<f64> {
    let mut sums = subtrees.into_iter().map(|subtree| subtree.sum);
    let mut total = sums.next().unwrap_or_default();
    for sum in sums {
        total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
    }
    total
}
