//! Traces of functions of an operator from its projection: Ritz pairs and probes come in, norms,
//! ranks, moments and the density of eigenvalues go out, each with its interval.
//! `stochastic_lanczos` calls it.

use faer::Mat;

use crate::{
    dense::ritz::Ritz,
    error::{Result, SpectralError},
    statistics::{
        interval::{Control, Estimate},
        projection::Projection,
    },
};

/// Standard deviation in decades of the bell over which eigenvalues are counted.
const WIDTH: f64 = 0.2;
/// Points of the density in a decade, and decades from the largest eigenvalue down.
const POINTS: usize = 8;
const DECADES: usize = 7;
/// Highest power of a moment.
const MOMENTS: i32 = 4;
/// Part of a density that its interval allows for directions that are nearly, not wholly, those of
/// eigenvectors.
const ALLOWANCE: f64 = 1e-3;

/// What is known of the spectrum of a positive semidefinite operator A.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SpectrumStatistics {
    /// tr A, as it was given.
    pub trace: f64,
    /// Ritz values of the leading directions, descending: lower bounds of the eigenvalues.
    pub ritz: Vec<f64>,
    /// ||A q - theta q|| of each.
    pub residuals: Vec<f64>,
    /// ||A||_F^2, the sum of the squared eigenvalues.
    pub frobenius_squared: Estimate,
    /// exp(-sum p_j ln p_j) with p_j = lambda_j / tr A.
    pub entropy_rank: Estimate,
    /// (tr A)^2 / ||A||_F^2.
    pub participation: Estimate,
    /// tr A^k for k = 3 and 4.
    pub moments: Vec<Estimate>,
    /// The density of eigenvalues, from the largest down.
    pub density: Vec<DensityPoint>,
}

/// The density of eigenvalues at one place, counted over a bell of 0.2 decades (its standard
/// deviation).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DensityPoint {
    /// The eigenvalue.
    pub eigenvalue: f64,
    /// Eigenvalues in a decade.
    pub count: Estimate,
    /// Whether enough steps were made for this part of the spectrum: here and at all larger
    /// eigenvalues, up to two widths away, the last two steps changed less than the interval.
    pub resolved: bool,
}

/// Ritz values with the weights that Q as a whole and each probe give them.
struct Quadrature {
    values: Vec<f64>,
    deflated: Vec<f64>,
    probes: Vec<Vec<f64>>,
}

impl Quadrature {
    /// By the leading `size` columns of the basis.
    fn new(p: &Projection, size: usize) -> Result<Self> {
        let r = p.ritz.len();
        // Columns reach as far as the basis did; the rest is their mirror image, or beyond reach.
        let entry = |i: usize, j: usize| p.columns[i.max(j)].get(i.min(j)).copied();
        let t = Mat::from_fn(size, size, |i, j| entry(i, j).unwrap_or(0.0));
        let ritz = Ritz::of(t.as_ref())?;
        let y = ritz.leading(size);
        let weight = |j: usize, z: &[f64]| {
            let overlap = z.iter().enumerate().map(|(i, z)| z * y[(r + i, j)]).sum::<f64>();
            overlap * overlap
        };
        let deflated = |j: usize| (0..r).map(|i| y[(i, j)] * y[(i, j)]).sum();
        let probe = |z: &Vec<f64>| (0..size).map(|j| weight(j, z)).collect();
        Ok(Self {
            deflated: (0..size).map(deflated).collect(),
            probes: p.probes.iter().map(probe).collect(),
            // Round-off of zero may be negative.
            values: ritz.values().iter().map(|x| x.max(0.0)).collect(),
        })
    }

    /// tr f(A): of Q, and z^T f(A) z of each probe.
    fn of(&self, f: impl Fn(f64) -> f64) -> (f64, Vec<f64>) {
        let images: Vec<f64> = self.values.iter().map(|x| f(*x)).collect();
        let sum = |weights: &Vec<f64>| weights.iter().zip(&images).map(|(w, f)| w * f).sum();
        (sum(&self.deflated), self.probes.iter().map(sum).collect())
    }
}

/// Quadratures by all steps, by one and by two fewer, and what is known beside them.
struct Traces {
    rules: Vec<Quadrature>,
    control: Control,
}

