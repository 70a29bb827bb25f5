//! [`linearly_separable`]: from a direction u to synthetic images whose label is the sign of u . x.
//!
//! Experiments on neural anisotropy directions (NADs) train on it.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    dataset::Dataset,
    error::{DataError, Result},
    images::Images,
};

/// How far from 1 the norm of a direction may be: one read from an f32 decomposition of 1,000 to
/// 10,000 dimensions is within 1e-5.
pub const UNIT_TOLERANCE: f64 = 1e-5;

/// Settings of [`linearly_separable`].
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `epsilon` | 1 | half the distance between the two classes, along the direction | finite, > 0 |
/// | `sigma` | 1 | standard deviation in every orthogonal direction | finite, >= 0 |
/// | `count` | 10,000 | number of examples | >= 1 |
/// | `image_shape` | (1, 32, 32) | C, H, W; the direction has C H W numbers | >= 1 each |
/// | `seed` | 0 | of the random numbers; take another one for the test set | any |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeparableConfig {
    /// Half the distance between the two classes, along the direction.
    pub epsilon: f64,
    /// Standard deviation in every orthogonal direction.
    pub sigma: f64,
    /// Number of examples.
    pub count: usize,
    /// C, H, W.
    pub image_shape: (usize, usize, usize),
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for SeparableConfig {
    fn default() -> Self {
        Self { epsilon: 1.0, sigma: 1.0, count: 10_000, image_shape: (1, 32, 32), seed: 0 }
    }
}

/// Data that a hyperplane with normal `direction` separates: x = eps y u + sigma (I - u u^T) n.
///
/// `u` is the direction, C H W numbers in row-major order of (C, H, W); y is +1 or -1 with equal
/// probability and n standard normal, both drawn for each example in turn (first y, then n) from
/// ChaCha8. Hence the inner product of x and u is eps y exactly, up to rounding, and x is pure
/// noise in every direction orthogonal to u. Labels: 1 for y = +1, 0 for y = -1; two
/// classes. Computed in f64 and rounded to f32 once; a direction within [`UNIT_TOLERANCE`] of unit
/// norm is scaled to it first.
///
/// # Errors
/// [`DataError::Setting`] for a setting outside its range, [`DataError::Shape`] if the direction
/// does not have C H W entries, [`DataError::NotUnit`] if it is not a unit vector (NaN and infinity
/// included).
///
/// ```
/// use entk_data::{SeparableConfig, linearly_separable};
///
/// let config = SeparableConfig { count: 3, image_shape: (1, 1, 2), ..SeparableConfig::default() };
/// let data = linearly_separable(&[0.6, 0.8], &config)?;
/// let x = data.images().to_vec()?;
/// let projection = 0.6 * x[0] + 0.8 * x[1];
/// assert!((projection - if data.labels()[0] == 1 { 1.0 } else { -1.0 }).abs() < 1e-6);
/// # Ok::<(), entk_data::DataError>(())
/// ```
pub fn linearly_separable(direction: &[f64], config: &SeparableConfig) -> Result<Dataset> {
    config.check()?;
    let u = unit(direction, config.image_shape)?;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut pixels = Vec::new();
    let room = pixels.try_reserve_exact(config.count.saturating_mul(u.len()));
    room.map_err(|_| refused("count", "images that fit into memory", config.count as f64))?;
    let mut labels = Vec::with_capacity(config.count);
    for _ in 0..config.count {
        let positive = rng.random_bool(0.5);
        let signal = if positive { config.epsilon } else { -config.epsilon };
        let noise: Vec<f64> = (0..u.len()).map(|_| StandardNormal.sample(&mut rng)).collect();
        let along = dot(&u, &noise);
        pixels.extend(
            u.iter().zip(&noise).map(|(u, n)| (signal * u + config.sigma * (n - along * u)) as f32),
        );
        labels.push(u8::from(positive));
    }
    let (c, h, w) = config.image_shape;
    Dataset::new(
        "linearly separable",
        Images::from_vec(pixels, (config.count, c, h, w))?,
        labels,
        2,
    )
}

impl SeparableConfig {
    fn check(&self) -> Result<()> {
        let (c, h, w) = self.image_shape;
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(refused("epsilon", "a finite number above 0", self.epsilon));
        }
        if !(self.sigma.is_finite() && self.sigma >= 0.0) {
            return Err(refused("sigma", "a finite number, 0 or above", self.sigma));
        }
        if [c, h, w].contains(&0) {
            return Err(refused("image_shape", "three numbers, each 1 or above", 0.0));
        }
        if self.count == 0 {
            return Err(refused("count", "1 or above", 0.0));
        }
        Ok(())
    }
}

fn refused(name: &'static str, expected: &'static str, found: f64) -> DataError {
    DataError::Setting { name, expected, found }
}

/// The direction with norm 1 to f64 precision.
fn unit(direction: &[f64], (c, h, w): (usize, usize, usize)) -> Result<Vec<f64>> {
    if c.checked_mul(h).and_then(|size| size.checked_mul(w)) != Some(direction.len()) {
        return Err(DataError::Shape {
            what: "direction".to_owned(),
            expected: format!("{c} x {h} x {w} entries, one for each pixel"),
            found: vec![direction.len()],
        });
    }
    let norm = dot(direction, direction).sqrt();
    // Written so that NaN fails.
    if (norm - 1.0).abs() <= UNIT_TOLERANCE {
        Ok(direction.iter().map(|x| x / norm).collect())
    } else {
        Err(DataError::NotUnit { norm, tolerance: UNIT_TOLERANCE })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
