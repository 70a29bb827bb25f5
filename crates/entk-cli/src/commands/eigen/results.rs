//! What `eigen` writes: certified pairs come in, arrays, the certificate and the picture of the
//! spectrum go out. Called by its main, and by the first of several ranks.

use std::ops::Range;

use anyhow::Result;
use entk::{
    data::{DataError, npy},
    device::files,
    gram::Way,
    spectral::CertifiedPairs,
};
use entk_cli::{
    KernelChoice, Run,
    plot::{Axis, Figure, Series},
    say,
};
use serde::Serialize;

/// How good the pairs are, and what they cost.
///
/// All of it is of the matrix that was handed in, as it is stored: of a file of f16 or bf16, whose
/// entries f32 has exactly, it says nothing of what they were rounded from.
#[derive(Serialize)]
pub struct Certificate {
    /// Rows of the kernel whose pairs they are.
    rows: usize,
    inputs: usize,
    pairs: usize,
    solver: String,
    products: usize,
    restarts: usize,
    /// Largest |phi_i . phi_j - \[i = j\]|.
    orthogonality: f64,
    /// Largest residual over the largest eigenvalue.
    worst_residual: f64,
    /// ||K phi_j - lambda_j phi_j||, of every pair.
    residuals: Vec<f64>,
    /// Runs of eigenvalues closer than 1e-8 of the largest, first to one past the last, from 0.
    clusters: Vec<[usize; 2]>,
}

/// Certified pairs but for their vectors.
pub struct SolvedPairs<'a> {
    pub rows: usize,
    pub values: &'a [f64],
    pub residuals: &'a [f64],
    pub orthogonality: f64,
    pub clusters: &'a [Range<usize>],
    pub products: usize,
    pub restarts: usize,
    pub solver: String,
}

impl<'a> From<&'a CertifiedPairs> for SolvedPairs<'a> {
    fn from(top: &'a CertifiedPairs) -> Self {
        Self {
            rows: top.pairs.dim(),
            values: top.pairs.values(),
            residuals: &top.residuals,
            orthogonality: top.orthogonality,
            clusters: &top.clusters,
            products: top.products,
            restarts: top.restarts,
            solver: format!("{:?}", top.solver),
        }
    }
}

/// Takes vectors, one after the other, some at a time.
pub type Vectors<'a> = dyn FnMut(&[f64]) -> Result<(), DataError> + 'a;

/// Writes all results but the record; `vectors` passes all of them in their order.
pub fn write(
    run: &Run,
    top: &SolvedPairs<'_>,
    kernel: Option<&KernelChoice>,
    vectors: impl FnOnce(&mut Vectors<'_>) -> Result<()>,
) -> Result<Certificate> {
    let folder = run.folder();
    note_indefinite(run, top);
    run.begin_results()?;
    let pairs = top.values.len();
    npy::write(folder.file("eigvals.npy"), &[pairs], top.values)?;
    npy::write_with(folder.file("eigvecs.npy"), &[pairs, top.rows], vectors)?;
    let certificate = certificate(top, kernel);
    let json = serde_json::to_vec_pretty(&certificate)?;
    files::write(&folder.file("certificate.json"), &json)?;
    if top.values.iter().any(|value| *value > 0.0) {
        run.save_figure("spectrum", &spectrum(top))?;
    } else {
        say("no eigenvalue is positive: spectrum.svg, on a logarithmic axis, is left out");
    }
    Ok(certificate)
}

/// What the record says of the pairs.
pub fn record(
    values: &[f64],
    certificate: &Certificate,
    kernel: Option<&KernelChoice>,
    way: Way,
) -> serde_json::Value {
    serde_json::json!({
        "kernel": kernel,
        "way": way,
        "largest_eigenvalue": values.first(),
        "smallest_eigenvalue": values.last(),
        "worst_residual": certificate.worst_residual,
        "products": certificate.products,
    })
}

/// Says that an eigenvalue is negative beyond round-off.
fn note_indefinite(run: &Run, top: &SolvedPairs<'_>) {
    let largest = top.values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let bound = 10.0 * top.rows as f64 * f64::from(f32::EPSILON) * largest;
    if let Some((j, x)) = top.values.iter().enumerate().find(|(_, x)| **x < -bound) {
        run.note(format_args!(
            "eigenvalue {} is {x:e}, negative beyond round-off: the matrix is not positive \
             semi-definite, and so no kernel of gradients",
            j + 1
        ));
    }
}

fn certificate(top: &SolvedPairs<'_>, kernel: Option<&KernelChoice>) -> Certificate {
    let largest = top.values.first().map_or(0.0, |x| x.abs());
    let worst = top.residuals.iter().copied().fold(0.0, f64::max);
    Certificate {
        rows: top.rows,
        inputs: top.rows / kernel.map_or(1, KernelChoice::rows_per_example),
        pairs: top.values.len(),
        solver: top.solver.clone(),
        products: top.products,
        restarts: top.restarts,
        orthogonality: top.orthogonality,
        worst_residual: if worst == 0.0 { 0.0 } else { worst / largest },
        residuals: top.residuals.to_vec(),
        clusters: top.clusters.iter().map(|run| [run.start, run.end]).collect(),
    }
}

/// Eigenvalues and residuals against the index, from 1 as in the paper; zeros have no place on a
/// logarithmic axis.
fn spectrum(top: &SolvedPairs<'_>) -> Figure {
    let indexed = |values: &[f64]| -> Vec<(f64, f64)> {
        let points = values.iter().enumerate().map(|(j, x)| (1.0 + j as f64, *x));
        points.filter(|(_, x)| *x > 0.0).collect()
    };
    Figure::new(Axis::log("eigenvalue index"), Axis::log("eigenvalue"))
        .series(Series::new("eigenvalue", indexed(top.values)).color(0))
        .series(Series::new("residual", indexed(top.residuals)).color(1))
}
