//! From binary labels and one logit an example to the sigmoid cross-entropy and its gradient.
//!
//! [`Objective`](crate::Objective) sums them over examples; the two functions are for anyone.

use crate::{
    error::{Result, TrainError},
    targets::Targets,
};

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
    check(logits, labels)?;
    let n = logits.len() as f64;
    Ok(logits.iter().zip(labels).map(|(&z, &y)| derivative(z, y) / n).collect())
}

/// The loss of one example.
pub(super) fn value(z: f64, y: u8) -> f64 {
    z.max(0.0) - z * f64::from(y) + (-z.abs()).exp().ln_1p()
}

/// The derivative of the loss of one example.
pub(super) fn derivative(z: f64, y: u8) -> f64 {
    if y == 1 { -sigmoid(-z) } else { sigmoid(z) }
}

/// 1 / (1 + exp(-z)); the exponent is never positive, so that nothing overflows.
pub(crate) fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

fn check(logits: &[f64], labels: &[u8]) -> Result<()> {
    if logits.is_empty() || logits.len() != labels.len() {
        let (expected, found) = (labels.len().max(1), logits.len());
        return Err(TrainError::Count { what: "logits", expected, found });
    }
    Targets::from(labels).check()?;
    check_logits(logits, 1)
}

/// Refuses NaN and infinity among logits (N, C), naming the first example.
pub(crate) fn check_logits(logits: &[f64], outputs: usize) -> Result<()> {
    match logits.iter().enumerate().find(|(_, z)| !z.is_finite()) {
        Some((at, &value)) => Err(TrainError::NonFiniteLogit { index: at / outputs, value }),
        None => Ok(()),
    }
}
