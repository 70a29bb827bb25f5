//! Sums over the rows of distributed columns: in come the rows that this rank holds, out goes the
//! same answer on every rank. The Krylov basis and the certificate of its pairs call these.

use std::ops::Range;

use faer::MatRef;

use crate::{
    dense::{
        tall::inner_bands,
        vector::{max_abs, norm},
    },
    eigenpairs::SIGN_TIE,
    error::Result,
    ranks::row_bands::RowBands,
};

/// V^T W, column by column.
pub(crate) fn inner(
    rows: &RowBands<'_>,
    v: MatRef<'_, f64>,
    w: MatRef<'_, f64>,
) -> Result<Vec<f64>> {
    rows.sum(inner_bands(v, w, rows.band()).into_iter().map(Ok))
}

/// The largest of one number of each rank.
pub(crate) fn largest(rows: &RowBands<'_>, here: f64) -> Result<f64> {
    Ok(rows.ranks().all_gather(&[here])?.into_iter().fold(0.0, f64::max))
}

/// The Euclidean norm of every column: of the norms of its bands.
pub(crate) fn norms(rows: &RowBands<'_>, columns: &[f64]) -> Result<Vec<f64>> {
    let own = rows.own().len();
    let count = columns.len() / own;
    let of_band = |band: Range<usize>| {
        columns.chunks_exact(own).map(move |column| norm(&column[band.clone()]))
    };
    let here: Vec<f64> = rows.own_bands().flat_map(of_band).collect();
    let all = rows.ranks().all_gather(&here)?;
    let of_column =
        |j: usize| norm(&all.iter().skip(j).step_by(count).copied().collect::<Vec<_>>());
    Ok((0..count).map(of_column).collect())
}

/// Gives every column the sign of [`Eigenpairs`](crate::Eigenpairs): the first of the entries of
/// (nearly) largest magnitude is positive.
pub(crate) fn fix_signs(rows: &RowBands<'_>, columns: &mut [f64]) -> Result<()> {
    let own = rows.own().len();
    let count = columns.len() / own;
    let here: Vec<f64> = columns.chunks_exact(own).map(max_abs).collect();
    let sizes = rows.ranks().all_gather(&here)?;
    let threshold = |j: usize| {
        sizes.iter().skip(j).step_by(count).fold(0.0_f64, |a, x| a.max(*x)) * (1.0 - SIGN_TIE)
    };
    let leader = |(j, column): (usize, &[f64])| {
        let bound = threshold(j);
        column.iter().find(|x| x.abs() >= bound).copied().unwrap_or(f64::NAN)
    };
    let here: Vec<f64> = columns.chunks_exact(own).enumerate().map(leader).collect();
    let leaders = rows.ranks().all_gather(&here)?;
    for (j, column) in columns.chunks_exact_mut(own).enumerate() {
        let leader = leaders.iter().skip(j).step_by(count).find(|x| !x.is_nan());
        if leader.is_some_and(|x| *x < 0.0) {
            column.iter_mut().for_each(|x| *x = -*x);
        }
    }
    Ok(())
}
