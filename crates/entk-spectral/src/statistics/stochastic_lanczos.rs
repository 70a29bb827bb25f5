//! Blocks of columns to be multiplied by a symmetric operator, one after the other: in come their
//! images, out goes the operator projected on the space that they span. The caller owns the
//! products, so that they can be spread over machines and kept on disk; `spectrum` reads the
//! projection.

use faer::{MatMut, MatRef};
use rand::{SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    dense::{
        qr::{Orthonormal, orthonormal},
        ritz::Ritz,
        tall::{combine, inner, multiply, subtract},
        vector::{check_stack, dot, norm, zeros},
    },
    error::{Result, SpectralError},
    kernel::operator::{SymmetricOperator, check_images},
    ranks::row_bands::BAND,
    statistics::{config::StatisticsConfig, projection::Projection, spectrum::SpectrumStatistics},
};

/// Spectral statistics of a positive semidefinite N x N operator A from a few blocks of products.
///
/// 1. *Deflation.* A random block of `deflation` columns is multiplied `powers` times and made
///    orthonormal; a Rayleigh-Ritz step gives Q and its Ritz values.
/// 2. *Probes.* Random directions z, uniform in the complement of Q, span the first of `steps`
///    blocks of a block Lanczos process with full orthogonalisation, also against Q.
/// 3. *Statistics.* ||A||_F^2 = ||A Q||_F^2 + mean ||A z||^2 is Hutch++, unbiased. All others are
///    traces of functions f(A), Gauss quadrature by the Ritz pairs of A in the whole space: its
///    values at each probe are independent, which gives intervals of Student's t. The trace of A,
///    which is known exactly, goes with them as a control: their regression on z^T A z narrows the
///    interval of the entropy rank of a network's kernel eight times.
///
/// The object holds no operator: it hands out [`columns`](Self::columns) and takes their images
/// ([`advance`](Self::advance)), and what it has become is a function of the settings and of these
/// images alone, the same bits for any number of threads. A run that keeps the images goes on from
/// them.
///
/// Cost: (`powers` + 1) `deflation` + `steps` `probes` columns multiplied, 256 by default. Memory:
/// 8 N bytes for each of `deflation` + (`steps` + 3) `probes` columns.
///
/// ```
/// use entk_spectral::{Gram, StatisticsConfig, StochasticLanczos};
///
/// let n = 300;
/// let mut entries = vec![0.0; n * n];
/// entries.iter_mut().step_by(n + 1).zip(1..).for_each(|(x, i)| *x = 1.0 / f64::from(i));
/// let gram = Gram::from_lower_f64(n, entries)?;
///
/// let config = StatisticsConfig { deflation: 8, ..StatisticsConfig::default() };
/// let found = StochasticLanczos::run(&gram, gram.trace()?, &config)?;
/// let exact: f64 = (1..=300).map(|i| f64::from(i).powi(-2)).sum();
/// assert!(found.frobenius_squared.contains(exact));
/// assert!((found.frobenius_squared.value / exact - 1.0).abs() < 0.01);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Debug)]
pub struct StochasticLanczos {
    config: StatisticsConfig,
    n: usize,
    rng: ChaCha8Rng,
    /// Blocks multiplied so far.
    done: usize,
    /// Orthonormal columns that are multiplied next; none at the end.
    next: Vec<f64>,
    /// Q and all blocks of the process that were multiplied.
    basis: Vec<f64>,
    projection: Projection,
}

impl StochasticLanczos {
    /// Begins with an operator of n rows.
    ///
    /// # Errors
    /// [`InvalidSetting`](SpectralError::InvalidSetting) for settings out of range, and for
    /// fewer rows than `deflation` + `probes`.
    pub fn new(n: usize, config: &StatisticsConfig) -> Result<Self> {
        config.check(n)?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let random = StandardNormal.sample_iter(&mut rng).take(n * config.deflation).collect();
        let next = orthonormal(random, n, f64::EPSILON)?.q;
        let (basis, projection) = (Vec::new(), Projection::default());
        Ok(Self { config: config.clone(), n, rng, done: 0, next, basis, projection })
    }

