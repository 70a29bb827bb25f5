//! [`Cholesky`], the factor of K + ridge: in come a Gram and targets, out go coefficients whose
//! residual was measured against the Gram itself, leave-one-out residuals and the marginal
//! likelihood. Users call it; `posterior` solves with its factor.

use std::{fmt, num::NonZeroUsize};

use entk_spectral::{EntryType, Gram, SymmetricOperator};
use faer::{
    Accum, MatMut, MatRef, Par,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        cholesky::llt::{
            factor::{LltError, cholesky_in_place, cholesky_in_place_scratch},
            solve::solve_in_place_with_conj,
        },
        matmul::matmul,
        triangular_solve::solve_lower_triangular_in_place,
    },
};

use crate::{
    columns::Columns,
    dense::{dot, matrix, matrix_mut, norm, zeros},
    error::{PredictError, Result, check_ridge, check_setting},
};

/// Parts into which one factorization or solution is cut: fixed, so that the bits do not depend on
/// the number of threads, and enough for all threads of a large machine.
const PARTS: Par = Par::Rayon(NonZeroUsize::new(16).unwrap());
/// Columns of the inverse formed at a time.
const BLOCK: usize = 256;
/// Refinement goes on while a step divides the residual by at least this.
const GAIN: f64 = 2.0;

/// Settings of [`Cholesky::solve`].
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `tolerance` | 1e-10 | largest accepted residual, relative to the targets | 0 < x < 1 |
/// | `refinements` | 3 | most steps of iterative refinement | |
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct CholeskyConfig {
    /// Largest accepted ||(K + ridge) x - y|| / ||y|| of every column.
    pub tolerance: f64,
    /// Most steps of iterative refinement.
    pub refinements: usize,
}

impl Default for CholeskyConfig {
    fn default() -> Self {
        Self { tolerance: 1e-10, refinements: 3 }
    }
}

/// Coefficients with the residuals that were measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Solution {
    /// x of (K + ridge) x = y, (N, C).
    pub coefficients: Columns,
    /// ||(K + ridge) x - y|| / ||y|| of every column, by a product with the kernel itself.
    pub residuals: Vec<f64>,
    /// Steps of iterative refinement that were kept.
    pub refinements: usize,
}

impl Solution {
    /// The largest residual.
    pub fn worst(&self) -> f64 {
        self.residuals.iter().copied().fold(0.0, f64::max)
    }
}

/// The Cholesky factor L of A = K + ridge, A = L L^T, in f64 whatever the type of the kernel.
///
/// It borrows the kernel, against which every solution is measured. Cost: N^3 / 3 multiply-adds
/// and 8 N^2 bytes, on all threads of the current rayon pool; the bits are the same for any number
/// of them.
///
/// ```
/// use entk_predict::{Cholesky, CholeskyConfig, Columns};
/// use entk_spectral::Gram;
///
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?;
/// let factor = Cholesky::new(&gram, 1.0, CholeskyConfig::default())?;
/// let solution = factor.solve(&Columns::from_rows(2, 1, &[4.0, 4.0])?)?;
/// assert!((solution.coefficients.get(0, 0) - 1.0).abs() < 1e-15);
/// assert!(solution.worst() < 1e-15);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone)]
pub struct Cholesky<'a> {
    gram: &'a Gram,
    ridge: f64,
    config: CholeskyConfig,
    /// L in the lower triangle, column by column.
    factor: Vec<f64>,
}

