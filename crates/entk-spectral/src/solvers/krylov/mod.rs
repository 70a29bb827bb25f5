//! A block Krylov basis V of a symmetric operator K, with T = V^T K V: in come products with
//! blocks, out go Ritz pairs and the estimates of their residuals. `eigsh` says when to step, to
//! restart and to stop.
//!
//! A step multiplies one block, takes out its overlap with the blocks that it can overlap with,
//! orthonormalises it, takes out all of V once more from what are now unit vectors, and
//! orthonormalises again. T receives every overlap that is found, so that T = V^T K V holds to
//! round-off whatever is lost on the way.
//!
//! V and its blocks are distributed by rows; T and all that follows from it is on every rank.

pub(crate) mod checkpoint;
#[cfg(test)]
mod tests;

use faer::{Mat, MatMut, MatRef};
use rand::{SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    dense::{
        qr::{Orthonormal, orthonormal_rows},
        ritz::Ritz,
        tall::{combine, multiply, rotate, subtract},
        vector::{BinaryScale, finite, max_abs, norm, zeros},
    },
    error::{Result, SpectralError},
    ranks::{communicator::Ranks, operator::DistributedOperator, row_bands::RowBands},
    solvers::columns::{inner, largest, norms},
};

/// Directions of a residual block below this many eps sqrt(N) ||K|| are round-off.
const NOISE: f64 = 4.0;
/// A unit vector that keeps this much of its length when V is taken out of it is orthogonal to V to
/// working accuracy ("twice is enough").
const KEPT: f64 = 0.5;
/// After this many passes a block is taken as it is.
const PASSES: usize = 4;

/// The state of a block Lanczos process with full orthogonalisation.
///
/// K V = V T + Q C at all times, with Q = `next` orthonormal and orthogonal to V, and C =
/// `coupling` non-zero in the columns of the last block only.
pub(crate) struct Krylov<'a, K: ?Sized> {
    operator: &'a K,
    rows: RowBands<'a>,
    /// Rows of V that this rank holds.
    own: usize,
    /// Columns of a freshly drawn block.
    width: usize,
    rng: ChaCha8Rng,
    /// The power of two by which images are divided, from the first of them.
    scale: Option<BinaryScale>,
    /// The rows of V that this rank holds, own x capacity; `dim` columns are in use.
    vectors: Vec<f64>,
    /// T, capacity x capacity, of the scaled operator.
    projected: Mat<f64>,
    capacity: usize,
    dim: usize,
    /// Eigenvalues of the leading columns of V, which have converged and left T.
    locked: Vec<f64>,
    /// First column that the image of the next block overlaps with.
    coupled_from: usize,
    /// First column of the block multiplied last.
    last_from: usize,
    next: Vec<f64>,
    coupling: Mat<f64>,
    /// Largest norm of an image of a unit vector so far, scaled.
    norm: f64,
    /// Random columns inside V, and those still in `next`.
    drawn: usize,
    pending: usize,
    products: usize,
}

impl<'a, K: DistributedOperator + ?Sized> Krylov<'a, K> {
    /// A basis for up to `capacity` columns, to start from `width` random ones.
    pub(crate) fn new(operator: &'a K, width: usize, capacity: usize, seed: u64) -> Result<Self> {
        let mut basis = Self::empty(operator, width, capacity, seed)?;
        basis.draw(width.min(basis.rows.n()))?;
        Ok(basis)
    }

    /// A basis without columns, and none to start from.
    fn empty(operator: &'a K, width: usize, capacity: usize, seed: u64) -> Result<Self> {
        let rows = operator.rows();
        let own = rows.own().len();
        let len = own.checked_mul(capacity);
        let len = len.ok_or(SpectralError::TooLarge { rows: own, cols: capacity })?;
        Ok(Self {
            operator,
            rows,
            own,
            width,
            rng: ChaCha8Rng::seed_from_u64(seed),
            scale: None,
            vectors: zeros(len, "the Krylov basis")?,
            projected: Mat::zeros(capacity, capacity),
            capacity,
            dim: 0,
            locked: Vec::new(),
            coupled_from: 0,
            last_from: 0,
            next: Vec::new(),
            coupling: Mat::zeros(0, 0),
            norm: 0.0,
            drawn: 0,
            pending: 0,
            products: 0,
        })
    }

