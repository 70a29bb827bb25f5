//! [`Loss`] and [`Objective`]: from logits (N, C) and targets to the loss and its gradient in the
//! logits, in f64 on the host.
//!
//! Steps in the space of weights and of coefficients take the gradient as the cotangent of a VJP or
//! as the residual of an example; [`Metrics`](crate::Metrics) take the value.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, TrainError, ensure},
    loss::{sigmoid::check_logits, softmax::Softmax},
    targets::{Targets, sign},
};

pub(crate) mod sigmoid;
pub(crate) mod softmax;

/// A loss on logits z (N, C) and [`Targets`], the mean over N examples.
///
/// | loss | targets | value |
/// |---|---|---|
/// | `SigmoidCrossEntropy` | binary | `1/N sum_n log(1 + exp(-s_n z_n))`, s = 1 or -1 |
/// | `SoftmaxCrossEntropy` | classes | `-1/N sum_n sum_c q_nc log p_nc`, p = softmax(z) |
/// | `Squared` | all | `1/(2N) sum_nc (z_nc - t_nc)^2`, t by [`Targets::to_values`] |
///
/// Every other pair is refused. [`weighted`](Self::weighted) gives classes weights.
///
/// ```
/// use entk_train::{Loss, Targets};
///
/// // (3 - 1)^2 / 2 and (-1 - -1)^2 / 2, halved.
/// let labels = Targets::from([1, 0]);
/// assert_eq!(Loss::Squared.value(&[3.0, -1.0], &labels)?, 1.0);
/// assert_eq!(Loss::Squared.cotangent(&[3.0, -1.0], &labels)?, [1.0, 0.0]);
///
/// let softmax = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
/// let classes = Targets::classes(vec![2], 3)?;
/// assert!((softmax.value(&[5.0; 3], &classes)? - 3f64.ln()).abs() < 1e-15);
/// let error = softmax.value(&[3.0, -1.0], &labels).unwrap_err();
/// assert!(error.to_string().contains("SigmoidCrossEntropy"));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Loss {
    /// [`sigmoid_cross_entropy`](crate::sigmoid_cross_entropy) of one logit: the paper's.
    #[default]
    SigmoidCrossEntropy,
    /// Cross-entropy of the softmax of C logits, in nats, against `q = (1 - e) onehot + e / C`:
    /// `log sum_k exp(z_k) - sum_c q_c z_c`, computed from differences to the largest logit, so
    /// that it neither overflows nor loses the digits of a small loss.
    SoftmaxCrossEntropy {
        /// The e of the formula, `0 <= e < 1`; 0 is the plain cross-entropy. Szegedy et al. 2016,
        /// *Rethinking the Inception Architecture*, section 7.
        label_smoothing: f64,
    },
    /// Half the squared distance from [`Targets::to_values`]. The gradient is linear in the logits.
    Squared,
}

impl Loss {
    /// The loss that targets are usually trained with: the cross-entropy of their kind, without
    /// smoothing, and the squared loss for real values.
    #[must_use]
    pub fn of(targets: &Targets) -> Self {
        match targets {
            Targets::Binary(_) => Self::SigmoidCrossEntropy,
            Targets::Classes { .. } => Self::SoftmaxCrossEntropy { label_smoothing: 0.0 },
            Targets::Values { .. } => Self::Squared,
        }
    }

