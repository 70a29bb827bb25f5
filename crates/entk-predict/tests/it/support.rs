//! Seeded kernels and targets, slow and obvious oracles, and tolerances.

use std::ops::ControlFlow;

use entk_predict::{CgProgress, Columns};
use entk_spectral::{CrossGram, Gram};
use entk_testing::normals;
use proptest::test_runner::{Config, RngSeed};

/// Error of a backward stable computation with n-term sums, over its condition number.
pub(crate) fn round_off(n: usize) -> f64 {
    100.0 * n as f64 * f64::EPSILON
}

/// Two-sided and false for NaN.
#[track_caller]
pub(crate) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(1.0_f64, |size, x| size.max(x.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        let off = (a - b).abs();
        assert!(off <= tolerance * size, "{at}: {a:e}, expected {b:e}, off {off:e} of {size:e}");
    }
}

/// Fixed seed, nothing written to disk.
pub(crate) fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x7072_6564),
        ..Config::default()
    }
}

/// A joint sample of training and test inputs: J J^T / P + `shift` I for standard normal J, so that
/// the condition number is known to be moderate.
pub(crate) struct Sample {
    pub(crate) n: usize,
    pub(crate) m: usize,
    all: Vec<f64>,
}

impl Sample {
    pub(crate) fn new(seed: u64, n: usize, m: usize, parameters: usize, shift: f64) -> Self {
        let (rows, j) = (n + m, normals((n + m) * parameters, seed));
        let row = |i: usize| &j[i * parameters..(i + 1) * parameters];
        let entry = |a: usize, b: usize| {
            let sum: f64 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
            sum / parameters as f64 + if a == b { shift } else { 0.0 }
        };
        let all = (0..rows * rows).map(|at| entry(at / rows, at % rows)).collect();
        Self { n, m, all }
    }

    fn block(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Vec<f64> {
        let width = self.n + self.m;
        rows.flat_map(|i| cols.clone().map(move |j| (i, j)))
            .map(|(i, j)| self.all[i * width + j])
            .collect()
    }

    pub(crate) fn train(&self) -> Vec<f64> {
        self.block(0..self.n, 0..self.n)
    }

    pub(crate) fn gram(&self) -> Gram {
        Gram::from_lower_f64(self.n, self.train()).unwrap()
    }

    pub(crate) fn gram_f32(&self) -> Gram {
        let entries = self.train().into_iter().map(|x| x as f32).collect();
        Gram::from_lower_f32(self.n, entries).unwrap()
    }

    pub(crate) fn cross(&self) -> CrossGram {
        let entries = self.block(self.n..self.n + self.m, 0..self.n);
        CrossGram::from_f64(self.m, self.n, entries).unwrap()
    }

    pub(crate) fn test(&self) -> Gram {
        let range = self.n..self.n + self.m;
        Gram::from_lower_f64(self.m, self.block(range.clone(), range)).unwrap()
    }
}

pub(crate) fn table(rows: usize, cols: usize, seed: u64) -> Columns {
    Columns::from_rows(rows, cols, &normals(rows * cols, seed)).unwrap()
}

/// A^-1 by Gauss-Jordan elimination with row exchanges, and log |det A|.
pub(crate) fn inverse(n: usize, a: &[f64]) -> (Vec<f64>, f64) {
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let unit = (0..n).map(|j| f64::from(i == j));
            a[i * n..(i + 1) * n].iter().copied().chain(unit).collect()
        })
        .collect();
    let mut log_determinant = 0.0;
    for k in 0..n {
        let best = (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs())).unwrap();
        rows.swap(k, best);
        let pivot = rows[k][k];
        log_determinant += pivot.abs().ln();
        rows[k].iter_mut().for_each(|x| *x /= pivot);
        let leading = rows[k].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k];
            row.iter_mut().zip(&leading).for_each(|(x, y)| *x -= factor * y);
        }
    }
    (rows.iter().flat_map(|row| row[n..].to_vec()).collect(), log_determinant)
}

/// A + shift I.
pub(crate) fn shifted(n: usize, a: &[f64], shift: f64) -> Vec<f64> {
    a.iter()
        .enumerate()
        .map(|(at, x)| x + if at.is_multiple_of(n + 1) { shift } else { 0.0 })
        .collect()
}

/// A B for row-major matrices, A with `inner` columns.
pub(crate) fn times(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let cols = b.len() / inner;
    let entry = |row: &[f64], c: usize| {
        row.iter().zip(b.iter().skip(c).step_by(cols)).map(|(x, y)| x * y).sum()
    };
    a.chunks_exact(inner)
        .flat_map(|row| (0..cols).map(move |c| entry(row, c)).collect::<Vec<f64>>())
        .collect()
}

/// The entries of a kernel row by row, in f64.
pub(crate) fn entries(gram: &Gram) -> Vec<f64> {
    gram.entries().to_f64_vec()
}

/// K (x) I_C with index n C + c, row by row.
pub(crate) fn kron(n: usize, k: &[f64], c: usize) -> Vec<f64> {
    let width = k.len() / n;
    (0..n * c)
        .flat_map(|i| (0..width * c).map(move |j| (i, j)))
        .map(|(i, j)| if i % c == j % c { k[(i / c) * width + j / c] } else { 0.0 })
        .collect()
}

pub(crate) fn go_on(_: &CgProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
