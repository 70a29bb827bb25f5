//! How good eigenpairs are: in come a kernel and its pairs, out go LAPACK's two test ratios and the
//! residual norm of each pair. Users call the ratios, `certified_pairs` the norms.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::{
    dense::vector::{BinaryScale, finite, zeros},
    eigenpairs::{Eigenpairs, check_sizes},
    entries::{Scalar, with_entries},
    error::Result,
    kernel::{gram::Gram, operator::SymmetricOperator},
    ranks::{
        communicator::{OneRank, Ranks},
        operator::{DistributedOperator, Whole},
    },
    solvers::columns::norms,
};

/// Rows of a reconstruction formed at a time.
const PANEL: usize = 64;
/// Most vectors multiplied at a time for residual norms, least, and numbers of whole vectors.
const STACK: usize = 256;
const LEAST: usize = 64;
const NUMBERS: usize = 1 << 25;

/// How many vectors of N entries are multiplied at a time: a rank of several holds all of them.
pub(crate) fn stack(n: usize) -> usize {
    (NUMBERS / n.max(1)).clamp(LEAST, STACK)
}

/// LAPACK's residual ratio: ||K - V diag(lambda) V^T||_1 / (N eps ||K||_1), with eps = 2^-52 and
/// the maximal column sum as norm.
///
/// At most about 1 for a backward stable solver; LAPACK's own tests (`dsyt21`) accept up to 60,
/// ours 10. For the zero kernel it is 0 if the pairs reproduce it exactly and infinite otherwise;
/// NaN if pairs and kernel are so far apart in scale that it cannot be formed. Cost: 2 N^3
/// operations and 64 N numbers a thread.
///
/// # Errors
/// [`NeedsAllPairs`](crate::SpectralError::NeedsAllPairs) for truncated pairs (use
/// [`residual_norms`]), [`SizeMismatch`](crate::SpectralError::SizeMismatch).
pub fn residual_ratio(gram: &Gram, pairs: &Eigenpairs) -> Result<f64> {
    check_sizes(pairs.dim(), gram.n())?;
    pairs.require_all("residual ratio")?;
    let n = gram.n();
    let scale = BinaryScale::of(gram.max_abs());
    let sums: Vec<(f64, f64)> = (0..n.div_ceil(PANEL))
        .into_par_iter()
        .map(|p| panel_sums(gram, pairs, scale, p * PANEL))
        .collect();
    let (residual, size) =
        sums.iter().fold((0.0, 0.0), |a, b| (nan_max(a.0, b.0), nan_max(a.1, b.1)));
    Ok(if residual == 0.0 { 0.0 } else { residual / (n as f64 * f64::EPSILON * size) })
}

/// LAPACK's orthogonality ratio: ||I - V^T V||_1 / (N eps), for any number of pairs.
///
/// About 1 for a good solver; accepted up to 10, as [`residual_ratio`]. Cost: 2 K^2 N operations.
///
/// ```
/// use entk_spectral::{Gram, eigh, orthogonality_ratio};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![1.0, 0.0, 0.5, 1.0])?)?;
/// assert!(orthogonality_ratio(&pairs) < 10.0);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn orthogonality_ratio(pairs: &Eigenpairs) -> f64 {
    let (n, k, v) = (pairs.dim(), pairs.len(), pairs.matrix());
    let sums: Vec<f64> = (0..k.div_ceil(PANEL))
        .into_par_iter()
        .map(|p| {
            let first = p * PANEL;
            let rows = PANEL.min(k - first);
            let mut panel = vec![0.0; rows * k];
            let dst = MatMut::from_row_major_slice_mut(&mut panel, rows, k);
            matmul(dst, Accum::Replace, v.subcols(first, rows).transpose(), v, 1.0, Par::Seq);
            panel.iter_mut().skip(first).step_by(k + 1).for_each(|x| *x -= 1.0);
            largest_row_sum(&panel, k)
        })
        .collect();
    sums.iter().fold(0.0, |a, &b| nan_max(a, b)) / (n as f64 * f64::EPSILON)
}

