use entk_models::Params;

use crate::{
    axpy::add_scaled,
    error::{Result, TrainError},
    schedule::Schedule,
};

/// How [`fit`](crate::fit) trains; the default is the paper's.
///
/// | field | default | range | meaning |
/// |---|---|---|---|
/// | `learning_rate` | 0.05 | > 0 | rate of the first step |
/// | `momentum` | 0.9 | 0 <= m < 1 | share of the velocity that a step keeps |
/// | `batch` | 128 | 1..=N | examples of a minibatch |
/// | `epochs` | 100 | >= 1 | passes over the data (the paper: 200 for CIFAR2) |
/// | `schedule` | `Linear` | | learning rate over the steps |
/// | `seed` | 0 | | of the minibatch order |
/// | `eval_every` | 1 | >= 1 | epochs between evaluations over all examples |
/// | `eval_batch` | 128 | >= 1 | examples of a forward pass there; bounds memory only |
///
/// Heavy-ball stays stable while `learning_rate < 2 (1 + momentum) / lambda_max(H)` for the Hessian H
/// of the loss.
///
/// ```
/// use entk_train::{Schedule, SgdConfig};
///
/// let config = SgdConfig { epochs: 10, schedule: Schedule::Constant, ..SgdConfig::default() };
/// assert_eq!((config.learning_rate, config.momentum, config.batch), (0.05, 0.9, 128));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SgdConfig {
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// Share of the velocity that a step keeps.
    pub momentum: f64,
    /// Examples of a minibatch.
    pub batch: usize,
    /// Passes over the data.
    pub epochs: usize,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// Seed of the minibatch order.
    pub seed: u64,
    /// Epochs between evaluations over all examples; the last epoch is always evaluated.
    pub eval_every: usize,
    /// Examples of a forward pass in evaluation.
    pub eval_batch: usize,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            learning_rate: 0.05,
            momentum: 0.9,
            batch: 128,
            epochs: 100,
            schedule: Schedule::Linear,
            seed: 0,
            eval_every: 1,
            eval_batch: 128,
        }
    }
}

impl SgdConfig {
    /// Refuses settings outside the ranges above, NaN included.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        ensure(positive, "learning_rate", self.learning_rate, "positive and finite")?;
        check_momentum(self.momentum)?;
        for (field, count) in [
            ("batch", self.batch),
            ("epochs", self.epochs),
            ("eval_every", self.eval_every),
            ("eval_batch", self.eval_batch),
        ] {
            ensure(count > 0, field, count as f64, "at least 1")?;
        }
        Ok(())
    }
}

fn check_momentum(momentum: f64) -> Result<()> {
    ensure((0.0..1.0).contains(&momentum), "momentum", momentum, "at least 0 and below 1")
}

fn ensure(ok: bool, field: &'static str, found: f64, range: &'static str) -> Result<()> {
    if ok { Ok(()) } else { Err(TrainError::Setting { field, found, range }) }
}

/// Heavy-ball gradient descent: `v <- g + momentum v`, then `theta <- theta - rate v`; v starts at 0.
///
/// No weight decay, no dampening, no Nesterov. The velocity is one more set of parameters in memory;
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
    velocity: Option<Params>,
}

impl Sgd {
    /// At rest.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a momentum outside 0 <= momentum < 1.
    pub fn new(momentum: f64) -> Result<Self> {
        check_momentum(momentum)?;
        Ok(Self { momentum, velocity: None })
    }

    /// The parameters after one step along `gradient` with learning rate `rate`. The statistics of
    /// `theta` are kept, and `theta` itself is not changed.
    ///
    /// # Errors
    /// [`ModelError::Names`](entk_models::ModelError::Names) for a gradient of other names or shapes
    /// than `theta` or the gradients before it.
    pub fn step(&mut self, theta: &Params, gradient: &Params, rate: f64) -> Result<Params> {
        theta.check_same_shape(gradient)?;
        let velocity = match self.velocity.take() {
            None => gradient.clone(),
            Some(v) => add_scaled(gradient, self.momentum, &v)?,
        };
        let next = add_scaled(theta, -rate, &velocity)?;
        self.velocity = Some(velocity);
        Ok(next)
    }
}