impl<'a> Cholesky<'a> {
    /// Factorizes `gram` + `ridge` I; the ridge is the variance of the noise of a Gaussian process.
    ///
    /// # Errors
    /// [`NotPositiveDefinite`](PredictError::NotPositiveDefinite) with the pivot that failed,
    /// [`Setting`](PredictError::Setting), or [`OutOfMemory`](PredictError::OutOfMemory).
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "cholesky", skip_all))]
    pub fn new(gram: &'a Gram, ridge: f64, config: CholeskyConfig) -> Result<Self> {
        check_ridge(ridge)?;
        let accepted = config.tolerance > 0.0 && config.tolerance < 1.0;
        check_setting("tolerance", config.tolerance, accepted, "between 0 and 1")?;
        let n = gram.n();
        let mut factor = zeros(n, n, "the Cholesky factor")?;
        for (i, column) in factor.chunks_exact_mut(n).enumerate() {
            // Symmetric: a row is a column.
            let row = gram.row(i);
            (i..n).for_each(|j| column[j] = row.get(j));
            column[i] += ridge;
        }
        let factor = factorize(factor, n).or_else(|failure| failure.explain(gram, ridge))?;
        Ok(Self { gram, ridge, config, factor })
    }

    /// Number of rows N.
    pub fn n(&self) -> usize {
        self.gram.n()
    }

    /// The type of the kernel's entries.
    pub(crate) fn entry_type(&self) -> EntryType {
        self.gram.entry_type()
    }

    /// The ridge that was added to the diagonal.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }

    /// The smallest and the largest pivot, L_ii^2: their ratio is at most the condition number.
    pub fn pivots(&self) -> (f64, f64) {
        let pivots = self.diagonal().map(|x| x * x);
        pivots.fold((f64::INFINITY, 0.0), |(low, high), x| (low.min(x), high.max(x)))
    }

    /// log det (K + ridge).
    pub fn log_determinant(&self) -> f64 {
        2.0 * self.diagonal().map(f64::ln).sum::<f64>()
    }

    fn diagonal(&self) -> impl Iterator<Item = f64> {
        self.factor.iter().step_by(self.n() + 1).copied()
    }

    /// The coefficients x of (K + ridge) x = y for C columns at once: kernel regression for ridge
    /// 0, kernel ridge regression, or the weights of a Gaussian process's mean.
    ///
    /// The residual of every column is computed in f64 with the kernel as it was given. While one
    /// is above the tolerance, the solution is refined with it. Subtract outputs at theta_0 from
    /// the targets with [`solve_from`](Self::solve_from). Cost: 3 N^2 C multiply-adds a step.
    ///
    /// # Errors
    /// [`Residual`](PredictError::Residual) where refinement does not reach the tolerance,
    /// [`Shape`](PredictError::Shape), [`OutOfMemory`](PredictError::OutOfMemory), or
    /// [`Overflow`](PredictError::Overflow).
    pub fn solve(&self, targets: &Columns) -> Result<Solution> {
        targets.check_shape("targets", self.n(), targets.cols())?;
        let mut best = self.measured(self.solve_raw(targets.values().to_vec()), targets, 0)?;
        while best.worst() > self.config.tolerance && best.refinements < self.config.refinements {
            let mut x = self.solve_raw(self.residual(best.coefficients.values(), targets)?);
            x.iter_mut().zip(best.coefficients.values()).for_each(|(x, before)| *x += before);
            let next = self.measured(x, targets, best.refinements + 1)?;
            let gain = best.worst() / next.worst();
            best = if gain > 1.0 { next } else { best };
            if gain.is_nan() || gain < GAIN {
                break;
            }
        }
        self.certified(best)
    }

    /// [`solve`](Self::solve) for the targets minus `offset`, the outputs at theta_0, both (N, C).
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    pub fn solve_from(&self, targets: &Columns, offset: Option<&Columns>) -> Result<Solution> {
        self.solve(&targets.minus(offset)?)
    }

    /// Refuses a solution beyond the tolerance.
    fn certified(&self, solution: Solution) -> Result<Solution> {
        let asked = self.config.tolerance;
        let Some(column) = solution.residuals.iter().position(|r| r.is_nan() || *r > asked) else {
            return Ok(solution);
        };
        let (smallest_pivot, largest_pivot) = self.pivots();
        Err(PredictError::Residual {
            column,
            reached: solution.residuals[column],
            asked,
            ridge: self.ridge,
            smallest_pivot,
            largest_pivot,
        })
    }

    /// A^-1 B by two triangular solutions, in place.
    fn solve_raw(&self, mut columns: Vec<f64>) -> Vec<f64> {
        let n = self.n();
        let mut memory = MemBuffer::new(faer::dyn_stack::StackReq::EMPTY);
        let rhs = matrix_mut(&mut columns, n);
        let stack = MemStack::new(&mut memory);
        solve_in_place_with_conj(self.lower(), faer::Conj::No, rhs, PARTS, stack);
        columns
    }

    /// L^-1 B, in place, for columns of N rows each.
    pub(crate) fn half_solve(&self, columns: &mut [f64]) {
        let rhs = matrix_mut(columns, self.n());
        solve_lower_triangular_in_place(self.lower(), rhs, PARTS);
    }

    fn lower(&self) -> MatRef<'_, f64> {
        matrix(&self.factor, self.n())
    }

    fn measured(&self, x: Vec<f64>, targets: &Columns, refinements: usize) -> Result<Solution> {
        let coefficients = Columns::computed(self.n(), x, "coefficients")?;
        let residual = self.residual(coefficients.values(), targets)?;
        let columns = residual.chunks_exact(self.n()).zip(targets.values().chunks_exact(self.n()));
        let residuals = columns.map(|(r, y)| relative(norm(r), norm(y))).collect();
        Ok(Solution { coefficients, residuals, refinements })
    }

    /// y - (K + ridge) x, by a product with the kernel.
    fn residual(&self, x: &[f64], targets: &Columns) -> Result<Vec<f64>> {
        let mut residual = zeros(self.n(), targets.cols(), "residuals")?;
        SymmetricOperator::apply(self.gram, x, &mut residual)?;
        let rest = residual.iter_mut().zip(x).zip(targets.values());
        rest.for_each(|((r, x), y)| *r = y - (*r + self.ridge * x));
        Ok(residual)
    }

    /// The leave-one-out residuals y_i - f_(-i)(x_i), (N, C): what each training input is missed
    /// by when it is left out, without a refit.
    ///
    /// e_i = alpha_i / (A^-1)_ii for the coefficients alpha of [`solve`](Self::solve). Cost: N^3 /
    /// 3 multiply-adds, and 2 kB of memory times N.
    ///
    /// Source: Rasmussen and Williams (2006), equation 5.12.
    ///
    /// # Errors
    /// [`Shape`](PredictError::Shape), [`Overflow`](PredictError::Overflow).
    pub fn leave_one_out(&self, coefficients: &Columns) -> Result<Columns> {
        coefficients.check_shape("coefficients", self.n(), coefficients.cols())?;
        let inverse = self.inverse_blocks(1)?;
        let divided = coefficients.values().iter().zip(inverse.iter().cycle());
        let values = divided.map(|(alpha, inverse)| alpha / inverse).collect();
        Columns::computed(self.n(), values, "leave-one-out residuals")
    }

    /// The residuals of every example of a full kernel when all of its C outputs are left out at
    /// once, (N C, 1) with index n C + c: e = (A^-1 restricted to the example)^-1 alpha of it.
    ///
    /// # Errors
    /// As [`leave_one_out`](Self::leave_one_out); [`Setting`](PredictError::Setting) unless
    /// `outputs` is from 1 to 256 and divides the rows.
    pub fn leave_example_out(&self, coefficients: &Columns, outputs: usize) -> Result<Columns> {
        coefficients.check_shape("coefficients of a full kernel", self.n(), 1)?;
        let accepted = (1..=BLOCK).contains(&outputs) && self.n().is_multiple_of(outputs);
        check_setting("outputs", outputs as f64, accepted, "from 1 to 256 and divide the rows")?;
        let mut residuals = coefficients.values().to_vec();
        let inverse = self.inverse_blocks(outputs)?;
        let blocks = inverse.chunks_exact(outputs * outputs);
        for (residual, block) in residuals.chunks_exact_mut(outputs).zip(blocks) {
            let factor = factorize(block.to_vec(), outputs);
            let factor = factor.map_err(|_| overflow("leave-one-out residuals"))?;
            solve_with(&factor, residual);
        }
        Columns::computed(self.n(), residuals, "leave-one-out residuals")
    }

    /// The blocks of `width` rows on the diagonal of A^-1, one after the other.
    fn inverse_blocks(&self, width: usize) -> Result<Vec<f64>> {
        let n = self.n();
        let step = BLOCK / width * width;
        let mut blocks = Vec::with_capacity(n * width);
        for first in (0..n).step_by(step) {
            let (rows, cols) = (n - first, step.min(n - first));
            let mut z = zeros(rows, cols, "columns of the inverse")?;
            z.iter_mut().step_by(rows + 1).for_each(|x| *x = 1.0);
            let l = self.lower().submatrix(first, first, rows, rows);
            solve_lower_triangular_in_place(l, matrix_mut(&mut z, rows), PARTS);
            // A^-1 = L^-T L^-1, and L^-1 is zero above the block.
            for columns in z.chunks_exact(rows * width) {
                let (at, z) = (blocks.len(), matrix(columns, rows));
                blocks.resize(at + width * width, 0.0);
                let block = matrix_mut(&mut blocks[at..], width);
                matmul(block, Accum::Replace, z.transpose(), z, 1.0, Par::Seq);
            }
        }
        Ok(blocks)
    }

    /// The log marginal likelihood of the targets under a Gaussian process of covariance K with
    /// noise of variance ridge, summed over the C columns:
    /// -1/2 sum of y . alpha - C/2 (log det A + N log 2 pi).
    ///
    /// `targets` minus their prior mean, and the coefficients of [`solve`](Self::solve) for them.
    ///
    /// Source: Rasmussen and Williams (2006), equation 2.30.
    ///
    /// # Errors
    /// [`Shape`](PredictError::Shape), [`Overflow`](PredictError::Overflow).
    pub fn log_marginal_likelihood(
        &self,
        targets: &Columns,
        coefficients: &Columns,
    ) -> Result<f64> {
        targets.check_shape("targets", self.n(), targets.cols())?;
        coefficients.check_shape("coefficients", self.n(), targets.cols())?;
        let fit = dot(targets.values(), coefficients.values());
        let likelihood = log_likelihood(self.n(), targets.cols(), fit, self.log_determinant());
        if likelihood.is_finite() { Ok(likelihood) } else { Err(overflow("likelihood")) }
    }
}

