//! From confidences and whether predictions were right to bins of confidence and the expected
//! calibration error.
//!
//! [`Metrics`](crate::Metrics) report it of classifiers; predictors with probabilities of their own
//! call it, and draw the bins.

use crate::error::{Result, TrainError, ensure};

/// Bins of equal width, as in Guo et al.
const BINS: usize = 15;

/// The predictions of one bin of confidence, from [`calibration_bins`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CalibrationBin {
    /// Predictions in it.
    pub count: usize,
    /// How many of them are right.
    pub right: usize,
    /// The sum of their confidences.
    pub confidences: f64,
}

impl CalibrationBin {
    /// Mean confidence; NaN of an empty bin.
    #[must_use]
    pub fn confidence(&self) -> f64 {
        self.confidences / self.count as f64
    }

    /// Share of right predictions; NaN of an empty bin.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.count as f64
    }
}

/// The 15 bins of [`expected_calibration_error`], empty ones included.
///
/// # Errors
/// As [`expected_calibration_error`].
///
/// ```
/// use entk_train::calibration_bins;
///
/// let bins = calibration_bins(&[0.9, 0.92, 0.6], &[true, false, false])?;
/// assert_eq!((bins[13].count, bins[13].accuracy(), bins[8].right), (2, 0.5, 0));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn calibration_bins(confidences: &[f64], right: &[bool]) -> Result<Vec<CalibrationBin>> {
    let (expected, found) = (right.len().max(1), confidences.len());
    if found != expected || right.is_empty() {
        return Err(TrainError::Count { what: "confidences", expected, found });
    }
    let mut bins = vec![CalibrationBin::default(); BINS];
    for (&confidence, &right) in confidences.iter().zip(right) {
        let within = (0.0..=1.0).contains(&confidence);
        ensure(within, "confidence", confidence, "at least 0 and at most 1")?;
        let bin = &mut bins[bin(confidence)];
        bin.count += 1;
        bin.right += usize::from(right);
        bin.confidences += confidence;
    }
    Ok(bins)
}

/// The expected calibration error of n predictions, in 0..=1: how far confidence and accuracy are
/// apart.
///
/// `ECE = sum_b |B_b|/n |accuracy(B_b) - confidence(B_b)|` over 15 bins of equal width, where bin b
/// of 1..=15 holds the predictions with a confidence in ((b - 1)/15, b/15], both averages are over
/// it, and a confidence of 0 belongs to the first. Guo et al. 2017, *On Calibration of Modern
/// Neural Networks*, equation 3.
///
/// # Errors
/// [`TrainError::Count`] unless there is one answer for each confidence and at least one,
/// [`TrainError::Setting`] for a confidence outside 0..=1, NaN included.
///
/// ```
/// use entk_train::expected_calibration_error;
///
/// // Two of three right at a confidence of 0.9; one wrong at 0.6.
/// let confidence = [0.9, 0.9, 0.9, 0.6];
/// let error = expected_calibration_error(&confidence, &[true, true, false, false])?;
/// assert!((error - (0.75 * (0.9 - 2.0 / 3.0) + 0.25 * 0.6)).abs() < 1e-15);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn expected_calibration_error(confidences: &[f64], right: &[bool]) -> Result<f64> {
    // Right answers less confidences: |B| |accuracy - confidence|, also of an empty bin.
    let gap = |bin: &CalibrationBin| (bin.right as f64 - bin.confidences).abs();
    let gaps: f64 = calibration_bins(confidences, right)?.iter().map(gap).sum();
    Ok(gaps / confidences.len() as f64)
}

/// The bin of a confidence, from 0.
fn bin(confidence: f64) -> usize {
    let above = (confidence * BINS as f64).ceil() as usize;
    above.clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_open_below_and_closed_above() {
        assert_eq!([0.0, 1e-9, 0.2, 0.21, 1.0].map(bin), [0, 0, 2, 3, 14]);
    }
}
