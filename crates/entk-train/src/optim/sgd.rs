//! [`Sgd`]: heavy-ball and Nesterov steps from a gradient, with their velocity.
//!
//! For solvers that bring a gradient of their own; [`fit`](crate::fit) uses it for the first two
//! rules of [`Optimizer`](crate::Optimizer).

use entk_models::Params;

use crate::error::{Result, ensure};

/// Heavy-ball gradient descent: `v <- g + momentum v`, then `theta <- theta - rate v`; v starts at
/// 0.
///
/// No weight decay and no dampening. With [`nesterov`](Self::nesterov) the step is along `g +
/// momentum v` instead, with the new v. The velocity is one more set of parameters in memory;
/// a step is two passes over P numbers.
///
/// ```
/// use candle_core::{DType, Device};
/// use entk_models::{MlpConfig, Model};
/// use entk_train::Sgd;
///
/// let theta = MlpConfig::default().network()?.init(0, DType::F64, &Device::Cpu)?;
/// let mut sgd = Sgd::new(0.9)?;
/// let once = sgd.step(&theta, &theta, 0.1)?;
/// let twice = sgd.step(&once, &theta, 0.1)?;
/// // Steps of 0.1 and 0.1 (1 + 0.9) along the same gradient.
/// assert!((twice.norm()? - 0.71 * theta.norm()?).abs() < 1e-12 * theta.norm()?);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sgd {
    momentum: f64,
    nesterov: bool,
    pub(crate) velocity: Option<Params>,
}

impl Sgd {
    /// An optimiser with velocity zero.
    ///
    /// # Errors
    /// [`TrainError::Setting`](crate::TrainError::Setting) for a momentum outside 0 <= momentum <
    /// 1.
    pub fn new(momentum: f64) -> Result<Self> {
        check_momentum(momentum)?;
        Ok(Self { momentum, nesterov: false, velocity: None })
    }

    /// With Nesterov's step in place of the heavy ball's.
    #[must_use]
    pub fn nesterov(self) -> Self {
        Self { nesterov: true, ..self }
    }

    /// The parameters after one step along `gradient` with learning rate `rate`. The statistics of
    /// `params` are kept, and `params` itself is not changed.
    ///
    /// # Errors
    /// [`ModelError::Names`](entk_models::ModelError::Names) for a gradient of other names or
    /// shapes than `params` or the gradients before it.
    pub fn step(&mut self, params: &Params, gradient: &Params, rate: f64) -> Result<Params> {
        params.check_same_shape(gradient)?;
        let velocity = match self.velocity.take() {
            None => gradient.clone(),
            Some(v) => gradient.add_scaled(self.momentum, &v)?,
        };
        let next = if self.nesterov {
            let ahead = gradient.add_scaled(self.momentum, &velocity)?;
            params.add_scaled(-rate, &ahead)?
        } else {
            params.add_scaled(-rate, &velocity)?
        };
        self.velocity = Some(velocity);
        Ok(next)
    }
}

/// Refuses a momentum outside 0 <= momentum < 1.
pub(crate) fn check_momentum(momentum: f64) -> Result<()> {
    ensure((0.0..1.0).contains(&momentum), "momentum", momentum, "at least 0 and below 1")
}
