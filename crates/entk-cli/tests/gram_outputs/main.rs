//! The programs `gram` and `eigen` on networks of several outputs: files and small comparisons that
//! the tests of this folder share.

mod kernels;
mod labels;
mod refusals;

use std::path::{Path, PathBuf};

use anyhow::Result;
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{program_succeeds as succeed, run_program as run};

/// Sums of the same some hundred terms in f64 in another order, relative to the largest entry.
const ORDER: f64 = 1e-13;

/// Inputs and outputs of the networks here.
const N: usize = 5;
const C: usize = 3;

/// A folder with inputs, labels 0, 1, 2, 0, 1 and a place for results.
struct Folder {
    root: tempfile::TempDir,
    inputs: String,
    labels: String,
}

impl Folder {
    fn new() -> Result<Self> {
        let root = tempfile::tempdir()?;
        let path = |name: &str| root.path().join(name).display().to_string();
        let (inputs, labels) = (path("x.npy"), path("y.npy"));
        let values: Vec<f64> = (0..16 * N).map(|i| (i as f64 * 0.7).sin()).collect();
        npy::write(&inputs, &[N, 1, 4, 4], &values)?;
        npy::write(&labels, &[N], &[0_i64, 1, 2, 0, 1])?;
        Ok(Self { root, inputs, labels })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs `gram` of three classes in f64 into a folder named after its flags.
    fn gram(&self, flags: &[&str]) -> Result<(PathBuf, Record)> {
        let out = self.path(&flags.join("_").replace(':', "-"));
        let common = ["--inputs", &self.inputs, "--classes", "3", "--dtype", "f64"];
        succeed("gram", &out, &[&common[..], flags].concat())?;
        Ok((out.clone(), Record::read(&out.join("record.json"))?))
    }
}

fn matrix(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = npy::read(path)?;
    Ok((array.shape().to_vec(), array.to_f64()))
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= ORDER * scale, "{what}, {at}: {a} {b}");
    }
}

/// Block K_cc' of a full kernel.
fn block(full: &[f64], c: usize, d: usize) -> Vec<f64> {
    (0..N * N).map(|at| full[(at / N * C + c) * N * C + at % N * C + d]).collect()
}

fn sum_of(blocks: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    blocks.fold(vec![0.0; N * N], |sum, block| sum.iter().zip(block).map(|(a, b)| a + b).collect())
}
