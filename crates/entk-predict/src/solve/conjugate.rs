//! Preconditioned conjugate gradients for (K + ridge) x = y: in come any symmetric operator, such
//! as a store that memory does not hold, and C columns of targets, out go coefficients with their
//! true residuals. Users call it.

use std::{mem, ops::ControlFlow};

use entk_spectral::SymmetricOperator;
use rayon::prelude::*;

use crate::{
    columns::Columns,
    dense::{add_scaled, dot, norm, zeros},
    error::{PredictError, Result, check_ridge, check_setting},
    solve::{cholesky::relative, preconditioner::SpectralPreconditioner},
};

/// Settings of [`conjugate_gradients`].
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `tolerance` | 1e-8 | largest accepted residual, relative to the targets | 0 < x < 1 |
/// | `max_iterations` | 1,000 | products with the kernel before it gives up | at least 1 |
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct CgConfig {
    /// Largest accepted ||(K + ridge) x - y|| / ||y|| of every column.
    pub tolerance: f64,
    /// Most iterations, each one pass over the kernel.
    pub max_iterations: usize,
}

impl Default for CgConfig {
    fn default() -> Self {
        Self { tolerance: 1e-8, max_iterations: 1000 }
    }
}

/// Where an iteration stands, for its watcher.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CgProgress {
    /// Iterations done.
    pub iterations: usize,
    /// Largest relative residual of all columns, by recurrence.
    pub worst: f64,
    /// Columns that have not converged yet.
    pub active: usize,
}

/// Coefficients by conjugate gradients, and what they took.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CgSolution {
    /// x of (K + ridge) x = y, (N, C).
    pub coefficients: Columns,
    /// ||(K + ridge) x - y|| / ||y|| of every column, by a product at the end.
    pub residuals: Vec<f64>,
    /// Iterations, each one pass over the kernel.
    pub iterations: usize,
    /// Largest relative residual of all columns after every iteration, by recurrence.
    pub history: Vec<f64>,
    /// Columns multiplied by the kernel, those of the last check included.
    pub products: usize,
    /// Passes over the kernel, checks included.
    pub passes: usize,
}

/// The coefficients x of (K + ridge) x = y for C columns, by preconditioned conjugate gradients.
///
/// All columns advance side by side, each with its own steps, so that one pass over K serves them
/// all; a column that has converged drops out. When the recurrences say that every residual is
/// below the tolerance, the true ones are computed with another pass, and the iteration goes on
/// from there while one of them is not. `watch` is called after every iteration and stops it by
/// `ControlFlow::Break`. Columns of zeros have the solution zero.
///
/// Without a preconditioner the iterations grow with the root of the condition number of K + ridge;
/// [`SpectralPreconditioner`] takes the leading eigenvalues out of it. Cost of an iteration: N^2 C
/// multiply-adds, and 2 k N C for k pairs. Memory: 6 columns for each of C.
///
/// Source: Hestenes and Stiefel (1952); Saad (2003), algorithm 9.1.
///
/// # Errors
/// [`NotConverged`](PredictError::NotConverged) with the residual reached,
/// [`Indefinite`](PredictError::Indefinite), [`Stopped`](PredictError::Stopped),
/// [`Shape`](PredictError::Shape), [`Setting`](PredictError::Setting),
/// [`OutOfMemory`](PredictError::OutOfMemory), or what the operator returns.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use entk_predict::{CgConfig, Columns, conjugate_gradients};
/// use entk_spectral::Gram;
///
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?;
/// let targets = Columns::from_rows(2, 1, &[4.0, 4.0])?;
/// let watch = &mut |_: &_| ControlFlow::Continue(());
/// let solution = conjugate_gradients(&gram, 1.0, &targets, None, &CgConfig::default(), watch)?;
/// assert_eq!(solution.iterations, 1);
/// assert!((solution.coefficients.get(0, 0) - 1.0).abs() < 1e-15);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[cfg_attr(feature = "tracing", tracing::instrument(name = "conjugate_gradients", skip_all))]
pub fn conjugate_gradients<K: SymmetricOperator + ?Sized>(
    operator: &K,
    ridge: f64,
    targets: &Columns,
    preconditioner: Option<&SpectralPreconditioner<'_>>,
    config: &CgConfig,
    watch: &mut dyn FnMut(&CgProgress) -> ControlFlow<()>,
) -> Result<CgSolution> {
    check_ridge(ridge)?;
    let accepted = config.tolerance > 0.0 && config.tolerance < 1.0;
    check_setting("tolerance", config.tolerance, accepted, "between 0 and 1")?;
    targets.check_shape("targets", operator.n(), targets.cols())?;
    if let Some(preconditioner) = preconditioner {
        targets.check_shape(
            "eigenvectors of the preconditioner",
            preconditioner.n(),
            targets.cols(),
        )?;
    }
    let mut run = Iteration::new(operator, ridge, targets, preconditioner, config)?;
    loop {
        run.until_converged(watch)?;
        if run.verify(targets)? {
            return run.finish();
        }
    }
}