impl Traces {
    /// tr f(A), and half its interval with what the last steps have changed.
    fn of(&self, f: impl Fn(f64) -> f64) -> (f64, [f64; 2]) {
        let estimate = |rule: &Quadrature| {
            let (deflated, probes) = rule.of(&f);
            let (rest, half) = self.control.estimate(&probes);
            (deflated + rest, half)
        };
        let (value, half) = estimate(&self.rules[0]);
        let changes = self.rules[1..].iter().map(|rule| (estimate(rule).0 - value).abs());
        (value, [half, changes.fold(0.0, f64::max)])
    }

    /// tr A^k, of which the deflated part is known best.
    fn moment(&self, k: i32) -> Estimate {
        let known = self.rules[0].of(|x| x.powi(k)).0;
        let (value, [half, change]) = self.of(|x| x.powi(k));
        Estimate::of_positive(value - known, half + change).map(|rest| known + rest)
    }

    fn estimate(&self, f: impl Fn(f64) -> f64) -> Estimate {
        let (value, [half, change]) = self.of(f);
        Estimate::around(value, half + change)
    }
}

impl SpectrumStatistics {
    pub(crate) fn of(p: &Projection, n: usize, trace: f64, is_done: bool) -> Result<Self> {
        if !is_done {
            let expected = "taken when all columns have been multiplied";
            return Err(SpectralError::InvalidSetting { field: "statistics", expected });
        }
        if !(trace.is_finite() && trace > 0.0) {
            let expected = "positive: of a kernel with a gradient that is not zero";
            return Err(SpectralError::InvalidSetting { field: "trace", expected });
        }
        let count = if p.is_invariant { 1 } else { 3 };
        let sizes = p.ends.iter().skip(1).rev().take(count);
        let rules: Vec<_> = sizes.map(|size| Quadrature::new(p, *size)).collect::<Result<_>>()?;
        let of_probes = rules[0].of(|x| x).1;
        let control = Control { of_probes, mean: trace - p.ritz.iter().sum::<f64>() };
        let (rest, half) = control.estimate(&p.squares);
        let squared = Estimate::of_positive(rest, half).map(|rest| p.deflated_square + rest);
        let traces = Traces { rules, control };
        let entropy =
            traces.estimate(|x| if x > 0.0 { -x / trace * (x / trace).ln() } else { 0.0 });
        Ok(Self {
            trace,
            ritz: p.ritz.clone(),
            residuals: p.residuals.clone(),
            frobenius_squared: squared,
            entropy_rank: entropy.map(f64::exp),
            participation: squared.map(|square| trace * trace / square),
            moments: (3..=MOMENTS).map(|k| traces.moment(k)).collect(),
            density: density(&traces, p.ritz.first().copied().unwrap_or(trace), n),
        })
    }
}

/// Counts of eigenvalues in a decade from above the largest down.
fn density(traces: &Traces, largest: f64, n: usize) -> Vec<DensityPoint> {
    let mut first_unresolved = usize::MAX;
    let mut points: Vec<DensityPoint> = (0..POINTS * DECADES)
        .map(|at| {
            let decade = 0.5 - at as f64 / POINTS as f64;
            let bell = |x: f64| {
                let z = ((x / largest).log10() - decade) / WIDTH;
                (-0.5 * z * z).exp() / (WIDTH * (2.0 * std::f64::consts::PI).sqrt())
            };
            let (value, [half, change]) = traces.of(|x| if x > 0.0 { bell(x) } else { 0.0 });
            let half = half + ALLOWANCE * value.abs();
            if change > half {
                first_unresolved = first_unresolved.min(at);
            }
            let count = Estimate::around(value, half + change);
            let count =
                Estimate { low: count.low.max(0.0), high: count.high.min(n as f64), ..count };
            DensityPoint { eigenvalue: largest * 10.0_f64.powf(decade), count, resolved: false }
        })
        .collect();
    let reach = (2.0 * WIDTH * POINTS as f64).ceil() as usize;
    let resolved = first_unresolved.saturating_sub(reach);
    points.iter_mut().take(resolved).for_each(|point| point.resolved = true);
    points
}
