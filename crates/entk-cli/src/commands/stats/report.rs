//! What `stats` writes: exact sums and estimates come in, rows of the table and the picture go out.
//! Called by the main.

use std::{collections::BTreeMap, ops::Range};

use entk::spectral::{Estimate, SpectrumStatistics};
use entk_cli::plot::{Axis, Baseline, Figure, FigureGrid, Series};
use serde::Serialize;

use crate::commands::stats::{
    sample::SampleReport,
    sums::Exact,
    targets::{StatisticsTarget, TargetSet},
};

/// A statistic: exact where it has no interval.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub statistic: String,
    /// Of which target, layer or eigenvalue.
    pub of: String,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// What is known exactly, where an estimate is checked.
    pub exact: Option<f64>,
}

impl Row {
    fn exact(statistic: &str, of: impl Into<String>, value: f64) -> Self {
        let (statistic, of) = (statistic.to_owned(), of.into());
        Self { statistic, of, value, low: None, high: None, exact: None }
    }

    fn estimate(statistic: &str, of: impl Into<String>, found: Estimate) -> Self {
        let (low, high) = (Some(found.low), Some(found.high));
        Self { low, high, ..Self::exact(statistic, of, found.value) }
    }
}

/// Trace, largest and smallest of the diagonal.
pub fn diagonal(exact: &Exact) -> Vec<Row> {
    let d = &exact.diagonal;
    let (low, high) = d.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    vec![
        Row::exact("trace", "", d.iter().sum()),
        Row::exact("diagonal", "smallest", low),
        Row::exact("diagonal", "largest", high),
    ]
}

/// Alignment and energies of a target.
pub struct TargetReport {
    /// y^T K y / ||y||^2.
    pub rayleigh: f64,
    pub rows: Vec<Row>,
}

/// What the gradients G = J^T Y of the columns say of every target y = Y w: y^T K y = w^T (G^T G)
/// w, of all layers and of each, and the energy in leading directions Q with Ritz values theta,
/// the sum of (q^T G w)^2 / theta.
pub fn targets(
    set: &TargetSet,
    exact: &Exact,
    layers: &BTreeMap<String, Vec<Range<usize>>>,
    leading: &[f64],
    ritz: &[f64],
) -> Vec<TargetReport> {
    if set.count == 0 {
        return Vec::new();
    }
    let n = exact.diagonal.len();
    let columns = exact.gradients.len() / set.count;
    let gradients: Vec<&[f64]> = exact.gradients.chunks_exact(columns).collect();
    let of_layer = |(name, ranges): (&String, &Vec<Range<usize>>)| {
        let mut sums = vec![0.0; set.count * set.count];
        for range in ranges {
            let parts: Vec<&[f64]> = gradients.iter().map(|g| &g[range.clone()]).collect();
            sums.iter_mut().zip(products(&parts, &parts)).for_each(|(sum, x)| *sum += x);
        }
        (name.clone(), sums)
    };
    let ys: Vec<&[f64]> = set.columns.chunks_exact(n).collect();
    let directions: Vec<&[f64]> = leading.chunks_exact(columns).collect();
    let forms = Forms {
        layers: layers.iter().map(of_layer).collect(),
        squares: products(&ys, &ys),
        overlaps: products(&directions, &gradients),
        ritz,
        pairs: (n * n) as f64,
    };
    set.targets.iter().map(|target| forms.report(target)).collect()
}

/// Quadratic forms in the weights of a target, as matrices row by row.
struct Forms<'a> {
    /// G^T G of each layer.
    layers: Vec<(String, Vec<f64>)>,
    /// Y^T Y.
    squares: Vec<f64>,
    /// Q^T G.
    overlaps: Vec<f64>,
    ritz: &'a [f64],
    /// N^2.
    pairs: f64,
}

impl Forms<'_> {
    fn report(&self, target: &StatisticsTarget) -> TargetReport {
        let (name, w) = (&target.name, target.weights.as_slice());
        let layers: Vec<f64> = self.layers.iter().map(|(_, matrix)| form(w, matrix)).collect();
        let (total, square) = (layers.iter().sum::<f64>(), form(w, &self.squares));
        let overlaps = self.overlaps.chunks_exact(w.len()).zip(self.ritz);
        let positive = overlaps.filter(|(_, theta)| **theta > 0.0);
        let energy: f64 = positive.map(|(row, theta)| dot(row, w).powi(2) / theta).sum();
        let mut rows = vec![
            Row::exact("alignment", name, total / self.pairs),
            Row::exact("rayleigh alignment", name, total / square),
            Row::exact("energy in leading directions", name, energy / square),
        ];
        rows.extend(self.layers.iter().zip(layers).map(|((layer, _), form)| {
            Row::exact(&format!("alignment of {layer}"), name, form / self.pairs)
        }));
        TargetReport { rayleigh: total / square, rows }
    }
}

