//! Singular triplets of rectangular operators.

use entk_spectral::{
    CrossGram, EigshConfig, Gram, LinearOperator, SingularTriplets, Solver, SpectralError, eigh,
    svds,
};
use entk_testing::normals;

use crate::{
    solvers::degenerate::watched,
    support::{assert_close, dot, gram_f64, outer, round_off},
};

fn config() -> EigshConfig {
    EigshConfig { solver: Solver::Krylov, block: Some(8), ..EigshConfig::default() }
}

/// Residuals, orthonormality, order and sign.
#[track_caller]
fn check(a: &CrossGram, top: &SingularTriplets) {
    let (m, n) = (a.rows(), a.cols());
    assert!(top.values.windows(2).all(|w| w[0] >= w[1]), "{:?}", top.values);
    assert!(top.residuals.iter().all(|&r| r <= 1e-8 * top.values[0]), "{:?}", top.residuals);
    for (vectors, dim) in [(&top.left, m), (&top.right, n)] {
        for (i, x) in vectors.chunks_exact(dim).enumerate() {
            for (j, y) in vectors.chunks_exact(dim).take(i + 1).enumerate() {
                assert_close(dot(x, y), f64::from(i == j), round_off(m.max(n)));
            }
        }
    }
    for v in top.right.chunks_exact(n) {
        let largest = v.iter().fold(0.0_f64, |a, x| if x.abs() > a.abs() { *x } else { a });
        assert!(largest > 0.0);
    }
}

#[test]
fn tall_wide_and_square_match_the_dense_spectrum() {
    watched(|| {
        for (m, n, k) in [(90, 40, 10), (40, 90, 10), (50, 50, 50), (1, 7, 1), (7, 1, 1)] {
            let entries = normals(m * n, (m * n) as u64);
            let squared: Gram = gram_f64(m, outer(m, n, &entries));
            let expected = eigh(&squared).unwrap();
            let a = CrossGram::from_f64(m, n, entries).unwrap();
            let top = svds(&a, k, &config()).unwrap();
            check(&a, &top);
            let scale = expected.values()[0];
            for (found, expected) in top.values.iter().zip(expected.values()) {
                assert_close(found * found, *expected, 1e-9 * scale);
            }
        }
    });
}

#[test]
fn the_products_of_a_cross_gram_are_adjoint() {
    let (m, n) = (37, 300);
    let a = CrossGram::from_f64(m, n, normals(m * n, 51)).unwrap();
    let (x, y) = (normals(n, 52), normals(m, 53));
    let (mut ax, mut aty) = (vec![0.0; m], vec![0.0; n]);
    a.apply(&x, &mut ax).unwrap();
    a.apply_transposed(&y, &mut aty).unwrap();
    assert_close(dot(&ax, &y), dot(&x, &aty), round_off(m * n));
    assert!(a.apply(&x, &mut aty).is_err() && a.apply_transposed(&x, &mut ax).is_err());
}

#[test]
fn more_triplets_than_the_rank_are_refused() {
    watched(|| {
        let (left, right) = (normals(30, 54), normals(20, 55));
        let entries = left.iter().flat_map(|x| right.iter().map(move |y| x * y)).collect();
        let a = CrossGram::from_f64(30, 20, entries).unwrap();
        check(&a, &svds(&a, 1, &config()).unwrap());
        let refused = svds(&a, 2, &config());
        assert_eq!(refused, Err(SpectralError::InvalidK { k: 2, available: 1 }));
        for k in [0, 21] {
            assert!(matches!(svds(&a, k, &config()), Err(SpectralError::InvalidK { .. })));
        }
        let zero = CrossGram::from_f64(3, 2, vec![0.0; 6]).unwrap();
        assert!(matches!(svds(&zero, 1, &config()), Err(SpectralError::InvalidK { .. })));
    });
}