    /// The statistics of an operator of known trace, all blocks at once.
    ///
    /// # Errors
    /// As [`new`](Self::new), [`advance`](Self::advance) and [`statistics`](Self::statistics), and
    /// whatever the operator returns.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "stochastic_lanczos", skip_all))]
    pub fn run<K: SymmetricOperator + ?Sized>(
        operator: &K,
        trace: f64,
        config: &StatisticsConfig,
    ) -> Result<SpectrumStatistics> {
        let mut lanczos = Self::new(operator.n(), config)?;
        while let Some(columns) = lanczos.columns() {
            let mut images = zeros(columns.len(), "images of the columns")?;
            operator.apply(columns, &mut images)?;
            lanczos.advance(images)?;
        }
        lanczos.statistics(trace)
    }

    /// The orthonormal columns whose images are wanted next; none when all is known.
    #[must_use]
    pub fn columns(&self) -> Option<&[f64]> {
        (!self.next.is_empty()).then_some(self.next.as_slice())
    }

    /// The leading directions Q that were taken out, whole columns one after the other: Ritz
    /// vectors, orthonormal, in the order of the Ritz values. Empty before they are found.
    #[must_use]
    pub fn leading(&self) -> &[f64] {
        &self.basis[..self.n * self.projection.ritz.len()]
    }

    /// Takes the images of the [columns](Self::columns), whole and one after the other.
    ///
    /// # Errors
    /// [`BufferLength`](SpectralError::BufferLength) unless each column has one,
    /// [`NonFiniteVector`](SpectralError::NonFiniteVector), [`ZeroGram`](SpectralError::ZeroGram)
    /// where all images are zero, and [`OutOfMemory`](SpectralError::OutOfMemory).
    pub fn advance(&mut self, images: Vec<f64>) -> Result<()> {
        check_images(&self.next, self.n, &images, self.n)?;
        check_stack(&images, self.n)?;
        match self.done {
            done if done < self.config.powers => {
                let floor = self.floor(&images);
                self.next = orthonormal(images, self.n, floor)?.q;
            }
            done if done == self.config.powers => self.deflate(&images)?,
            _ => self.step(images)?,
        }
        self.done += 1;
        if self.next.is_empty() && self.done <= self.config.powers {
            return Err(SpectralError::ZeroGram { n: self.n, measure: "its spectrum" });
        }
        Ok(())
    }

    /// The statistics of an operator of this trace, when no columns are left to be multiplied.
    ///
    /// # Errors
    /// [`InvalidSetting`](SpectralError::InvalidSetting) before the last block or unless the
    /// trace is positive, and those of a dense eigensolver.
    pub fn statistics(&self, trace: f64) -> Result<SpectrumStatistics> {
        SpectrumStatistics::of(&self.projection, self.n, trace, self.columns().is_none())
    }

    /// The size of what is round-off of these columns.
    fn floor(&self, block: &[f64]) -> f64 {
        let largest = block.chunks_exact(self.n).map(norm).fold(0.0, f64::max);
        f64::EPSILON * (self.n as f64).sqrt() * largest
    }

    /// A Rayleigh-Ritz step gives Q; then the probes.
    fn deflate(&mut self, images: &[f64]) -> Result<()> {
        let (n, r) = (self.n, self.next.len() / self.n);
        let block = MatRef::from_column_major_slice(&self.next, n, r);
        let projected = inner(block, MatRef::from_column_major_slice(images, n, r));
        let t = MatRef::from_column_major_slice(&projected, r, r);
        let ritz = Ritz::of(t)?;
        let turned = |columns: &[f64]| -> Result<Vec<f64>> {
            let mut out = zeros(n * r, "leading directions")?;
            let columns = MatRef::from_column_major_slice(columns, n, r);
            let turned = MatMut::from_column_major_slice_mut(&mut out, n, r);
            combine(turned, columns, ritz.leading(r), BAND);
            Ok(out)
        };
        let (q, mut images) = (turned(&self.next)?, turned(images)?);
        let p = &mut self.projection;
        p.deflated_square = images.chunks_exact(n).map(|image| dot(image, image)).sum();
        p.ritz = ritz.values().to_vec();
        let unit = |j: usize| (0..r).map(|i| if i == j { p.ritz[i] } else { 0.0 }).collect();
        p.columns = (0..r).map(unit).collect();
        p.ends.push(r);
        let columns = images.chunks_exact_mut(n).zip(q.chunks_exact(n)).zip(&p.ritz);
        let residual = |((image, q), theta): ((&mut [f64], &[f64]), &f64)| {
            image.iter_mut().zip(q).for_each(|(x, q)| *x -= theta * q);
            norm(image)
        };
        p.residuals = columns.map(residual).collect();
        self.basis = q;
        self.probe()
    }