/// w^T M w.
fn form(w: &[f64], matrix: &[f64]) -> f64 {
    let rows = matrix.chunks_exact(w.len()).map(|row| dot(row, w));
    rows.zip(w).map(|(x, w)| x * w).sum()
}

/// Inner products of all pairs, row by row.
fn products(a: &[&[f64]], b: &[&[f64]]) -> Vec<f64> {
    a.iter().flat_map(|a| b.iter().map(|b| dot(a, b))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The estimates of the spectrum.
pub fn spectrum(found: &SpectrumStatistics) -> Vec<Row> {
    let mut rows = vec![
        Row::estimate("squared Frobenius norm", "", found.frobenius_squared),
        Row::estimate("effective rank", "", found.entropy_rank),
        Row::estimate("participation ratio", "", found.participation),
    ];
    let moments = found.moments.iter().zip(3..);
    rows.extend(
        moments.map(|(moment, k)| Row::estimate("trace of power", format!("{k}"), *moment)),
    );
    let ritz = found.ritz.iter().zip(&found.residuals).map(|(theta, residual)| {
        let near = Estimate { value: *theta, low: theta - residual, high: theta + residual };
        Row::estimate("an eigenvalue within", "", near)
    });
    rows.extend(ritz);
    let shown = found.density.iter().filter(|point| point.resolved);
    rows.extend(shown.map(|point| {
        Row::estimate("eigenvalues in a decade", format!("{:e}", point.eigenvalue), point.count)
    }));
    rows
}

/// The comparison of a sample's estimates with its eigenvalues, and what it says of all.
pub fn sample(found: &SampleReport) -> Vec<Row> {
    let of = format!("sample of {}", found.examples);
    let checked = |statistic, estimate, exact| Row {
        exact: Some(exact),
        ..Row::estimate(statistic, of.clone(), estimate)
    };
    let SampleReport { estimated, exact_rank, .. } = found;
    vec![
        Row::estimate("squared Frobenius norm from a sample", "", found.frobenius_squared),
        checked("squared Frobenius norm", estimated.frobenius_squared, found.exact_square),
        checked("effective rank", estimated.entropy_rank, exact_rank.entropy),
        checked("participation ratio", estimated.participation, exact_rank.participation),
    ]
}

/// The density of eigenvalues with its intervals, where it is resolved, and the alignments in
/// descending order; none where there are neither.
pub fn figure(
    found: &SpectrumStatistics,
    targets: &[TargetReport],
    n: usize,
) -> Option<FigureGrid> {
    let shown = found.density.iter().filter(|point| point.resolved && point.count.value > 0.01);
    let (points, band): (Vec<_>, Vec<_>) = shown
        .map(|point| {
            let Estimate { value, low, high } = point.count;
            ((point.eigenvalue, value), (low.max(0.01), high))
        })
        .unzip();
    let mut panels = Vec::new();
    if !points.is_empty() {
        let series = Series::new("with 95 % intervals", points).band(band);
        let axes = (Axis::log("eigenvalue"), Axis::log("eigenvalues in a decade"));
        panels.push(Figure::new(axes.0, axes.1).series(series));
    }
    let mut alignments: Vec<f64> = targets.iter().map(|target| target.rayleigh).collect();
    alignments.sort_unstable_by(|a, b| b.total_cmp(a));
    let ranked: Vec<(f64, f64)> =
        alignments.into_iter().enumerate().map(|(i, a)| (1.0 + i as f64, a)).collect();
    if ranked.iter().any(|(_, a)| *a > 0.0) {
        let mean = found.trace / n as f64;
        let panel = Figure::new(Axis::log("target"), Axis::log("alignment yᵀKy / ‖y‖²"))
            .series(Series::new("targets", ranked).color(1))
            .baseline(Baseline::horizontal("a random target", mean));
        panels.push(panel);
    }
    (!panels.is_empty()).then(|| FigureGrid::row(panels))
}