/// One column of the targets and its solution so far.
struct Column {
    index: usize,
    /// ||y||.
    size: f64,
    x: Vec<f64>,
    r: Vec<f64>,
    p: Vec<f64>,
    /// r . P^-1 r of the step before; 0 where the directions start anew.
    rho: f64,
    /// Relative residual: by recurrence, and the true one after a check.
    residual: f64,
}

impl Column {
    fn new(index: usize, y: &[f64]) -> Self {
        let (n, size) = (y.len(), norm(y));
        let residual = relative(size, size);
        let (x, p) = (vec![0.0; n], vec![0.0; n]);
        Self { index, size, x, r: y.to_vec(), p, rho: 0.0, residual }
    }

    /// The next direction, from z = P^-1 r.
    fn turn(&mut self, z: &[f64]) {
        let rho = dot(&self.r, z);
        let beta = if self.rho == 0.0 { 0.0 } else { rho / self.rho };
        self.p.iter_mut().zip(z).for_each(|(p, z)| *p = z + beta * *p);
        self.rho = rho;
    }

    /// The step along p, given K p; returns p . (K + ridge) p.
    fn step(&mut self, image: &mut [f64], ridge: f64) -> f64 {
        add_scaled(image, ridge, &self.p);
        let curvature = dot(&self.p, image);
        let length = self.rho / curvature;
        add_scaled(&mut self.x, length, &self.p);
        add_scaled(&mut self.r, -length, image);
        self.residual = relative(norm(&self.r), self.size);
        curvature
    }
}

struct Iteration<'a, K: ?Sized> {
    operator: &'a K,
    ridge: f64,
    preconditioner: Option<&'a SpectralPreconditioner<'a>>,
    config: &'a CgConfig,
    active: Vec<Column>,
    done: Vec<Column>,
    images: Vec<f64>,
    history: Vec<f64>,
    products: usize,
    passes: usize,
}

impl<'a, K: SymmetricOperator + ?Sized> Iteration<'a, K> {
    fn new(
        operator: &'a K,
        ridge: f64,
        targets: &Columns,
        preconditioner: Option<&'a SpectralPreconditioner<'a>>,
        config: &'a CgConfig,
    ) -> Result<Self> {
        let columns = targets.values().chunks_exact(targets.rows());
        Ok(Self {
            operator,
            ridge,
            preconditioner,
            config,
            active: columns.enumerate().map(|(c, y)| Column::new(c, y)).collect(),
            done: Vec::new(),
            images: zeros(targets.rows(), targets.cols(), "images of the directions")?,
            history: Vec::new(),
            products: 0,
            passes: 0,
        })
    }

