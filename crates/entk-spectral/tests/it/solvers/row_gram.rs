//! Leading eigenpairs of A A^T from products with A, against the dense spectrum of the formed Gram.

use entk_spectral::{CrossGram, EigshConfig, Solver, SpectralError, eigh, eigsh_row_gram};
use entk_testing::normals;

use crate::support::{assert_canonical, assert_close, gram_f64, outer};

fn config() -> EigshConfig {
    EigshConfig { solver: Solver::Krylov, block: Some(8), ..EigshConfig::default() }
}

/// A with columns that shrink, so that eigenvalues of A A^T span four decades.
fn graded(m: usize, n: usize) -> Vec<f64> {
    let decay = |j: usize| 10_f64.powf(-2.0 * (j % 12) as f64 / 11.0);
    normals(m * n, 9).iter().enumerate().map(|(at, x)| x * decay(at % n)).collect()
}

#[test]
fn both_sides_give_the_pairs_of_the_formed_gram() {
    for (m, n, k) in [(200, 60, 12), (60, 200, 12), (50, 50, 50), (9, 1, 1)] {
        let entries = graded(m, n);
        let gram = gram_f64(m, outer(m, n, &entries));
        let expected = eigh(&gram).unwrap();
        let a = CrossGram::from_f64(m, n, entries).unwrap();
        let top = eigsh_row_gram(&a, k, &config()).unwrap();
        assert_canonical(&top.pairs);
        let scale = expected.values()[0];
        assert!(top.residuals.iter().all(|r| *r <= 1e-10 * scale), "{m} {n}: {:?}", top.residuals);
        for (found, expected) in top.pairs.values().iter().zip(expected.values()) {
            assert_close(*found, *expected, 1e-10 * scale);
        }
    }
}

#[test]
fn more_pairs_than_the_rank_are_refused() {
    let (left, right) = (normals(30, 54), normals(20, 55));
    let entries = left.iter().flat_map(|x| right.iter().map(move |y| x * y)).collect();
    let a = CrossGram::from_f64(30, 20, entries).unwrap();
    assert_eq!(eigsh_row_gram(&a, 1, &config()).unwrap().pairs.len(), 1);
    let refused = eigsh_row_gram(&a, 2, &config());
    assert_eq!(refused, Err(SpectralError::InvalidK { k: 2, available: 1 }));
    for k in [0, 21] {
        let refused = eigsh_row_gram(&a, k, &config());
        assert!(matches!(refused, Err(SpectralError::InvalidK { .. })));
    }
}
