//! Probabilities of classes from Gaussian outputs: in come means and variances, out goes how likely
//! each class has the largest output. Users call it for calibration.

use crate::{
    columns::Columns,
    error::{PredictError, Result},
};

/// Nodes of the quadrature, over this many standard deviations to either side.
const NODES: usize = 129;
const REACH: f64 = 8.0;

/// The probability that each class has the largest of C independent Gaussian outputs, (M, C): row m
/// has means `means` and variance `variances[m]` for all classes.
///
/// p_c = integral of phi(z) times the product over d other than c of Phi(z + (mu_c - mu_d) / s), by
/// the trapezoid rule (error below 1e-12), then divided by their sum. With variance zero the
/// largest mean has probability one, shared among equal ones. Pass the variance of f, or that plus
/// the noise for an observation. Cost: 129 M C^2 evaluations of erfc.
///
/// # Errors
/// [`Count`](PredictError::Count) unless there is one variance a row,
/// [`Setting`](PredictError::Setting) for one that is negative or not finite.
///
/// ```
/// use entk_predict::{Columns, class_probabilities};
///
/// let p = class_probabilities(&Columns::from_rows(1, 2, &[1.0, 0.0])?, &[0.5])?;
/// // The difference is Gaussian with mean 1 and variance 1.
/// assert!((p.get(0, 0) - 0.841_344_746_068_543).abs() < 1e-12);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
pub fn class_probabilities(means: &Columns, variances: &[f64]) -> Result<Columns> {
    let (expected, found) = (means.rows(), variances.len());
    if found != expected {
        return Err(PredictError::Count { what: "variances", expected, found });
    }
    let bad = variances.iter().find(|v| !(v.is_finite() && **v >= 0.0));
    if let Some(&found) = bad {
        let range = "finite and not negative";
        return Err(PredictError::Setting { field: "a variance", found, range });
    }
    let rows = means.to_rows();
    let of = |(mu, v): (&[f64], &f64)| probabilities(mu, v.sqrt());
    let all: Vec<f64> = rows.chunks_exact(means.cols()).zip(variances).flat_map(of).collect();
    Columns::from_rows(means.rows(), means.cols(), &all)
}

/// Probabilities of one row, summing to one.
fn probabilities(means: &[f64], deviation: f64) -> Vec<f64> {
    let best = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let likely = |mu: f64| (mu - best) / deviation;
    let mut p: Vec<f64> = if deviation > 0.0 {
        (0..means.len()).map(|c| largest(means, c, &likely)).collect()
    } else {
        means.iter().map(|&mu| f64::from(mu == best)).collect()
    };
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    p
}

/// The integral for class c.
fn largest(means: &[f64], c: usize, scaled: &impl Fn(f64) -> f64) -> f64 {
    let step = 2.0 * REACH / (NODES - 1) as f64;
    let at = |k: usize| {
        let z = step * k as f64 - REACH;
        let others = means.iter().enumerate().filter(|&(d, _)| d != c);
        let below = others.map(|(_, &mu)| cumulative(z + scaled(means[c]) - scaled(mu)));
        (-0.5 * z * z).exp() * below.product::<f64>()
    };
    (0..NODES).map(at).sum::<f64>() * step / (2.0 * std::f64::consts::PI).sqrt()
}

/// Phi(z).
fn cumulative(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}