    /// The ranks that hold V.
    pub(crate) fn ranks(&self) -> &'a Ranks<'a> {
        self.rows.ranks()
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Columns multiplied with K so far.
    pub(crate) fn products(&self) -> usize {
        self.products
    }

    /// Independent random directions that V has grown from.
    pub(crate) fn drawn(&self) -> usize {
        self.drawn
    }

    fn scale(&self) -> BinaryScale {
        self.scale.unwrap_or(BinaryScale::of(0.0))
    }

    /// Whether V spans everything, so that the Ritz pairs are exact.
    pub(crate) fn is_complete(&self) -> bool {
        self.next.is_empty()
    }

    /// Whether the next block still fits.
    pub(crate) fn has_room(&self) -> bool {
        self.dim + self.waiting() <= self.capacity
    }

    /// Columns of the next block.
    pub(crate) fn waiting(&self) -> usize {
        self.next.len() / self.own
    }

    /// The largest magnitude among locked values and both ends of the others.
    pub(crate) fn largest(&self, ritz: &Ritz) -> f64 {
        let values = ritz.values();
        let ends = values.first().into_iter().chain(values.last());
        self.locked.iter().chain(ends).fold(0.0, |a: f64, x| a.max(x.abs()))
    }

    /// The values of the k leading pairs, locked ones included, and the rows of their vectors that
    /// this rank holds.
    pub(crate) fn leading(&self, ritz: &Ritz, k: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let (n, from) = (self.own, self.locked.len());
        let mut vectors = zeros(n * k, "eigenvectors")?;
        vectors[..n * from].copy_from_slice(&self.vectors[..n * from]);
        let rest = MatMut::from_column_major_slice_mut(&mut vectors[n * from..], n, k - from);
        let active = self.basis().subcols(from, self.dim - from);
        combine(rest, active, ritz.leading(k - from), self.rows.band());
        let values = self.locked.iter().chain(ritz.values()).take(k);
        let mut order: Vec<(usize, f64)> = values.copied().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        if order.iter().enumerate().any(|(j, (at, _))| j != *at) {
            vectors = order
                .iter()
                .flat_map(|(at, _)| vectors[n * at..n * (at + 1)].iter().copied())
                .collect();
        }
        let scale = self.scale();
        let values: Result<Vec<f64>> =
            order.iter().map(|(_, x)| finite(scale.up(*x), "largest eigenvalue")).collect();
        Ok((values?, vectors))
    }

    fn basis(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.vectors[..self.own * self.dim], self.own, self.dim)
    }

    /// The eigenvalues of the leading columns of V, which are locked.
    pub(crate) fn locked(&self) -> &[f64] {
        &self.locked
    }

    /// The Ritz pairs of the columns that are not locked.
    pub(crate) fn ritz(&self) -> Result<Ritz> {
        let (from, active) = (self.locked.len(), self.dim - self.locked.len());
        Ritz::of(self.projected.as_ref().submatrix(from, from, active, active))
    }

    /// ||K V y - lambda V y|| for the `count` leading Ritz pairs: the norm of C y_last.
    pub(crate) fn estimates(&self, ritz: &Ritz, count: usize) -> Vec<f64> {
        let image = multiply(self.coupling.as_ref(), self.last_rows(ritz.leading(count)));
        image.col_iter().map(|c| norm(&c.iter().copied().collect::<Vec<_>>())).collect()
    }

    /// Multiplies the next block, appends it to V, and orthogonalises its image into the block
    /// after it.
    pub(crate) fn step(&mut self) -> Result<()> {
        let image = self.image()?;
        let (n, start) = (self.own, self.dim);
        self.vectors[n * start..n * start + self.next.len()].copy_from_slice(&self.next);
        self.dim += self.next.len() / n;
        self.products += self.dim - start;
        self.drawn += std::mem::take(&mut self.pending);
        self.orthogonalise(image, start)?;
        (self.coupled_from, self.last_from) = (start, start);
        let fill = self.width.min(self.rows.n() - self.dim).saturating_sub(self.waiting());
        if fill > 0 { self.draw(fill) } else { Ok(()) }
    }

    /// A thick restart: V becomes its locked columns and the `keep` leading Ritz vectors, the first
    /// `lock` of which are locked as well.
    pub(crate) fn restart(&mut self, ritz: &Ritz, keep: usize, lock: usize) {
        let (n, from) = (self.own, self.locked.len());
        let y = ritz.leading(keep);
        let coupling = multiply(self.coupling.as_ref(), self.last_rows(y));
        self.coupling = coupling.as_ref().subcols(lock, keep - lock).to_owned();
        let active = &mut self.vectors[n * from..n * self.dim];
        let active = MatMut::from_column_major_slice_mut(active, n, self.dim - from);
        rotate(active, y, self.rows.band());
        self.projected.fill(0.0);
        for (j, value) in ritz.values().iter().take(keep).enumerate() {
            self.projected[(from + j, from + j)] = *value;
        }
        self.locked.extend_from_slice(&ritz.values()[..lock]);
        self.dim = from + keep;
        (self.coupled_from, self.last_from) = (self.locked.len(), self.locked.len());
    }