/// The residual ||K phi_j - lambda_j phi_j||_2 of every pair.
///
/// There is an eigenvalue of K within this distance of lambda_j. The residuals are absolute:
/// compare them with lambda_0. The vector itself is determined up to the residual divided by the
/// gap to the other eigenvalues. Cost: 2 K N^2 operations, in stacks of 256 vectors, fewer for long
/// ones.
///
/// # Errors
/// [`SizeMismatch`](crate::SpectralError::SizeMismatch), or
/// [`Overflow`](crate::SpectralError::Overflow) for kernels near the end of the range.
pub fn residual_norms<K: SymmetricOperator + ?Sized>(
    operator: &K,
    pairs: &Eigenpairs,
) -> Result<Vec<f64>> {
    check_sizes(pairs.dim(), operator.n())?;
    let ranks = Ranks::new(&OneRank);
    residuals(&Whole::new(operator, &ranks)?, pairs.values(), pairs.vectors())
}

/// As [`residual_norms`], of vectors of which this rank holds its rows.
pub(crate) fn residuals<K: DistributedOperator + ?Sized>(
    operator: &K,
    values: &[f64],
    vectors: &[f64],
) -> Result<Vec<f64>> {
    let rows = operator.rows();
    let own = rows.own().len();
    let (mut found, stack) = (Vec::with_capacity(values.len()), stack(rows.n()));
    let mut images = zeros(own * stack.min(values.len()), "images of the eigenvectors")?;
    for (vectors, values) in vectors.chunks(stack * own).zip(values.chunks(stack)) {
        let images = &mut images[..vectors.len()];
        operator.apply_own(vectors, images)?;
        for ((image, vector), value) in
            images.chunks_exact_mut(own).zip(vectors.chunks_exact(own)).zip(values)
        {
            image.iter_mut().zip(vector).for_each(|(y, x)| *y -= value * x);
        }
        for norm in norms(&rows, images)? {
            found.push(finite(norm, "residual")?);
        }
    }
    Ok(found)
}

/// Largest absolute row sums of residual and kernel over the rows from `first` on, both divided by
/// the scale. Both are symmetric: rows serve for columns.
fn panel_sums(gram: &Gram, pairs: &Eigenpairs, scale: BinaryScale, first: usize) -> (f64, f64) {
    let n = gram.n();
    let rows = PANEL.min(n - first);
    let mut weighted = Vec::with_capacity(rows * n);
    for (value, vector) in pairs.iter() {
        weighted.extend(vector[first..first + rows].iter().map(|x| x * scale.down(value)));
    }
    let left = MatRef::from_column_major_slice(&weighted, rows, n);
    let right = pairs.matrix().transpose();
    let mut panel = vec![0.0; rows * n];
    let dst = MatMut::from_row_major_slice_mut(&mut panel, rows, n);
    matmul(dst, Accum::Replace, left, right, 1.0, Par::Seq);
    let mut size = 0.0_f64;
    for (r, out) in panel.chunks_exact_mut(n).enumerate() {
        size = size.max(with_entries!(gram.row(first + r), k => subtract_row(out, k, scale)));
    }
    (largest_row_sum(&panel, n), size)
}

/// `out -= k / scale`; returns the absolute sum of `k / scale`.
fn subtract_row<T: Scalar>(out: &mut [f64], k: &[T], scale: BinaryScale) -> f64 {
    let mut sum = 0.0;
    for (out, k) in out.iter_mut().zip(k) {
        let k = scale.down(k.widen());
        *out -= k;
        sum += k.abs();
    }
    sum
}

fn largest_row_sum(panel: &[f64], cols: usize) -> f64 {
    panel.chunks_exact(cols).map(|row| row.iter().map(|x| x.abs()).sum()).fold(0.0, nan_max)
}

/// The larger of two, NaN if either is: a ratio must not hide a NaN.
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
