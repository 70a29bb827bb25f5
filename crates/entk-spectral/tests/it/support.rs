//! Seeded random kernels, slow and obvious oracles, and tolerances.

use entk_spectral::{Eigenpairs, Gram};
use entk_testing::normals;
use proptest::test_runner::{Config, RngSeed};
use rand::{SeedableRng, rngs::ChaCha8Rng};

/// Growth allowed over N eps; LAPACK's own gate is 60, the solver measures near 1.
pub(crate) const GROWTH: f64 = 10.0;

/// Error of a backward stable computation with N-term sums, relative to its scale.
pub(crate) fn round_off(n: usize) -> f64 {
    GROWTH * n as f64 * f64::EPSILON
}

/// Two-sided and false for NaN.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "found {found:e}, expected {expected:e}, off by {:e}, tolerance {tolerance:e}",
        found - expected
    );
}

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Fixed seed, nothing written to disk.
pub(crate) fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x6e74_6b5f),
        ..Config::default()
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// J J^T for an n x p row-major J.
pub(crate) fn outer(n: usize, p: usize, j: &[f64]) -> Vec<f64> {
    let row = |i: usize| &j[i * p..(i + 1) * p];
    (0..n * n).map(|at| dot(row(at / n), row(at % n))).collect()
}

pub(crate) fn gram_f64(n: usize, entries: Vec<f64>) -> Gram {
    Gram::from_lower_f64(n, entries).expect("a valid Gram")
}

pub(crate) fn gram_f32(n: usize, entries: &[f64]) -> Gram {
    Gram::from_lower_f32(n, entries.iter().map(|&x| x as f32).collect()).expect("a valid Gram")
}

/// The Gram of n random inputs with p parameters.
pub(crate) fn random_gram(seed: u64, n: usize, p: usize) -> Gram {
    gram_f64(n, outer(n, p, &normals(n * p, seed)))
}

/// An n x n orthogonal matrix, row by row: Gram-Schmidt, twice.
pub(crate) fn orthogonal(seed: u64, n: usize) -> Vec<f64> {
    let mut q = normals(n * n, seed);
    for i in 0..n {
        let (done, rest) = q.split_at_mut(i * n);
        let row = &mut rest[..n];
        for _ in 0..2 {
            for before in done.chunks_exact(n) {
                let c = dot(before, row);
                row.iter_mut().zip(before).for_each(|(x, b)| *x -= c * b);
            }
        }
        let length = dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    q
}

/// The kernel with the given eigenvalues and the rows of `q` as eigenvectors.
pub(crate) fn with_spectrum(q: &[f64], values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let entry = |i, j| (0..n).map(|k| values[k] * q[k * n + i] * q[k * n + j]).sum();
    (0..n * n).map(|at| entry(at / n, at % n)).collect()
}

pub(crate) fn naive_matvec(gram: &Gram, x: &[f64]) -> Vec<f64> {
    let n = gram.n();
    (0..n).map(|i| (0..n).map(|j| gram.get(i, j) * x[j]).sum()).collect()
}

/// The promises of `Eigenpairs` about order, norm, orthogonality and sign.
#[track_caller]
pub(crate) fn assert_canonical(pairs: &Eigenpairs) {
    let n = pairs.dim();
    assert!(pairs.values().windows(2).all(|w| w[0] >= w[1]), "descending: {:?}", pairs.values());
    for (a, (_, phi)) in pairs.iter().enumerate() {
        for b in 0..=a {
            assert_close(dot(phi, pairs.vector(b)), f64::from(a == b), round_off(n));
        }
        let largest = phi.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        let leader = phi.iter().find(|x| x.abs() >= largest * (1.0 - entk_spectral::SIGN_TIE));
        assert!(leader.is_some_and(|&x| x > 0.0), "sign of vector {a}");
    }
}
