//! What `gram` writes: kernel, outputs and eigenpairs as .npy files, and the numbers of
//! `record.json`. Called by its main.

use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Tensor};
use entk::{
    data::npy,
    device::files::{self, FileError},
    models::{Model, Params},
    spectral::{Eigenpairs, Entries, KernelRows, OutputBlocks},
};
use entk_cli::{KernelChoice, PaddingName, RunFolder};
use serde::Serialize;

use crate::commands::gram::label_summary::LabelSummary;

/// Files of a run besides record.json.
const FILES: [&str; 5] = ["gram.npy", "outputs.npy", "eigvals.npy", "eigvecs.npy", "cross.npy"];

/// Images per forward pass.
const BATCH: usize = 256;

/// Numbers of record.json.
#[derive(Serialize)]
pub struct GramSummary {
    pub inputs: usize,
    /// Which kernel of how many outputs, by its formula.
    #[serde(flatten)]
    pub kernel: KernelChoice,
    /// Rows of the kernel.
    pub rows: usize,
    pub parameters: usize,
    /// Where convolutions of stride 2 pad, which no shape of a weight shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride_padding: Option<PaddingName>,
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

/// Removes the files of an earlier run, so that all files at the end are of this one.
pub fn clear(folder: &RunFolder) -> Result<()> {
    for path in files::list(folder.path()).map_err(FileError::new("list", folder.path()))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if FILES.contains(&&*name) || is_block(&name) {
            files::remove(&path).map_err(FileError::new("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a file holds the block of a pair of outputs.
fn is_block(name: &str) -> bool {
    let pair = name.strip_prefix("gram_").and_then(|name| name.strip_suffix(".npy"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    pair.and_then(|pair| pair.split_once('_')).is_some_and(|(c, d)| is_number(c) && is_number(d))
}

/// The blocks K_cc' with c <= c' of a full kernel, one file each.
pub fn write_blocks(folder: &RunFolder, full: &dyn KernelRows, outputs: usize) -> Result<()> {
    let blocks = OutputBlocks::new(full, outputs)?;
    let n = blocks.examples();
    for (c, d) in (0..outputs).flat_map(|c| (c..outputs).map(move |d| (c, d))) {
        let block = blocks.cross(c, d)?;
        write_matrix(&folder.file(&format!("gram_{c}_{d}.npy")), [n, n], block.entries())?;
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
