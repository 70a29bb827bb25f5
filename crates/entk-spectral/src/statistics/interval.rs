//! Estimates with 95 % confidence intervals: in come numbers of independent probes, with a quantity
//! beside each whose mean is known, out go intervals of Student's t. `spectrum` and `sampled` call
//! it.

/// An estimate and its confidence interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The interval of this half-width around a value.
    pub(crate) fn around(value: f64, half: f64) -> Self {
        Self { value, low: value - half, high: value + half }
    }

    /// The interval of this half-width around the logarithm: of sums of few squares, which more
    /// often lie far above their mean than far below it.
    pub(crate) fn of_positive(value: f64, half: f64) -> Self {
        if value <= half * f64::EPSILON {
            return Self::around(value, half);
        }
        Self { value, low: value * (-half / value).exp(), high: value * (half / value).exp() }
    }

    /// The image of value and interval under a monotone function.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (f(self.low), f(self.high));
        Self { value: f(self.value), low: a.min(b), high: a.max(b) }
    }

    /// Whether the interval contains a number.
    #[must_use]
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

/// Quantities of independent probes that go with those to be estimated, and their known mean.
pub(crate) struct Control {
    pub(crate) of_probes: Vec<f64>,
    pub(crate) mean: f64,
}

impl Control {
    /// The mean of a quantity that was seen at each probe, read off its regression line at the
    /// known mean; half its interval by the jackknife, which holds also where errors are no normal
    /// variables.
    pub(crate) fn estimate(&self, of_probes: &[f64]) -> (f64, f64) {
        let count = of_probes.len();
        let without: Vec<f64> = (0..count).map(|j| self.line(of_probes, Some(j))).collect();
        let half = student_t(count - 2) * jackknife_error(&without);
        (self.line(of_probes, None), half)
    }

    /// The regression line of the quantity at the known mean, with one probe left out.
    fn line(&self, y: &[f64], left_out: Option<usize>) -> f64 {
        let kept = || (0..y.len()).filter(|j| Some(*j) != left_out);
        let count = kept().count() as f64;
        let mean = |of: &[f64]| kept().map(|j| of[j]).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(&self.of_probes), mean(y));
        let (mut xx, mut xy) = (0.0, 0.0);
        for j in kept() {
            let x = self.of_probes[j] - x_mean;
            xx += x * x;
            xy += x * (y[j] - y_mean);
        }
        if xx > 0.0 { y_mean + xy / xx * (self.mean - x_mean) } else { y_mean }
    }
}

/// Standard error from the estimates without one observation each.
pub(crate) fn jackknife_error(without: &[f64]) -> f64 {
    let count = without.len() as f64;
    let mean = without.iter().sum::<f64>() / count;
    let squares: f64 = without.iter().map(|x| (x - mean) * (x - mean)).sum();
    ((count - 1.0) / count * squares).sqrt()
}

/// The 97.5 % quantile of Student's t, from six degrees of freedom on to 3e-4: the expansion of
/// Abramowitz and Stegun, 26.7.5.
pub(crate) fn student_t(freedom: usize) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let (v, z2) = (freedom as f64, Z * Z);
    let polynomial = |coefficients: &[f64]| coefficients.iter().fold(0.0, |sum, c| sum * z2 + c);
    let terms = [
        polynomial(&[1.0, 1.0]) / 4.0,
        polynomial(&[5.0, 16.0, 3.0]) / 96.0,
        polynomial(&[3.0, 19.0, 17.0, -15.0]) / 384.0,
        polynomial(&[79.0, 776.0, 1482.0, -1920.0, -945.0]) / 92_160.0,
    ];
    Z * terms.iter().rev().fold(0.0, |sum, term| (sum + term) / v) + Z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(6, 2.4469), (8, 2.3060), (14, 2.1448), (30, 2.0423)] {
            let found = student_t(freedom);
            assert!((found - expected).abs() < 3e-4, "{freedom}: {found}");
        }
    }

    /// What follows exactly from the control has no error, and an estimate without it is a mean.
    #[test]
    fn a_control_explains_what_goes_with_it() {
        let of_probes = vec![1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 9.0, 12.0];
        let control = Control { of_probes: of_probes.clone(), mean: 5.5 };
        let linear: Vec<f64> = of_probes.iter().map(|x| 3.0 * x + 1.0).collect();
        let (value, half) = control.estimate(&linear);
        assert!((value - 17.5).abs() < 1e-13 && half < 1e-12, "{value} {half}");
        let flat = Control { of_probes: vec![1.0; 8], mean: 1.0 };
        let (value, half) = flat.estimate(&of_probes);
        let error = (of_probes.iter().map(|x| (x - 6.0) * (x - 6.0)).sum::<f64>() / 56.0).sqrt();
        assert!((value - 6.0).abs() < 1e-14, "{value}");
        assert!((half / error / student_t(6) - 1.0).abs() < 1e-13, "{half}");
    }
}
