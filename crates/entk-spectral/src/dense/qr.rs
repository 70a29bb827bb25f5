//! Orthonormal columns: in comes one tall block W, out go Q and R with W = Q R, cut at the rank.
//! `svds`, `nystrom` and statistics call it for whole columns, `krylov` for distributed ones.

use std::ops::Range;

use faer::{
    Conj, Mat, MatMut, MatRef, Par,
    dyn_stack::{MemBuffer, MemStack, StackReq},
    linalg::{
        householder::{
            apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
            apply_block_householder_sequence_on_the_left_in_place_with_conj as apply,
        },
        qr::{col_pivoting, no_pivoting},
    },
};
use rayon::prelude::*;

use crate::{
    dense::{tall::combine, vector::zeros},
    error::{Result, SpectralError},
    ranks::row_bands::{BAND, RowBands},
};

/// W = Q R with orthonormal columns in Q and R of full row rank.
pub(crate) struct Orthonormal {
    /// Q, n x rank, column by column.
    pub(crate) q: Vec<f64>,
    /// R, rank x w, column by column.
    pub(crate) r: Mat<f64>,
    /// The smallest magnitude on the diagonal of R.
    pub(crate) smallest: f64,
}

/// W = Q R for a block W (n x w, n >= w, column by column), by Householder reflections. Directions
/// of W below `floor` in size are left out of Q: they are round-off, and their unit vectors would
/// be arbitrary.
///
/// Sequential, hence the same bits always; about 8 n w^2 operations.
pub(crate) fn orthonormal(mut block: Vec<f64>, n: usize, floor: f64) -> Result<Orthonormal> {
    let w = block.len() / n;
    let (q, r) = householder(&mut block, n, w)?;
    cut(q, r, n, BAND, floor)
}

/// As [`orthonormal`], of a block of which this rank holds its rows: a decomposition of every band,
/// then one of their triangles, which every rank does. About 6 n w^2 operations more than that of
/// one band. R is on every rank.
pub(crate) fn orthonormal_rows(
    block: &[f64],
    rows: &RowBands<'_>,
    floor: f64,
) -> Result<Orthonormal> {
    let own = rows.own().len();
    let w = block.len() / own;
    if rows.bands() == 1 {
        return orthonormal(block.to_vec(), own, floor);
    }
    let of_band = |band: Range<usize>| {
        let columns = block.chunks_exact(own).flat_map(|column| &column[band.clone()]);
        let (q, r) = householder(&mut columns.copied().collect::<Vec<_>>(), band.len(), w)?;
        Ok((band, q, r))
    };
    let bands: Vec<Range<usize>> = rows.own_bands().collect();
    let bands = bands.into_par_iter().map(of_band).collect::<Result<Vec<_>>>()?;
    // Rows of the triangles one after the other, those of band 0 first.
    let here = bands.iter().flat_map(|(_, _, r)| r.row_iter()).flat_map(|row| row.iter());
    let here: Vec<f64> = here.copied().collect();
    let all = rows.ranks().all_gather(&here)?;
    let height = all.len() / w;
    let mut columns: Vec<f64> =
        (0..w).flat_map(|j| all.iter().skip(j).step_by(w)).copied().collect();
    let (turns, r) = householder(&mut columns, height, w)?;
    let turns = MatRef::from_column_major_slice(&turns, height, w);
    let mut q = zeros(own * w, "an orthonormal block")?;
    let mut first = rows.bands_of(rows.ranks().rank()).start * rows.band().min(w);
    for (band, of_band, r) in &bands {
        let into =
            MatMut::from_column_major_slice_mut(&mut q, own, w).subrows_mut(band.start, band.len());
        let of_band = MatRef::from_column_major_slice(of_band, band.len(), r.nrows());
        combine(into, of_band, turns.subrows(first, r.nrows()), rows.band());
        first += r.nrows();
    }
    cut(q, r, own, rows.band(), floor)
}

/// Q R with the directions below `floor` left out of Q, which has n rows.
fn cut(q: Vec<f64>, r: Mat<f64>, n: usize, band: usize, floor: f64) -> Result<Orthonormal> {
    let w = r.ncols();
    let smallest = diagonal(&r).fold(f64::INFINITY, f64::min);
    // Also true for NaN, which the caller has excluded.
    if smallest > floor {
        return Ok(Orthonormal { q, r, smallest });
    }
    // Without pivoting an arbitrary column of Q may carry part of a later one of W; the small
    // triangle is decomposed again, with pivoting.
    let (u, r) = pivoted(&r, floor)?;
    let mut rotated = zeros(n * u.ncols(), "an orthonormal block")?;
    combine(
        MatMut::from_column_major_slice_mut(&mut rotated, n, u.ncols()),
        MatRef::from_column_major_slice(&q, n, w),
        u.as_ref(),
        band,
    );
    let smallest = diagonal(&r).fold(f64::INFINITY, f64::min);
    Ok(Orthonormal { q: rotated, r, smallest })
}

