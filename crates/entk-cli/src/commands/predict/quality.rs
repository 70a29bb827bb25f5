//! How good predictions are: predictions and targets come in, accuracy, mean square and calibration
//! go out. Called by the other files of the program.

use anyhow::Result;
use entk::{
    predict::Columns,
    train::{calibration_bins, expected_calibration_error},
};
use entk_cli::{
    LabelTargets, TargetRule,
    plot::{Axis, Figure, LineStyle, Series},
};
use serde::Serialize;

/// Accuracy, where targets are classes, and the mean square of what is missed.
#[derive(Clone, Copy, Serialize)]
pub struct Quality {
    pub accuracy: Option<f64>,
    pub mean_square: f64,
}

impl Quality {
    pub fn new(predictions: &Columns, targets: &LabelTargets) -> Self {
        let values = predictions.to_rows();
        let squares = values.iter().zip(&targets.values).map(|(f, y)| (f - y) * (f - y));
        let mean_square = squares.sum::<f64>() / values.len() as f64;
        let right = (targets.rule != TargetRule::Values).then(|| right(&values, targets));
        Self { accuracy: right.map(|right| share(&right)), mean_square }
    }
}

/// Whether every example is classified right, for values example by example.
pub fn right(values: &[f64], targets: &LabelTargets) -> Vec<bool> {
    let columns = targets.columns;
    let pairs = values.chunks_exact(columns).zip(targets.values.chunks_exact(columns));
    pairs.map(|(f, y)| class(f) == class(y)).collect()
}

/// The place of the largest value, the first of equal ones; the sign of a single one.
pub fn class(values: &[f64]) -> usize {
    match values {
        [only] => usize::from(*only > 0.0),
        _ => (1..values.len()).fold(0, |best, c| if values[c] > values[best] { c } else { best }),
    }
}

fn share(right: &[bool]) -> f64 {
    right.iter().filter(|right| **right).count() as f64 / right.len() as f64
}

/// Probabilities of classes beside what happened.
#[derive(Serialize)]
pub struct Calibration {
    /// Mean over the examples of |accuracy - confidence| of their bin, of 15 equal ones.
    pub expected_error: f64,
    /// Mean of -log of the probability of the true class.
    pub negative_log_likelihood: f64,
    /// Mean confidence, accuracy and number of examples of every bin that has some.
    pub bins: Vec<(f64, f64, usize)>,
}

impl Calibration {
    /// Of probabilities (M, C), example by example.
    ///
    /// # Errors
    /// Probabilities outside 0 to 1.
    pub fn new(probabilities: &[f64], targets: &LabelTargets) -> Result<Self> {
        let right = right(probabilities, targets);
        let rows: Vec<&[f64]> = probabilities.chunks_exact(targets.columns).collect();
        let confidences: Vec<f64> = rows.iter().map(|p| p[class(p)]).collect();
        let bins = calibration_bins(&confidences, &right)?;
        let bins = bins.iter().filter(|bin| bin.count > 0);
        let surprise = rows.iter().zip(targets.values.chunks_exact(targets.columns));
        let surprise = surprise.map(|(p, y)| -p[class(y)].max(f64::MIN_POSITIVE).ln());
        Ok(Self {
            expected_error: expected_calibration_error(&confidences, &right)?,
            negative_log_likelihood: surprise.sum::<f64>() / rows.len() as f64,
            bins: bins.map(|bin| (bin.confidence(), bin.accuracy(), bin.count)).collect(),
        })
    }

    /// Accuracy against confidence.
    pub fn figure(&self) -> Figure {
        let points = self.bins.iter().map(|(p, accuracy, _)| (*p, *accuracy)).collect();
        Figure::new(Axis::linear("confidence").percent(), Axis::linear("accuracy").percent())
            .series(
                Series::new("calibrated", vec![(0.0, 0.0), (1.0, 1.0)])
                    .color(1)
                    .line(LineStyle::Dashed)
                    .marker(entk_cli::plot::Marker::None),
            )
            .series(Series::new("Gaussian process", points))
            .title(format!("calibration error {:.3}", self.expected_error))
    }
}
