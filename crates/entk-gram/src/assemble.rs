use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use entk_models::Real;
use rayon::prelude::*;

use crate::{
    error::{GramError, Result},
    features::Features,
    tile::{Scratch, compute},
};

/// Told after every finished panel: (entries done, entries in all). Called from worker threads.
pub type Observer<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Which columns of a row panel are computed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// Tiles on and below the diagonal; the rest stays zero.
    Lower,
}

/// Shortest side of a tile. faer takes other routes, with other roundings, for products with a
/// side below 8; no tile is that short unless the whole matrix is.
const SHORTEST: usize = 16;

/// Cuts `0..n` into ranges of `edge`, a short rest joined to the last one.
fn cuts(n: usize, edge: usize) -> Vec<Range<usize>> {
    let edge = edge.max(SHORTEST);
    let whole = (n / edge).max(1);
    let count = if n > whole * edge && n - whole * edge >= SHORTEST { whole + 1 } else { whole };
    (0..count).map(|c| c * edge..if c + 1 == count { n } else { (c + 1) * edge }).collect()
}

/// The `left.count` x `right.count` kernel, row-major, in tiles of about `edge` x `edge`.
pub(crate) fn assemble<T: Real>(
    left: &Features<T>,
    right: &Features<T>,
    part: Part,
    edge: usize,
    observe: &Observer<'_>,
) -> Result<Vec<T>> {
    let (m, n) = (left.count, right.count);
    let size = m.checked_mul(n).filter(|size| *size <= isize::MAX as usize / size_of::<T>());
    let size = size.ok_or(GramError::TooLarge { rows: m, cols: n })?;
    let mut kernel = vec![T::zero(); size];

    let columns = cuts(n, edge);
    let needed = |rows: &Range<usize>| match part {
        Part::Whole => &columns[..],
        Part::Lower => &columns[..columns.partition_point(|cols| cols.start < rows.end)],
    };
    let entries = |rows: &Range<usize>| rows.len() * needed(rows).last().map_or(0, |c| c.end);
    let panels = split(&mut kernel, &cuts(m, edge), n);
    let total = panels.iter().map(|(rows, _)| entries(rows)).sum();
    let done = AtomicUsize::new(0);
    // Long panels first: the short ones fill the gaps at the end.
    panels.into_par_iter().rev().with_max_len(1).for_each(|(rows, panel)| {
        let (mut scratch, mut tile) = (Scratch::new(), Vec::new());
        for cols in needed(&rows) {
            tile.resize(rows.len() * cols.len(), T::zero());
            compute(left, rows.clone(), right, cols.clone(), &mut scratch, &mut tile);
            for (target, source) in panel.chunks_mut(n).zip(tile.chunks(cols.len())) {
                target[cols.clone()].copy_from_slice(source);
            }
        }
        let now = entries(&rows);
        observe(done.fetch_add(now, Ordering::Relaxed) + now, total);
    });
    Ok(kernel)
}

/// The rows of an m x n matrix as one mutable panel per range.
fn split<'a, T>(
    mut matrix: &'a mut [T],
    ranges: &[Range<usize>],
    n: usize,
) -> Vec<(Range<usize>, &'a mut [T])> {
    let mut panels = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (panel, rest) = matrix.split_at_mut(range.len() * n);
        panels.push((range.clone(), panel));
        matrix = rest;
    }
    panels
}
