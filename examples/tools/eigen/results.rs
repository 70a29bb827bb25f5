//! What `eigen` writes: certified pairs come in, arrays, the certificate and the picture of the
//! spectrum go out. Called by its main.

use anyhow::Result;
use entk::{
    data::npy,
    device::files,
    spectral::{CertifiedPairs, Eigenpairs},
};
use entk_examples::{
    KernelChoice, Run,
    plot::{Axis, Figure, Series},
    say,
};
use serde::Serialize;

/// How good the pairs are, and what they cost.
#[derive(Serialize)]
pub struct Certificate {
    /// Rows of the kernel whose pairs they are.
    rows: usize,
    inputs: usize,
    pairs: usize,
    solver: String,
    pub products: usize,
    restarts: usize,
    /// Largest |phi_i . phi_j - \[i = j\]|.
    orthogonality: f64,
    /// Largest residual over the largest eigenvalue.
    pub worst_residual: f64,
    /// ||K phi_j - lambda_j phi_j||, of every pair.
    residuals: Vec<f64>,
    /// Runs of eigenvalues closer than 1e-8 of the largest, first to one past the last, from 0.
    clusters: Vec<[usize; 2]>,
}

/// Writes all results but the record.
pub fn write(
    run: &Run,
    top: &CertifiedPairs,
    kernel: Option<&KernelChoice>,
) -> Result<Certificate> {
    let (pairs, folder) = (&top.pairs, run.folder());
    note_indefinite(run, pairs);
    run.begin_results()?;
    npy::write(folder.file("eigvals.npy"), &[pairs.len()], pairs.values())?;
    npy::write(folder.file("eigvecs.npy"), &[pairs.len(), pairs.dim()], pairs.vectors())?;
    let certificate = certificate(top, kernel);
    let json = serde_json::to_vec_pretty(&certificate)?;
    files::write(&folder.file("certificate.json"), &json)?;
    if pairs.values().iter().any(|value| *value > 0.0) {
        run.save_figure("spectrum", &spectrum(top))?;
    } else {
        say("no eigenvalue is positive: spectrum.svg, on a logarithmic axis, is left out");
    }
    Ok(certificate)
}

/// Says that an eigenvalue is negative beyond round-off.
fn note_indefinite(run: &Run, pairs: &Eigenpairs) {
    let largest = pairs.values().iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let bound = 10.0 * pairs.dim() as f64 * f64::from(f32::EPSILON) * largest;
    if let Some((j, x)) = pairs.values().iter().enumerate().find(|(_, x)| **x < -bound) {
        run.note(format_args!(
            "eigenvalue {} is {x:e}, negative beyond round-off: the matrix is not positive \
             semi-definite, and so no kernel of gradients",
            j + 1
        ));
    }
}

fn certificate(top: &CertifiedPairs, kernel: Option<&KernelChoice>) -> Certificate {
    let largest = top.pairs.values().first().map_or(0.0, |x| x.abs());
    let worst = top.residuals.iter().copied().fold(0.0, f64::max);
    Certificate {
        rows: top.pairs.dim(),
        inputs: top.pairs.dim() / kernel.map_or(1, KernelChoice::rows_per_example),
        pairs: top.pairs.len(),
        solver: format!("{:?}", top.solver),
        products: top.products,
        restarts: top.restarts,
        orthogonality: top.orthogonality,
        worst_residual: if worst == 0.0 { 0.0 } else { worst / largest },
        residuals: top.residuals.clone(),
        clusters: top.clusters.iter().map(|run| [run.start, run.end]).collect(),
    }
}

/// Eigenvalues and residuals against the index, from 1 as in the paper; zeros have no place on a
/// logarithmic axis.
fn spectrum(top: &CertifiedPairs) -> Figure {
    let indexed = |values: &[f64]| -> Vec<(f64, f64)> {
        let points = values.iter().enumerate().map(|(j, x)| (1.0 + j as f64, *x));
        points.filter(|(_, x)| *x > 0.0).collect()
    };
    Figure::new(Axis::log("eigenvalue index"), Axis::log("eigenvalue"))
        .series(Series::new("eigenvalue", indexed(top.pairs.values())).color(0))
        .series(Series::new("residual", indexed(&top.residuals)).color(1))
}