fn diagonal(r: &Mat<f64>) -> impl Iterator<Item = f64> {
    (0..r.nrows()).map(|i| r[(i, i)].abs())
}

/// The factors Q (n x s) and R (s x w) without pivoting, s the smaller of n and w; overwrites the
/// block.
fn householder(block: &mut [f64], n: usize, w: usize) -> Result<(Vec<f64>, Mat<f64>)> {
    let s = n.min(w);
    let size = no_pivoting::factor::recommended_block_size::<f64>(n, w);
    let mut memory = buffer(StackReq::any_of(&[
        no_pivoting::factor::qr_in_place_scratch::<f64>(n, w, size, Par::Seq, Default::default()),
        apply_scratch::<f64>(n, size, s),
    ]))?;
    let stack = MemStack::new(&mut memory);
    let mut coefficients = Mat::zeros(size, s);
    let mut factors = MatMut::from_column_major_slice_mut(block, n, w);
    no_pivoting::factor::qr_in_place(
        factors.as_mut(),
        coefficients.as_mut(),
        Par::Seq,
        stack,
        Default::default(),
    );
    let r = Mat::from_fn(s, w, |i, j| if i <= j { factors[(i, j)] } else { 0.0 });
    let mut q = zeros(n * s, "an orthonormal block")?;
    q.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    let out = MatMut::from_column_major_slice_mut(&mut q, n, s);
    let reflections = factors.as_ref().subcols(0, s);
    apply(reflections, coefficients.as_ref(), Conj::No, out, Par::Seq, stack);
    Ok((q, r))
}

/// R P = U R' for a small square R, cut at the rank: U (w x rank) and R' P^T.
fn pivoted(r: &Mat<f64>, floor: f64) -> Result<(Mat<f64>, Mat<f64>)> {
    let w = r.nrows();
    let size = col_pivoting::factor::recommended_block_size::<f64>(w, w);
    let mut memory = buffer(StackReq::any_of(&[
        col_pivoting::factor::qr_in_place_scratch::<usize, f64>(
            w,
            w,
            size,
            Par::Seq,
            Default::default(),
        ),
        apply_scratch::<f64>(w, size, w),
    ]))?;
    let stack = MemStack::new(&mut memory);
    let mut coefficients = Mat::zeros(size, w);
    let (mut forward, mut backward) = (vec![0_usize; w], vec![0_usize; w]);
    let mut factors = r.clone();
    col_pivoting::factor::qr_in_place(
        factors.as_mut(),
        coefficients.as_mut(),
        &mut forward,
        &mut backward,
        Par::Seq,
        stack,
        Default::default(),
    );
    let rank = (0..w).take_while(|&i| factors[(i, i)].abs() > floor).count();
    let mut u = Mat::from_fn(w, rank, |i, j| f64::from(i == j));
    apply(factors.as_ref(), coefficients.as_ref(), Conj::No, u.as_mut(), Par::Seq, stack);
    let cut = Mat::from_fn(rank, w, |i, j| {
        let at = backward[j];
        if i <= at { factors[(i, at)] } else { 0.0 }
    });
    Ok((u, cut))
}

fn buffer(request: StackReq) -> Result<MemBuffer> {
    MemBuffer::try_new(request).map_err(|_| SpectralError::OutOfMemory {
        what: "a QR decomposition",
        bytes: request.size_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q R - W and Q^T Q - I, largest magnitudes.
    fn errors(f: &Orthonormal, w: &[f64], n: usize) -> (f64, f64) {
        let rank = f.r.nrows();
        let q = MatRef::from_column_major_slice(&f.q, n, rank);
        let w = MatRef::from_column_major_slice(w, n, f.r.ncols());
        let largest =
            |m: Mat<f64>| m.col_iter().flat_map(|c| c.iter()).fold(0.0_f64, |a, x| a.max(x.abs()));
        let gram = q.transpose() * q;
        (largest(q * &f.r - w), largest(gram - Mat::<f64>::identity(rank, rank)))
    }

    #[test]
    fn full_rank_and_dependent_columns_are_both_reproduced() {
        let n = 40;
        let column = |a: f64| (0..n).map(move |i| (a * i as f64 + a).sin());
        let full: Vec<f64> = [0.3, 0.9, 1.7, 2.6].into_iter().flat_map(column).collect();
        // The second column repeats the first; the third has a part of its own.
        let poor: Vec<f64> = [0.3, 0.3, 1.7, 0.3].into_iter().flat_map(column).collect();
        for (w, rank) in [(full, 4), (poor, 2), (vec![0.0; 4 * n], 0)] {
            let f = orthonormal(w.clone(), n, 1e-13).unwrap();
            assert_eq!((f.r.nrows(), f.r.ncols(), f.q.len()), (rank, 4, rank * n));
            let (reproduction, orthogonality) = errors(&f, &w, n);
            assert!(
                reproduction <= 1e-13 && orthogonality <= 1e-14,
                "{reproduction:e} {orthogonality:e}"
            );
        }
    }
}