    /// With a weight for each class; see [`Objective`].
    #[must_use]
    pub fn weighted(self, class_weights: &[f64]) -> Objective<'_> {
        Objective { loss: self, class_weights }
    }

    /// The loss of logits (N, C).
    ///
    /// # Errors
    /// As [`Objective::value`].
    pub fn value(self, logits: &[f64], targets: &Targets) -> Result<f64> {
        self.weighted(&[]).value(logits, targets)
    }

    /// Its gradient with respect to the logits, (N, C).
    ///
    /// # Errors
    /// As [`Objective::value`].
    pub fn cotangent(self, logits: &[f64], targets: &Targets) -> Result<Vec<f64>> {
        self.weighted(&[]).cotangent(logits, targets)
    }

    /// A bound on the eigenvalues of N times the Hessian in the logits of one example.
    ///
    /// For the softmax that Hessian is `diag(p) - p p^T`. Along a unit vector v it is the variance
    /// of v under p, at most a quarter of the squared range of v, and `(v_i - v_j)^2 <= 2`: 1/2,
    /// which two equal logits far above the others attain.
    pub(crate) fn curvature(self) -> f64 {
        match self {
            Self::SigmoidCrossEntropy => 0.25,
            Self::SoftmaxCrossEntropy { .. } => 0.5,
            Self::Squared => 1.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SigmoidCrossEntropy => "SigmoidCrossEntropy",
            Self::SoftmaxCrossEntropy { .. } => "SoftmaxCrossEntropy",
            Self::Squared => "Squared",
        }
    }

    /// Refuses a smoothing outside its range.
    pub(crate) fn check(self) -> Result<()> {
        let Self::SoftmaxCrossEntropy { label_smoothing: e } = self else { return Ok(()) };
        ensure((0.0..1.0).contains(&e), "label_smoothing", e, "at least 0 and below 1")
    }

    /// Refuses targets that this loss has no value for.
    fn check_kind(self, targets: &Targets) -> Result<()> {
        let remedy = match (self, targets) {
            (Self::SigmoidCrossEntropy, Targets::Classes { .. }) => {
                "set the loss to SoftmaxCrossEntropy or Squared, or map the classes to binary labels"
            }
            (Self::SoftmaxCrossEntropy { .. }, Targets::Binary(_)) => {
                "set the loss to SigmoidCrossEntropy or Squared, or give two classes and a model of two outputs"
            }
            (
                Self::SigmoidCrossEntropy | Self::SoftmaxCrossEntropy { .. },
                Targets::Values { .. },
            ) => "set the loss to Squared, or give labels",
            _ => return Ok(()),
        };
        Err(TrainError::LossTargets { loss: self.name(), targets: targets.name(), remedy })
    }
}

/// A [`Loss`] with a weight w for each class, or none: the weighted mean over N examples.
///
/// The sum is divided by `sum_n w_{y_n}` in place of N, as PyTorch's `CrossEntropyLoss` does, and
/// smoothed labels weigh each class of the sum by its own weight, likewise:
/// `sum_n sum_c w_c q_nc (-log p_nc) / sum_n w_{y_n}`. The squared loss of an example counts
/// w_{y_n} times. Binary labels have two weights, of 0 and of 1; real targets have none.
///
/// ```
/// use entk_train::{Loss, Targets};
///
/// let labels = Targets::from([0, 1]);
/// let weighted = Loss::Squared.weighted(&[3.0, 1.0]);
/// // (3 * 2 + 1 * 0) / (3 + 1): losses 2 and 0.
/// assert_eq!(weighted.value(&[1.0, 1.0], &labels)?, 1.5);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective<'a> {
    loss: Loss,
    class_weights: &'a [f64],
}

