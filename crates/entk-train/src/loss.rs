//! From logits z and labels in {0, 1} to the loss and its gradient in z, in f64 on the host.
//!
//! Steps in the space of weights and of coefficients take the gradient as the cotangent of a VJP or
//! as the residual of an example; [`Metrics`](crate::Metrics) take the value.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, TrainError},
    examples::check_labels,
};

/// A loss on logits z and labels y in {0, 1}, the mean over n examples.
///
/// ```
/// use entk_train::Loss;
///
/// // (3 - 1)^2 / 2 and (-1 - -1)^2 / 2, halved.
/// assert_eq!(Loss::Squared.value(&[3.0, -1.0], &[1, 0])?, 1.0);
/// assert_eq!(Loss::Squared.cotangent(&[3.0, -1.0], &[1, 0])?, [1.0, 0.0]);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Loss {
    /// [`sigmoid_cross_entropy`]: the paper's.
    #[default]
    SigmoidCrossEntropy,
    /// `1/(2n) sum_i (z_i - t_i)^2` with the target t = 1 for the label 1 and -1 for 0. The
    /// gradient is linear in the logits.
    Squared,
}

impl Loss {
    /// The loss.
    ///
    /// # Errors
    /// As [`sigmoid_cross_entropy`].
    pub fn value(self, logits: &[f64], labels: &[u8]) -> Result<f64> {
        match self {
            Self::SigmoidCrossEntropy => sigmoid_cross_entropy(logits, labels),
            Self::Squared => {
                check(logits, labels)?;
                let square = |(&z, &y): (&f64, &u8)| (z - sign(y)) * (z - sign(y));
                let sum: f64 = logits.iter().zip(labels).map(square).sum();
                Ok(sum / (2.0 * logits.len() as f64))
            }
        }
    }

    /// Its gradient with respect to the logits.
    ///
    /// # Errors
    /// As [`sigmoid_cross_entropy`].
    pub fn cotangent(self, logits: &[f64], labels: &[u8]) -> Result<Vec<f64>> {
        self.share_of_cotangent(logits, labels, logits.len())
    }

    /// The entries, for the given examples, of the gradient of the mean loss over n.
    pub(crate) fn share_of_cotangent(
        self,
        logits: &[f64],
        labels: &[u8],
        n: usize,
    ) -> Result<Vec<f64>> {
        check(logits, labels)?;
        let slope = |(&z, &y): (&f64, &u8)| match self {
            Self::SigmoidCrossEntropy => derivative(z, y) / n as f64,
            Self::Squared => (z - sign(y)) / n as f64,
        };
        Ok(logits.iter().zip(labels).map(slope).collect())
    }

    /// The largest second derivative in a logit, times n.
    pub(crate) fn curvature(self) -> f64 {
        match self {
            Self::SigmoidCrossEntropy => 0.25,
            Self::Squared => 1.0,
        }
    }
}

/// The target of a label: 1 for label 1, -1 for label 0.
pub(crate) fn sign(label: u8) -> f64 {
    if label == 1 { 1.0 } else { -1.0 }
}

/// The label that a logit predicts: 1 if it is positive, else 0. A logit of exactly 0 predicts 0.
#[must_use]
pub fn predicted_label(logit: f64) -> u8 {
    u8::from(logit > 0.0)
}

/// The mean sigmoid cross-entropy, `1/n sum_i max(z_i, 0) - z_i y_i + log(1 + exp(-|z_i|))`.
///
/// Equal to the mean of `-y log s(z) - (1 - y) log(1 - s(z))` with `s(z) = 1 / (1 + exp(-z))`, in
/// nats; this form neither overflows nor loses digits at large logits. It is at most |z| on a wrong
/// prediction plus log 2.
///
/// # Errors
/// [`TrainError::Count`] unless there is one logit for each label and at least one of them,
/// [`TrainError::Label`] for a label other than 0 and 1, [`TrainError::NonFiniteLogit`].
///
/// ```
/// use entk_train::sigmoid_cross_entropy;
///
/// assert_eq!(sigmoid_cross_entropy(&[0.0, 0.0], &[0, 1])?, 2f64.ln());
/// assert_eq!(sigmoid_cross_entropy(&[-1e4], &[1])?, 1e4);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn sigmoid_cross_entropy(logits: &[f64], labels: &[u8]) -> Result<f64> {
    check(logits, labels)?;
    let sum: f64 = logits.iter().zip(labels).map(|(&z, &y)| value(z, y)).sum();
    Ok(sum / logits.len() as f64)
}

/// The gradient of [`sigmoid_cross_entropy`] with respect to the logits: `(s(z_i) - y_i) / n`.
///
/// Each entry is at most 1/n in size, and computed without cancellation: for y = 1 it is
/// `-s(-z)/n`.
///
/// # Errors
/// As [`sigmoid_cross_entropy`].
///
/// ```
/// use entk_train::sigmoid_cross_entropy_cotangent;
///
/// assert_eq!(sigmoid_cross_entropy_cotangent(&[0.0, 1e4], &[1, 0])?, [-0.25, 0.5]);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn sigmoid_cross_entropy_cotangent(logits: &[f64], labels: &[u8]) -> Result<Vec<f64>> {
    Loss::SigmoidCrossEntropy.cotangent(logits, labels)
}

fn value(z: f64, y: u8) -> f64 {
    z.max(0.0) - z * f64::from(y) + (-z.abs()).exp().ln_1p()
}

fn derivative(z: f64, y: u8) -> f64 {
    if y == 1 { -sigmoid(-z) } else { sigmoid(z) }
}

/// 1 / (1 + exp(-z)); the exponent is never positive, so that nothing overflows.
fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

fn check(logits: &[f64], labels: &[u8]) -> Result<()> {
    if logits.is_empty() || logits.len() != labels.len() {
        let (expected, found) = (labels.len().max(1), logits.len());
        return Err(TrainError::Count { what: "logits", expected, found });
    }
    check_labels(labels, labels.len())?;
    check_logits(logits)
}

/// Refuses NaN and infinity, naming the first.
pub(crate) fn check_logits(logits: &[f64]) -> Result<()> {
    match logits.iter().enumerate().find(|(_, z)| !z.is_finite()) {
        Some((index, &value)) => Err(TrainError::NonFiniteLogit { index, value }),
        None => Ok(()),
    }
}
