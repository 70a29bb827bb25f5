//! [`Metrics`]: from logits (N, C) and targets to loss, accuracy, calibration, or the errors of a
//! regression.
//!
//! Solvers keep them in the record of an epoch; [`evaluate`](crate::evaluate) returns them.

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    loss::{
        Loss, Objective,
        sigmoid::{predicted_label, sigmoid},
        softmax::{first_maximum, probabilities},
    },
    metrics::calibration::expected_calibration_error,
    targets::Targets,
};

/// How many classes are taken for top-5.
const TOP: usize = 5;

/// Loss and quality of predictions over a set of examples; what the targets have not is none.
///
/// ```
/// use entk_train::{Metrics, Targets};
///
/// let metrics = Metrics::of(&[2.0, -1.0, 0.0], &Targets::from([1, 1, 0]))?;
/// assert_eq!(metrics.accuracy, Some(2.0 / 3.0));
/// // Of equal logits the first wins: class 0.
/// let classes = Targets::classes(vec![0, 1], 3)?;
/// assert_eq!(Metrics::of(&[1.0, 1.0, 0.0, 1.0, 1.0, 0.0], &classes)?.accuracy, Some(0.5));
/// // Errors 1 and -1 around targets 1 and 3, whose mean is 2.
/// let metrics = Metrics::of(&[2.0, 2.0], &Targets::values(vec![1.0, 3.0], 1)?)?;
/// assert_eq!((metrics.rmse, metrics.r_squared), (Some(1.0), Some(0.0)));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The mean of the [`Loss`] that is minimised, with its class weights; by itself that of
    /// [`Loss::of`]: a cross-entropy, in nats, or half the mean squared error.
    pub loss: f64,
    /// Fraction of right predictions, in 0..=1: [`predicted_label`] of one logit, else the class
    /// of the largest logit, the first where several are equal. None for real targets.
    pub accuracy: Option<f64>,
    /// Fraction of examples whose class is among the five of the largest logits, of equal ones the
    /// first; none unless there are more than five classes.
    #[serde(default)]
    pub top5_accuracy: Option<f64>,
    /// [`expected_calibration_error`] of the probability of the predicted class, that of a sigmoid
    /// or softmax; none for the squared loss, whose logits are no log-probabilities.
    #[serde(default)]
    pub calibration_error: Option<f64>,
    /// Root mean squared error of real targets, `(1/(N C) sum_nc (z_nc - t_nc)^2)^(1/2)`.
    #[serde(default)]
    pub rmse: Option<f64>,
    /// `R^2 = 1 - sum_nc (z_nc - t_nc)^2 / sum_nc (t_nc - mean_c)^2` of real targets, with the
    /// mean of each output over the examples; none where no output varies.
    #[serde(default)]
    pub r_squared: Option<f64>,
}

impl Metrics {
    /// The metrics of logits (N, C), with the loss that such targets are usually trained with:
    /// [`Loss::of`].
    ///
    /// # Errors
    /// As [`Objective::value`].
    pub fn of(logits: &[f64], targets: &Targets) -> Result<Self> {
        Self::with_loss(Loss::of(targets), logits, targets)
    }

    /// The metrics of logits (N, C) with this loss.
    ///
    /// # Errors
    /// As [`Objective::value`].
    pub fn with_loss(loss: Loss, logits: &[f64], targets: &Targets) -> Result<Self> {
        Self::with_objective(&loss.weighted(&[]), logits, targets)
    }

    /// The metrics of logits (N, C) with this loss and its class weights, which the other numbers
    /// ignore.
    ///
    /// # Errors
    /// As [`Objective::value`].
    pub fn with_objective(
        objective: &Objective<'_>,
        logits: &[f64],
        targets: &Targets,
    ) -> Result<Self> {
        let loss = objective.value(logits, targets)?;
        let calibrated = objective.loss() != Loss::Squared;
        match targets {
            Targets::Binary(labels) => of_binary(loss, logits, labels, calibrated),
            Targets::Classes { labels, classes } => {
                of_classes(loss, logits, labels, *classes, calibrated)
            }
            Targets::Values { values, outputs } => Ok(of_values(loss, logits, values, *outputs)),
        }
    }
}

fn of_binary(loss: f64, logits: &[f64], labels: &[u8], calibrated: bool) -> Result<Metrics> {
    let pairs = logits.iter().zip(labels);
    let right: Vec<bool> = pairs.map(|(&z, &y)| predicted_label(z) == y).collect();
    let confidence = || logits.iter().map(|z| sigmoid(z.abs())).collect::<Vec<_>>();
    let calibration_error =
        calibrated.then(|| expected_calibration_error(&confidence(), &right)).transpose()?;
    Ok(Metrics { loss, accuracy: Some(fraction(&right)), calibration_error, ..Metrics::default() })
}

fn of_classes(
    loss: f64,
    logits: &[f64],
    labels: &[u32],
    classes: usize,
    calibrated: bool,
) -> Result<Metrics> {
    let rows = || logits.chunks_exact(classes).zip(labels.iter().map(|&y| y as usize));
    let right: Vec<bool> = rows().map(|(row, y)| first_maximum(row).0 == y).collect();
    let confidence = |(row, _): (&[f64], usize)| first_maximum(&probabilities(row)).1;
    let confidences = || rows().map(confidence).collect::<Vec<_>>();
    let calibration_error =
        calibrated.then(|| expected_calibration_error(&confidences(), &right)).transpose()?;
    let top5: Vec<bool> = rows().map(|(row, y)| rank(row, y) < TOP).collect();
    Ok(Metrics {
        loss,
        accuracy: Some(fraction(&right)),
        top5_accuracy: (classes > TOP).then(|| fraction(&top5)),
        calibration_error,
        ..Metrics::default()
    })
}

fn of_values(loss: f64, logits: &[f64], values: &[f64], outputs: usize) -> Metrics {
    let square = |(a, b): (&f64, &f64)| (a - b) * (a - b);
    let errors: f64 = logits.iter().zip(values).map(square).sum();
    let count = (values.len() / outputs) as f64;
    let mean = |c: usize| values.iter().skip(c).step_by(outputs).sum::<f64>() / count;
    let means: Vec<f64> = (0..outputs).map(mean).collect();
    let variation: f64 = values.iter().zip(means.iter().cycle()).map(square).sum();
    Metrics {
        loss,
        rmse: Some((errors / values.len() as f64).sqrt()),
        r_squared: (variation > 0.0).then(|| 1.0 - errors / variation),
        ..Metrics::default()
    }
}

/// Classes that come before this one: with a larger logit, or with an equal one and a smaller
/// number.
fn rank(row: &[f64], class: usize) -> usize {
    let before = |(c, z): (usize, &f64)| *z > row[class] || (*z == row[class] && c < class);
    row.iter().enumerate().filter(|&entry| before(entry)).count()
}

fn fraction(right: &[bool]) -> f64 {
    right.iter().filter(|right| **right).count() as f64 / right.len() as f64
}
