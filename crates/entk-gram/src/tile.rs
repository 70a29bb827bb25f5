use std::ops::Range;

use entk_models::Real;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

use crate::features::{Features, Rows};

/// Columns that one product sums before the next adds to it. Fixed, so that every entry of K is
/// the same sequence of operations whatever the tile.
const CHUNK: usize = 512;

/// Scratch memory of one task.
pub(crate) struct Scratch<T> {
    inputs: Vec<T>,
    cotangents: Vec<T>,
}

impl<T> Scratch<T> {
    pub(crate) fn new() -> Self {
        Self { inputs: Vec::new(), cotangents: Vec::new() }
    }
}

/// The kernel between examples `rows` of `left` and `cols` of `right`, written to `tile`,
/// row-major. The layers are added in the order of the backward sweep.
pub(crate) fn compute<T: Real>(
    left: &Features<T>,
    rows: Range<usize>,
    right: &Features<T>,
    cols: Range<usize>,
    scratch: &mut Scratch<T>,
    tile: &mut [T],
) {
    tile.fill(T::zero());
    for (l, r) in left.rows.iter().zip(&right.rows) {
        add_inner_products(l, &rows, r, &cols, tile);
    }
    for (l, r) in left.dense.iter().zip(&right.dense) {
        for buffer in [&mut scratch.inputs, &mut scratch.cotangents] {
            buffer.clear();
            buffer.resize(tile.len(), T::zero());
        }
        add_inner_products(&l.inputs, &rows, &r.inputs, &cols, &mut scratch.inputs);
        add_inner_products(&l.cotangents, &rows, &r.cotangents, &cols, &mut scratch.cotangents);
        let bias = if l.bias { T::one() } else { T::zero() };
        for ((k, a), d) in tile.iter_mut().zip(&scratch.inputs).zip(&scratch.cotangents) {
            *k += (*a + bias) * *d;
        }
    }
}

/// `tile += left[rows] right[cols]^T`.
fn add_inner_products<T: Real>(
    left: &Rows<T>,
    rows: &Range<usize>,
    right: &Rows<T>,
    cols: &Range<usize>,
    tile: &mut [T],
) {
    let part = |m: &Rows<T>, range: &Range<usize>| range.start * m.width..range.end * m.width;
    let a = MatRef::from_row_major_slice(&left.values[part(left, rows)], rows.len(), left.width);
    let b = MatRef::from_row_major_slice(&right.values[part(right, cols)], cols.len(), left.width);
    let mut c = MatMut::from_row_major_slice_mut(tile, rows.len(), cols.len());
    for start in (0..left.width).step_by(CHUNK) {
        let width = CHUNK.min(left.width - start);
        let (a, b) = (a.subcols(start, width), b.subcols(start, width).transpose());
        matmul(c.as_mut(), Accum::Add, a, b, T::one(), Par::Seq);
    }
}