impl fmt::Debug for Cholesky<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cholesky")
            .field("n", &self.n())
            .field("ridge", &self.ridge)
            .field("pivots", &self.pivots())
            .finish_non_exhaustive()
    }
}

/// -1/2 (fit + C (log det + N log 2 pi)).
pub(crate) fn log_likelihood(n: usize, cols: usize, fit: f64, log_determinant: f64) -> f64 {
    let constant = n as f64 * (2.0 * std::f64::consts::PI).ln();
    -0.5 * (fit + cols as f64 * (log_determinant + constant))
}

/// a / b, and 0 for a zero residual of zero targets.
pub(crate) fn relative(residual: f64, size: f64) -> f64 {
    if residual == 0.0 { 0.0 } else { residual / size }
}

fn overflow(quantity: &'static str) -> PredictError {
    PredictError::Overflow { quantity }
}

/// A factorization that met a pivot that is not positive, with what had been computed.
struct Failure {
    /// The pivot, or none where memory was short.
    index: Option<usize>,
    factor: Vec<f64>,
    /// What memory was short of.
    bytes: usize,
}

impl Failure {
    /// The pivot that failed, from the rows of L before it.
    fn explain<T>(self, gram: &Gram, ridge: f64) -> Result<T> {
        let n = gram.n();
        let Some(index) = self.index else {
            let what = "the workspace of the factorization";
            return Err(PredictError::OutOfMemory { what, bytes: self.bytes });
        };
        let row = self.factor.iter().skip(index).step_by(n).take(index);
        let pivot = gram.get(index, index) + ridge - row.map(|x| x * x).sum::<f64>();
        let largest = gram.max_abs();
        Err(PredictError::NotPositiveDefinite { n, index, pivot, ridge, largest })
    }
}

/// L in place of the lower triangle of A.
fn factorize(mut a: Vec<f64>, n: usize) -> std::result::Result<Vec<f64>, Failure> {
    let request = cholesky_in_place_scratch::<f64>(n, PARTS, Default::default());
    let Ok(mut memory) = MemBuffer::try_new(request) else {
        return Err(Failure { index: None, factor: a, bytes: request.size_bytes() });
    };
    let target = MatMut::from_column_major_slice_mut(&mut a, n, n);
    let stack = MemStack::new(&mut memory);
    match cholesky_in_place(target, Default::default(), PARTS, stack, Default::default()) {
        Ok(_) => Ok(a),
        Err(LltError::NonPositivePivot { index }) => {
            Err(Failure { index: Some(index), factor: a, bytes: 0 })
        }
    }
}

/// x becomes (L L^T)^-1 x, for a small factor.
fn solve_with(factor: &[f64], x: &mut [f64]) {
    let n = x.len();
    let mut memory = MemBuffer::new(faer::dyn_stack::StackReq::EMPTY);
    let (l, rhs) = (matrix(factor, n), matrix_mut(x, n));
    solve_in_place_with_conj(l, faer::Conj::No, rhs, Par::Seq, MemStack::new(&mut memory));
}
