//! What `gram` writes: kernel, outputs and eigenpairs as .npy files, and the numbers of
//! `record.json`. Called by its main.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use entk::{
    data::npy,
    linearize::Jacobian,
    models::{Model, Params},
    spectral::{Eigenpairs, Entries, energy_concentration},
};
use entk_examples::RunFolder;
use serde::Serialize;

/// Files of a run besides record.json.
const FILES: [&str; 5] = ["gram.npy", "outputs.npy", "eigvals.npy", "eigvecs.npy", "cross.npy"];

/// Images per forward pass.
const BATCH: usize = 256;

/// Numbers of record.json.
#[derive(Serialize)]
pub struct GramSummary {
    pub inputs: usize,
    pub parameters: usize,
    /// Where convolutions of stride 2 pad, which no shape of a weight shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride_padding: Option<&'static str>,
    /// Sum of the eigenvalues.
    pub trace: f64,
    /// Time of the assembly alone.
    pub kernel_s: f64,
    pub cpu_s: Option<f64>,
    /// Operations of sweeps and contraction, 1e9 a second of kernel_s; none where tiles were kept.
    pub gflops: Option<f64>,
    /// The rate of a large matrix product on this machine, with --rate.
    pub product_gflops: Option<f64>,
    /// Memory of the process when the Gram was there.
    pub peak_rss_mb: Option<f64>,
    /// The memory that the plan expected, or that reading the inputs took if that is more.
    pub planned_mb: f64,
    /// Tiles of the store that an earlier run had computed.
    pub kept_tiles: Option<usize>,
    /// Errors of --check entries relative to sqrt(K_ii K_jj).
    pub largest_error: f64,
    pub rms_error: f64,
    pub largest_eigenvalue: Option<f64>,
    pub smallest_eigenvalue: Option<f64>,
    pub labels: Option<LabelSummary>,
}

/// What the kernel says about the labels y in {-1, +1}.
#[derive(Serialize)]
pub struct LabelSummary {
    /// Labels +1.
    pub positive: usize,
    /// Labels -1.
    pub negative: usize,
    /// y^T K y / N^2, the paper's text.
    pub alignment: f64,
    /// y^T K y / ||y||^2, the paper's figures.
    pub rayleigh_alignment: f64,
    /// Number K of leading eigenvectors of the two energies.
    pub top: Option<usize>,
    /// ||Phi y|| / ||y||, the paper's Table 1.
    pub energy_ratio: Option<f64>,
    /// ||Phi y||^2 / ||y||^2.
    pub energy_squared: Option<f64>,
    /// The alignment parameter by parameter, y^T K_l y / N^2.
    pub layers: BTreeMap<String, f64>,
}

impl LabelSummary {
    /// Alignments come from the Jacobian and need no Gram; energies need `pairs`.
    pub fn new(
        jacobian: &Jacobian<'_>,
        pairs: Option<&Eigenpairs>,
        y: &[f64],
        top: usize,
    ) -> Result<Self> {
        let positive = y.iter().filter(|&&y| y > 0.0).count();
        let energy = pairs.map(|pairs| energy_concentration(pairs, y, top)).transpose()?;
        let layers = layer_alignments(jacobian, y)?;
        let alignment: f64 = layers.values().sum();
        let squares: f64 = y.iter().map(|y| y * y).sum();
        Ok(Self {
            layers,
            positive,
            negative: y.len() - positive,
            alignment,
            rayleigh_alignment: alignment * y.len().pow(2) as f64 / squares,
            top: energy.map(|_| top),
            energy_ratio: energy.map(|energy| energy.ratio),
            energy_squared: energy.map(|energy| energy.squared),
        })
    }
}

/// y^T K_l y / N^2 of each parameter l with the trace over outputs: the sum over outputs c of the
/// alignments of the target that is y at output c and 0 at the others.
fn layer_alignments(jacobian: &Jacobian<'_>, y: &[f64]) -> Result<BTreeMap<String, f64>> {
    let outputs = jacobian.nrows() / y.len();
    let mut layers = BTreeMap::new();
    for c in 0..outputs {
        let mut target = vec![0.0; jacobian.nrows()];
        target.iter_mut().skip(c).step_by(outputs).zip(y).for_each(|(at, y)| *at = *y);
        for (name, alignment) in jacobian.layer_alignments(&target)? {
            *layers.entry(name).or_default() += alignment;
        }
    }
    Ok(layers)
}

/// Removes the files of an earlier run, so that all files at the end are of this one.
pub fn clear(folder: &RunFolder) -> Result<()> {
    for name in FILES {
        let path = folder.file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A matrix in its own element type.
pub fn write_matrix(path: &Path, shape: [usize; 2], entries: Entries<'_>) -> Result<()> {
    Ok(match entries {
        Entries::F32(values) => npy::write(path, &shape, values),
        Entries::F64(values) => npy::write(path, &shape, values),
    }?)
}

/// eigvals.npy, descending, and eigvecs.npy, one eigenvector a row.
pub fn write_pairs(folder: &RunFolder, pairs: &Eigenpairs) -> Result<()> {
    npy::write(folder.file("eigvals.npy"), &[pairs.len()], pairs.values())?;
    npy::write(folder.file("eigvecs.npy"), &[pairs.len(), pairs.dim()], pairs.vectors())?;
    Ok(())
}

/// The outputs f(theta, x), (N, C).
pub fn write_outputs(path: &Path, model: &dyn Model, params: &Params, x: &Tensor) -> Result<()> {
    let n = x.dim(0)?;
    let batches = (0..n).step_by(BATCH).map(|start| {
        let batch = x.narrow(0, start, BATCH.min(n - start))?;
        Ok(model.forward(params, &batch)?)
    });
    let outputs = Tensor::cat(&batches.collect::<Result<Vec<_>>>()?, 0)?;
    let (shape, flat) = (outputs.dims(), outputs.flatten_all()?);
    Ok(match outputs.dtype() {
        DType::F64 => npy::write(path, shape, &flat.to_vec1::<f64>()?),
        _ => npy::write(path, shape, &flat.to_vec1::<f32>()?),
    }?)
}