    /// Random directions, uniform on the sphere of squared radius N - r in the complement of Q.
    fn probe(&mut self) -> Result<()> {
        let (n, count) = (self.n, self.config.probes);
        let mut z: Vec<f64> = StandardNormal.sample_iter(&mut self.rng).take(n * count).collect();
        self.project_out(&mut z);
        let radius = ((n - self.projection.ritz.len()) as f64).sqrt();
        for z in z.chunks_exact_mut(n) {
            let scale = radius / norm(z);
            z.iter_mut().for_each(|z| *z *= scale);
        }
        let floor = self.floor(&z);
        let Orthonormal { q, r, .. } = orthonormal(z, n, floor)?;
        let column = |j: usize| (0..r.nrows()).map(|i| r[(i, j)]).collect();
        self.projection.probes = (0..count).map(column).collect();
        self.next = q;
        Ok(())
    }

    /// Appends the block that was multiplied to the basis, and makes the next of its images.
    fn step(&mut self, mut images: Vec<f64>) -> Result<()> {
        let (n, width) = (self.n, self.next.len() / self.n);
        if self.projection.squares.is_empty() {
            let image = MatRef::from_column_major_slice(&images, n, width);
            let squared = inner(image, image);
            let squared = MatRef::from_column_major_slice(&squared, width, width);
            let of_probe = |z: &Vec<f64>| {
                let z = MatRef::from_column_major_slice(z, width, 1);
                multiply(z.transpose(), multiply(squared, z).as_ref())[(0, 0)]
            };
            self.projection.squares = self.projection.probes.iter().map(of_probe).collect();
        }
        self.basis.append(&mut self.next);
        let floor = self.floor(&images);
        let overlaps = self.project_out(&mut images);
        let size = self.basis.len() / n;
        self.projection.columns.extend(overlaps.chunks_exact(size).map(<[f64]>::to_vec));
        self.projection.ends.push(size);
        if self.projection.ends.len() <= self.config.steps {
            let mut next = orthonormal(images, n, floor)?.q;
            // Where blocks are nearly dependent, unit vectors still lean on the basis.
            self.project_out(&mut next);
            self.next = orthonormal(next, n, f64::EPSILON.sqrt())?.q;
            self.projection.is_invariant = self.next.is_empty();
        }
        Ok(())
    }

    /// W -= V V^T W, twice; returns V^T W.
    fn project_out(&self, block: &mut [f64]) -> Vec<f64> {
        let (n, size) = (self.n, self.basis.len() / self.n);
        let v = MatRef::from_column_major_slice(&self.basis, n, size);
        let width = block.len() / n;
        let mut sum = vec![0.0; size * width];
        for _ in 0..2 {
            let overlaps = inner(v, MatRef::from_column_major_slice(block, n, width));
            subtract(MatMut::from_column_major_slice_mut(block, n, width), v, &overlaps, BAND);
            sum.iter_mut().zip(overlaps).for_each(|(sum, x)| *sum += x);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_off_grows_with_the_columns() -> Result<()> {
        let lanczos = StochasticLanczos::new(400, &StatisticsConfig::default())?;
        let columns = [vec![0.5; 400], vec![-3.0; 400]].concat();
        // Norms of 10 and 60.
        assert_eq!(lanczos.floor(&columns), f64::EPSILON * 20.0 * 60.0);
        Ok(())
    }
}
