//! An entry of the zoo: what was found of a kernel comes in, small files go out, and the other way
//! round. Called by the program's main.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use entk::{
    data::npy,
    device::files,
    gram::store::Identity,
    spectral::{CertifiedPairs, Gram},
};
use entk_cli::write_csv;
use serde::{Deserialize, Serialize};

/// The file of an entry that says all but the arrays.
pub const ENTRY: &str = "entry.json";
const EIGENVALUES: &str = "eigenvalues.csv";
const SAMPLE: &str = "sample.npy";

/// How far an entry of the kernel may be off, of the root of its two on the diagonal: round-off of
/// gradients in f32.
const TOLERANCE: f64 = 1e-5;

/// What is known of a kernel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Flags of `zoo add` that give this kernel.
    pub flags: Vec<String>,
    /// Whether the images are of the embedded slice, so that nobody needs their files.
    pub is_embedded: bool,
    /// An entry of the kernel.
    pub formula: String,
    pub parameters: usize,
    /// Hashes of network, weights and images, and what else the bits depend on.
    pub identity: Identity,
    /// BLAKE3 of the stored kernel.
    pub root: String,
    pub trace: f64,
    /// The largest ||K phi - lambda phi|| of the leading eigenpairs, and the largest product of
    /// two of their vectors: their certificate.
    pub largest_residual: f64,
    pub orthogonality: f64,
    /// y^T K y / N^2 of the class task y, summed over its columns.
    pub alignment: f64,
    /// ||Phi^T y|| / ||y|| over the 50 leading eigenfunctions Phi, and its square.
    pub energy_ratio: f64,
    pub energy_squared: f64,
}

/// A row of the table of eigenvalues.
#[derive(Serialize)]
struct Eigenvalue {
    index: usize,
    eigenvalue: f64,
    residual: f64,
}

/// The first rows and columns of a kernel.
#[derive(Debug)]
pub struct Sample {
    pub n: usize,
    /// Row-major.
    pub entries: Vec<f32>,
}

impl Entry {
    /// Writes the files of an entry, of which the one that says what it is comes last.
    pub fn write(&self, folder: &Path, top: &CertifiedPairs, sample: &Sample) -> Result<()> {
        files::create_folder(folder)?;
        let row = |(at, (value, residual)): (usize, (&f64, &f64))| Eigenvalue {
            index: at + 1,
            eigenvalue: *value,
            residual: *residual,
        };
        let rows = top.pairs.values().iter().zip(&top.residuals).enumerate().map(row);
        write_csv(&folder.join(EIGENVALUES), &rows.collect::<Vec<_>>())?;
        npy::write(folder.join(SAMPLE), &[sample.n, sample.n], &sample.entries)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(files::write(&folder.join(ENTRY), text.as_bytes())?)
    }

    /// Reads an entry and the part of its kernel.
    pub fn read(folder: &Path) -> Result<(Self, Sample)> {
        let path = folder.join(ENTRY);
        let text = files::read_text(&path).with_context(|| path.display().to_string())?;
        let entry = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let array = npy::read(folder.join(SAMPLE))?;
        let n = array.shape().first().copied().unwrap_or(0);
        ensure!(array.shape() == [n, n], "{SAMPLE}: expected a square, found {:?}", array.shape());
        let entries = array.to_f64().into_iter().map(|entry| entry as f32).collect();
        Ok((entry, Sample { n, entries }))
    }
}

impl Sample {
    /// The first `n` rows and columns.
    pub fn of(gram: &Gram, n: usize) -> Self {
        let entry = |at: usize| gram.get(at / n, at % n) as f32;
        Self { n, entries: (0..n * n).map(entry).collect() }
    }

    /// The entry of `gram` that differs most, if round-off does not explain it.
    pub fn difference(&self, gram: &Gram) -> Option<String> {
        let relative = |at: usize| {
            let (i, j) = (at / self.n, at % self.n);
            let scale = (gram.get(i, i) * gram.get(j, j)).sqrt();
            (gram.get(i, j) - f64::from(self.entries[at])).abs() / scale
        };
        let errors = (0..self.n * self.n).map(|at| (relative(at), at));
        // NaN is larger than any number.
        let (error, at) = errors.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let (i, j) = (at / self.n, at % self.n);
        let (was, is) = (self.entries[at], gram.get(i, j));
        (error > TOLERANCE || error.is_nan()).then(|| {
            format!("K({i}, {j}) was {was} and is {is}: off by {error:.1e} of its diagonal")
        })
    }
}