    /// Steps until the recurrences say that all columns are within the tolerance.
    fn until_converged(
        &mut self,
        watch: &mut dyn FnMut(&CgProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        loop {
            self.retire();
            if self.active.is_empty() {
                return Ok(());
            }
            let (iterations, reached) = (self.history.len(), self.worst());
            if iterations >= self.config.max_iterations {
                let asked = self.config.tolerance;
                return Err(PredictError::NotConverged { iterations, reached, asked });
            }
            self.step()?;
            let progress = CgProgress {
                iterations: iterations + 1,
                worst: self.worst(),
                active: self.active.len(),
            };
            self.history.push(progress.worst);
            if watch(&progress).is_break() {
                let (iterations, reached) = (progress.iterations, progress.worst);
                return Err(PredictError::Stopped { iterations, reached });
            }
        }
    }

    /// Moves the columns within the tolerance out of the iteration.
    fn retire(&mut self) {
        let tolerance = self.config.tolerance;
        let (done, active) =
            mem::take(&mut self.active).into_iter().partition(|c| c.residual <= tolerance);
        self.active = active;
        self.done.extend::<Vec<_>>(done);
    }

    /// The largest residual of all columns, NaN if one is.
    fn worst(&self) -> f64 {
        let larger = |a: f64, c: &Column| if c.residual <= a { a } else { c.residual };
        self.active.iter().chain(&self.done).fold(0.0, larger)
    }

    /// One iteration of all active columns.
    fn step(&mut self) -> Result<()> {
        let n = self.operator.n();
        let z = self.preconditioned()?;
        self.active.par_iter_mut().zip(z.par_chunks(n)).for_each(|(c, z)| c.turn(z));
        let directions: Vec<f64> = self.active.iter().flat_map(|c| &c.p).copied().collect();
        self.multiply(&directions)?;
        let ridge = self.ridge;
        let steps = self.active.par_iter_mut().zip(self.images.par_chunks_mut(n));
        let curvatures: Vec<f64> = steps.map(|(c, image)| c.step(image, ridge)).collect();
        // Written so that NaN fails.
        match curvatures.into_iter().find(|x| !(*x > 0.0 && x.is_finite())) {
            Some(curvature) => {
                let iteration = self.history.len() + 1;
                Err(PredictError::Indefinite { iteration, curvature, ridge })
            }
            None => Ok(()),
        }
    }

    fn preconditioned(&self) -> Result<Vec<f64>> {
        let residuals: Vec<f64> = self.active.iter().flat_map(|c| &c.r).copied().collect();
        match self.preconditioner {
            Some(preconditioner) => preconditioner.apply(&residuals),
            None => Ok(residuals),
        }
    }

    /// The images of some columns under K, in `images`.
    fn multiply(&mut self, columns: &[f64]) -> Result<()> {
        self.products += columns.len() / self.operator.n();
        self.passes += 1;
        let images = &mut self.images[..columns.len()];
        Ok(self.operator.apply(columns, images)?)
    }

    /// Computes the true residuals; says whether all are within the tolerance, and takes the
    /// columns up again that are not.
    fn verify(&mut self, targets: &Columns) -> Result<bool> {
        self.done.sort_by_key(|c| c.index);
        let solutions: Vec<f64> = self.done.iter().flat_map(|c| &c.x).copied().collect();
        self.multiply(&solutions)?;
        let (n, ridge) = (self.operator.n(), self.ridge);
        for (c, image) in self.done.iter_mut().zip(self.images.chunks_exact(n)) {
            let rest = c.r.iter_mut().zip(targets.column(c.index)).zip(image).zip(&c.x);
            rest.for_each(|(((r, y), kx), x)| *r = y - (kx + ridge * x));
            c.residual = relative(norm(&c.r), c.size);
            c.rho = 0.0;
        }
        // Written so that NaN is taken up again, and fails there.
        let tolerance = self.config.tolerance;
        let (done, active) =
            mem::take(&mut self.done).into_iter().partition(|c| c.residual <= tolerance);
        (self.done, self.active) = (done, active);
        Ok(self.active.is_empty())
    }

    fn finish(self) -> Result<CgSolution> {
        let values = self.done.iter().flat_map(|c| &c.x).copied().collect();
        Ok(CgSolution {
            coefficients: Columns::computed(self.operator.n(), values, "coefficients")?,
            residuals: self.done.iter().map(|c| c.residual).collect(),
            iterations: self.history.len(),
            history: self.history,
            products: self.products,
            passes: self.passes,
        })
    }
}