impl Objective<'_> {
    /// The loss without its weights.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The loss of logits (N, C).
    ///
    /// # Errors
    /// [`TrainError::Count`] unless there are N C logits and at least one,
    /// [`TrainError::LossTargets`] for a loss that the targets have not,
    /// [`TrainError::ClassWeights`] and [`TrainError::Setting`] for weights that do not fit,
    /// [`TrainError::NonFiniteLogit`], and those of [`Targets::check`].
    pub fn value(&self, logits: &[f64], targets: &Targets) -> Result<f64> {
        self.check_all(logits, targets)?;
        Ok(self.sum(logits, targets) / self.total(targets))
    }

    /// Its gradient with respect to the logits, (N, C).
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn cotangent(&self, logits: &[f64], targets: &Targets) -> Result<Vec<f64>> {
        self.share_of_cotangent(logits, targets, self.total(targets))
    }

    /// The entries, for the given examples, of the gradient of the mean loss over a set of examples
    /// whose [`total`](Self::total) is given.
    pub(crate) fn share_of_cotangent(
        &self,
        logits: &[f64],
        targets: &Targets,
        total: f64,
    ) -> Result<Vec<f64>> {
        self.check_all(logits, targets)?;
        Ok(match targets {
            Targets::Binary(labels) => {
                let slope = |(&z, &y): (&f64, &u8)| self.binary_slope(z, y) / total;
                logits.iter().zip(labels).map(slope).collect()
            }
            Targets::Classes { labels, classes } => {
                let mut slopes = Vec::with_capacity(logits.len());
                for (row, &y) in logits.chunks_exact(*classes).zip(labels) {
                    self.class_slopes(row, y as usize, total, &mut slopes);
                }
                slopes
            }
            Targets::Values { values, .. } => {
                logits.iter().zip(values).map(|(z, t)| (z - t) / total).collect()
            }
        })
    }

    /// What the sum over examples is divided by: N, or the sum of their weights.
    pub(crate) fn total(&self, targets: &Targets) -> f64 {
        match targets {
            _ if self.class_weights.is_empty() => targets.count() as f64,
            Targets::Binary(labels) => labels.iter().map(|&y| self.weight(y.into())).sum(),
            Targets::Classes { labels, .. } => {
                labels.iter().map(|&y| self.weight(y as usize)).sum()
            }
            Targets::Values { .. } => targets.count() as f64,
        }
    }

    /// Refuses targets that this objective has no value for.
    pub(crate) fn check(&self, targets: &Targets) -> Result<()> {
        self.loss.check()?;
        self.loss.check_kind(targets)?;
        let (found, classes) = (self.class_weights.len(), targets.outputs().max(2));
        let fits = !matches!(targets, Targets::Values { .. }) && found == classes;
        if found > 0 && !fits {
            let expected = if matches!(targets, Targets::Values { .. }) { 0 } else { classes };
            return Err(TrainError::ClassWeights { found, expected });
        }
        check_weights(self.class_weights)
    }

    /// The bound [`Loss::curvature`] with weights: a minibatch divides by at least |B| times the
    /// smallest of them, and an example counts at most the largest.
    pub(crate) fn curvature(&self) -> f64 {
        let largest = self.class_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = self.class_weights.iter().copied().fold(f64::INFINITY, f64::min);
        let spread = if self.class_weights.is_empty() { 1.0 } else { largest / smallest };
        self.loss.curvature() * spread
    }

    fn check_all(&self, logits: &[f64], targets: &Targets) -> Result<()> {
        let expected = (targets.count() * targets.outputs()).max(1);
        if logits.len() != expected || targets.count() == 0 {
            return Err(TrainError::Count { what: "logits", expected, found: logits.len() });
        }
        targets.check()?;
        self.check(targets)?;
        check_logits(logits, targets.outputs())
    }

    fn sum(&self, logits: &[f64], targets: &Targets) -> f64 {
        match targets {
            Targets::Binary(labels) => {
                logits.iter().zip(labels).map(|(&z, &y)| self.binary_value(z, y)).sum()
            }
            Targets::Classes { labels, classes } => {
                let rows = logits.chunks_exact(*classes).zip(labels);
                rows.map(|(row, &y)| self.class_value(row, y as usize)).sum()
            }
            Targets::Values { values, .. } => {
                logits.iter().zip(values).map(|(z, t)| half_square(z - t)).sum()
            }
        }
    }

    fn binary_value(&self, z: f64, y: u8) -> f64 {
        let value = match self.loss {
            Loss::Squared => half_square(z - sign(y)),
            _ => sigmoid::value(z, y),
        };
        self.weight(y.into()) * value
    }

    fn binary_slope(&self, z: f64, y: u8) -> f64 {
        let slope = match self.loss {
            Loss::Squared => z - sign(y),
            _ => sigmoid::derivative(z, y),
        };
        self.weight(y.into()) * slope
    }

    fn class_value(&self, row: &[f64], y: usize) -> f64 {
        match self.loss {
            Loss::SoftmaxCrossEntropy { label_smoothing } => {
                Softmax { row, label: y, smoothing: label_smoothing, weights: self.class_weights }
                    .value()
            }
            _ => {
                let square = |(c, z): (usize, &f64)| half_square(z - one_hot(c, y));
                self.weight(y) * row.iter().enumerate().map(square).sum::<f64>()
            }
        }
    }

    fn class_slopes(&self, row: &[f64], y: usize, total: f64, slopes: &mut Vec<f64>) {
        match self.loss {
            Loss::SoftmaxCrossEntropy { label_smoothing } => {
                Softmax { row, label: y, smoothing: label_smoothing, weights: self.class_weights }
                    .add_slopes(total, slopes);
            }
            _ => {
                let slope = |(c, z): (usize, &f64)| self.weight(y) * (z - one_hot(c, y)) / total;
                slopes.extend(row.iter().enumerate().map(slope));
            }
        }
    }

    fn weight(&self, class: usize) -> f64 {
        self.class_weights.get(class).copied().unwrap_or(1.0)
    }
}

/// Refuses class weights that are not positive and finite.
pub(crate) fn check_weights(weights: &[f64]) -> Result<()> {
    let bad = weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0));
    bad.map_or(Ok(()), |&weight| {
        ensure(false, "class_weights", weight, "positive and finite, each of them")
    })
}

fn one_hot(class: usize, label: usize) -> f64 {
    if class == label { 1.0 } else { 0.0 }
}

fn half_square(x: f64) -> f64 {
    0.5 * x * x
}
