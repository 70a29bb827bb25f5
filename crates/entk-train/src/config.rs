//! The settings of a training: [`SgdConfig`] with the choices of rule and decay, and their ranges.
//!
//! Callers fill it in; every solver checks it before the first step, and checkpoints keep it.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, ensure},
    loss::{Loss, Objective, check_weights},
    optim::{adam::AdamConfig, schedule::Schedule, sgd::check_momentum},
};

/// The rule of a step, from the gradient g of the minibatch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Optimizer {
    /// `v <- g + momentum v`, `theta <- theta - rate v`: the paper's, [`Sgd`](crate::Sgd).
    #[default]
    HeavyBall,
    /// `v <- g + momentum v`, `theta <- theta - rate (g + momentum v)`.
    Nesterov,
    /// [`Adam`](crate::Adam); with [`WeightDecay::Decoupled`] it is AdamW.
    Adam(AdamConfig),
}

impl Optimizer {
    fn check(self) -> Result<()> {
        match self {
            Self::Adam(config) => config.check(),
            Self::HeavyBall | Self::Nesterov => Ok(()),
        }
    }
}

/// A pull on the parameters beside the loss; the number is its weight w.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightDecay {
    /// None: the paper's.
    #[default]
    None,
    /// Adds `w theta` to the gradient: the penalty `w/2 ||theta||^2`.
    Weights(f64),
    /// Adds `w (theta - theta_0)` to the gradient: the penalty `w/2 ||theta - theta_0||^2`.
    FromStart(f64),
    /// Takes `rate w theta` from theta at each step, past the rule: that of AdamW.
    Decoupled(f64),
}

impl WeightDecay {
    fn weight(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Weights(w) | Self::FromStart(w) | Self::Decoupled(w) => w,
        }
    }
}

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
/// | `loss` | of one logit | fits the targets | what is minimised, and [`Metrics`] report |
/// | `class_weights` | none | > 0, one a class | weights of the examples by class: [`Objective`] |
/// | `optimizer` | `HeavyBall` | | rule of a step; `momentum` is for the first two |
/// | `decay` | `None` | weights >= 0 | pull on the parameters |
/// | `stop_at_loss` | none | >= 0 | loss over all training examples at which to stop |
///
/// [`Metrics`]: crate::Metrics
///
/// Heavy-ball stays stable while `learning_rate < 2 (1 + momentum) / lambda_max(H)` for the Hessian
/// H of the loss; [`DualSgd::stability`](crate::DualSgd::stability) measures it for a
/// linearization.
///
/// ```
/// use entk_train::{Schedule, SgdConfig};
///
/// let config = SgdConfig { epochs: 10, schedule: Schedule::Constant, ..SgdConfig::default() };
/// assert_eq!((config.learning_rate, config.momentum, config.batch), (0.05, 0.9, 128));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What is minimised.
    pub loss: Loss,
    /// Weight of each class in the loss; empty for 1 each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")] // absent from earlier checkpoints
    pub class_weights: Vec<f64>,
    /// Rule of a step.
    #[serde(rename = "update")] // its name in checkpoints
    pub optimizer: Optimizer,
    /// Pull on the parameters beside the loss.
    pub decay: WeightDecay,
    /// Ends the run after the first evaluated epoch with at most this loss over all training
    /// examples.
    pub stop_at_loss: Option<f64>,
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
            loss: Loss::default(),
            class_weights: Vec::new(),
            optimizer: Optimizer::default(),
            decay: WeightDecay::default(),
            stop_at_loss: None,
        }
    }
}

impl SgdConfig {
    /// The loss with the class weights.
    #[must_use]
    pub fn objective(&self) -> Objective<'_> {
        self.loss.weighted(&self.class_weights)
    }

    /// Refuses settings outside the ranges above, NaN included.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        ensure(positive, "learning_rate", self.learning_rate, "positive and finite")?;
        check_momentum(self.momentum)?;
        self.optimizer.check()?;
        self.loss.check()?;
        check_weights(&self.class_weights)?;
        let decay = self.decay.weight();
        ensure(decay >= 0.0 && decay.is_finite(), "decay", decay, "at least 0 and finite")?;
        let stop = self.stop_at_loss.unwrap_or(0.0);
        ensure(stop >= 0.0 && stop.is_finite(), "stop_at_loss", stop, "at least 0 and finite")?;
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