    /// The rows of Ritz coordinates that belong to the last block multiplied.
    fn last_rows<'y>(&self, y: MatRef<'y, f64>) -> MatRef<'y, f64> {
        y.subrows(self.last_from - self.locked.len(), self.dim - self.last_from)
    }

    /// Widens the next block by random columns, to look for further copies of multiple eigenvalues.
    pub(crate) fn widen(&mut self) -> Result<()> {
        let free = self.rows.n() - self.dim - self.waiting();
        self.draw(self.width.min(free))
    }

    /// K times the next block, scaled.
    fn image(&mut self) -> Result<Vec<f64>> {
        let mut image = zeros(self.next.len(), "a block of images")?;
        self.operator.apply_own(&self.next, &mut image)?;
        if let Some(at) = image.iter().position(|x| !x.is_finite()) {
            let row = self.rows.own().start + at % self.own;
            return Err(SpectralError::NonFiniteImage { row, value: image[at] });
        }
        let scale = match self.scale {
            Some(scale) => scale,
            None => BinaryScale::of(largest(&self.rows, max_abs(&image))?),
        };
        self.scale = Some(scale);
        image.iter_mut().for_each(|x| *x = scale.down(*x));
        self.norm = norms(&self.rows, &image)?.into_iter().fold(self.norm, f64::max);
        Ok(image)
    }

    /// Splits the image of the block from `start` on into V T + next * coupling.
    fn orthogonalise(&mut self, mut image: Vec<f64>, start: usize) -> Result<()> {
        let width = self.dim - start;
        let overlap = self.project_out(&mut image, self.coupled_from)?;
        self.add_column(self.coupled_from, start, &overlap);
        let floor = NOISE * f64::EPSILON * (self.rows.n() as f64).sqrt() * self.norm;
        let Orthonormal { mut q, r: mut coupling, .. } =
            orthonormal_rows(&image, &self.rows, floor)?;
        for _ in 0..PASSES {
            if q.is_empty() {
                break;
            }
            let overlap = self.project_out(&mut q, 0)?;
            let rank = q.len() / self.own;
            let overlap = Mat::from_fn(self.dim, rank, |i, j| overlap[j * self.dim + i]);
            let change = multiply(overlap.as_ref(), coupling.as_ref());
            let change: Vec<f64> = change.col_iter().flat_map(|c| c.iter().copied()).collect();
            debug_assert_eq!(change.len(), self.dim * width);
            self.add_column(0, start, &change);
            let again = orthonormal_rows(&q, &self.rows, f64::EPSILON.sqrt())?;
            coupling = multiply(again.r.as_ref(), coupling.as_ref());
            q = again.q;
            if again.smallest >= KEPT {
                break;
            }
        }
        self.symmetrise(start);
        (self.next, self.coupling) = (q, coupling);
        Ok(())
    }

    /// block -= V V^T block for the columns of V from `from` on; returns V^T block.
    fn project_out(&self, block: &mut [f64], from: usize) -> Result<Vec<f64>> {
        take_out(&self.rows, self.basis().subcols(from, self.dim - from), block)
    }

    /// Adds to the columns of T from `start` on, rows from `from` on.
    fn add_column(&mut self, from: usize, start: usize, part: &[f64]) {
        for (j, part) in part.chunks_exact(self.dim - from).enumerate() {
            for (i, x) in part.iter().enumerate() {
                self.projected[(from + i, start + j)] += x;
            }
        }
    }

    /// Mirrors the columns of T from `start` on, averaging the diagonal block.
    fn symmetrise(&mut self, start: usize) {
        for j in start..self.dim {
            for i in 0..j {
                let upper = self.projected[(i, j)];
                let both = if i < start { upper } else { 0.5 * (upper + self.projected[(j, i)]) };
                self.projected[(i, j)] = both;
                self.projected[(j, i)] = both;
            }
        }
    }

    /// Appends random orthonormal columns to the next block; they are not coupled to anything
    /// before.
    fn draw(&mut self, count: usize) -> Result<()> {
        let mut fresh = self.random(count)?;
        for _ in 0..2 {
            self.project_out(&mut fresh, 0)?;
            let next = MatRef::from_column_major_slice(&self.next, self.own, self.waiting());
            take_out(&self.rows, next, &mut fresh)?;
            // Random columns keep a part far above this floor where any space is left.
            fresh = orthonormal_rows(&fresh, &self.rows, f64::EPSILON)?.q;
        }
        let (rows, added) = (self.coupling.nrows(), fresh.len() / self.own);
        self.coupling.resize_with(rows + added, self.coupling.ncols(), |_, _| 0.0);
        self.next.extend_from_slice(&fresh);
        self.pending += added;
        Ok(())
    }

    /// Random columns; every rank draws all numbers and keeps its rows.
    fn random(&mut self, count: usize) -> Result<Vec<f64>> {
        let rows = self.rows.own();
        let mut fresh = zeros(self.own * count, "random columns")?;
        for column in fresh.chunks_exact_mut(self.own) {
            for row in 0..self.rows.n() {
                let number = StandardNormal.sample(&mut self.rng);
                if rows.contains(&row) {
                    column[row - rows.start] = number;
                }
            }
        }
        Ok(fresh)
    }
}

/// block -= V V^T block for orthonormal columns V; returns V^T block.
fn take_out(rows: &RowBands<'_>, v: MatRef<'_, f64>, block: &mut [f64]) -> Result<Vec<f64>> {
    let (own, width) = (v.nrows(), block.len() / v.nrows());
    let overlap = inner(rows, v, MatRef::from_column_major_slice(block, own, width))?;
    let block = MatMut::from_column_major_slice_mut(block, own, width);
    subtract(block, v, &overlap, rows.band());
    Ok(overlap)
}
