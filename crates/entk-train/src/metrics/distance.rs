//! [`Distance`]: how far the parameters of a run are from where it started.
//!
//! Solvers in weight space measure it after every epoch; in coefficient space it follows from the
//! kernel.

use entk_models::Params;
use serde::{Deserialize, Serialize};

use crate::{error::Result, metrics::evaluate::host};

/// How far parameters have moved, as flat vectors; batch-norm statistics do not count.
///
/// Paper: figure 3.
///
/// ```
/// use candle_core::{DType, Device};
/// use entk_models::{MlpConfig, Model};
/// use entk_train::Distance;
///
/// let theta = MlpConfig::default().network()?.init(0, DType::F64, &Device::Cpu)?;
/// let moved = Distance::between(&theta, &theta.scale(3.0)?)?;
/// assert!((moved.l2 - 2.0 * theta.norm()?).abs() < 1e-9);
/// assert!(moved.cosine.is_some_and(|c| c.abs() < 1e-12));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The l2 norm of theta - theta_0.
    pub l2: f64,
    /// 1 - cos(theta, theta_0), in 0..=2 up to round-off; none where either vector is zero.
    pub cosine: Option<f64>,
}

impl Distance {
    /// The distance of `now` from `start`, summed in f64. Cost: one pass over P numbers and two
    /// host copies.
    ///
    /// # Errors
    /// [`ModelError::Names`](entk_models::ModelError::Names) if the two differ in names or shapes.
    pub fn between(start: &Params, now: &Params) -> Result<Self> {
        start.check_same_shape(now)?;
        let mut sums = Products::default();
        for (name, a) in start.iter() {
            sums.add(&host(a)?, &host(now.get(name)?)?);
        }
        let norms = sums.aa.sqrt() * sums.bb.sqrt();
        let cosine = if norms == 0.0 { None } else { Some(1.0 - sums.ab / norms) };
        Ok(Self { l2: sums.gap.sqrt(), cosine })
    }
}

/// Sums over two vectors a and b.
#[derive(Default)]
struct Products {
    aa: f64,
    bb: f64,
    ab: f64,
    /// Of (a - b)^2.
    gap: f64,
}

impl Products {
    fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
            self.gap += (a - b) * (a - b);
        }
    }
}
