//! Eigenvectors beyond the sample they come from.

use entk_spectral::{CrossGram, SpectralError, eigh, extend, nystrom, residual_norms};
use entk_testing::normals;

use crate::support::{assert_canonical, assert_close, outer, random_gram, round_off};

#[test]
fn extension_to_the_training_inputs_gives_the_eigenvectors_back() {
    let gram = random_gram(41, 30, 60);
    let pairs = eigh(&gram).unwrap();
    let all: Vec<usize> = (0..30).collect();
    let back = extend(&pairs, &gram.block(&all, &all).unwrap()).unwrap();
    let condition = pairs.values()[0] / pairs.values()[29];
    for (found, expected) in back.iter().zip(pairs.vectors()) {
        assert_close(*found, *expected, round_off(30) * condition);
    }
}

#[test]
fn extension_to_new_inputs_equals_its_definition() {
    let gram = random_gram(42, 20, 8);
    let (train, test): (Vec<usize>, Vec<usize>) = ((0..14).collect(), (14..20).collect());
    let pairs = eigh(&gram.principal(&train).unwrap()).unwrap();
    let cross = gram.block(&test, &train).unwrap();
    // Rank 8: the other values are round-off and must be refused.
    assert!(matches!(extend(&pairs, &cross), Err(SpectralError::Singular { .. })));
    let pairs = pairs.truncate(5).unwrap();
    let found = extend(&pairs, &cross).unwrap();
    for (j, (value, phi)) in pairs.iter().enumerate() {
        for i in 0..6 {
            let sum: f64 = (0..14).map(|l| gram.get(14 + i, l) * phi[l]).sum();
            assert_close(found[j * 6 + i], sum / value, round_off(14));
        }
    }
    let narrow = gram.block(&test, &train[1..]).unwrap();
    assert!(matches!(extend(&pairs, &narrow), Err(SpectralError::SizeMismatch { .. })));
}

#[test]
fn nystrom_is_exact_for_a_kernel_of_the_landmarks_rank() {
    let (n, p) = (120, 6);
    let gram = random_gram(43, n, p);
    let landmarks: Vec<usize> = (0..n).step_by(10).collect();
    let cross = gram.block(&(0..n).collect::<Vec<_>>(), &landmarks).unwrap();
    let small = gram.principal(&landmarks).unwrap();
    let (pairs, all) = (nystrom(&cross, &small, p).unwrap(), eigh(&gram).unwrap());
    assert_canonical(&pairs);
    // Errors grow by the condition of the landmarks' kernel.
    let small = eigh(&small).unwrap();
    let tolerance = round_off(n) * small.values()[0] / small.values()[p - 1] * all.values()[0];
    for (j, value) in pairs.values().iter().enumerate() {
        assert_close(*value, all.values()[j], tolerance);
    }
    assert!(residual_norms(&gram, &pairs).unwrap().iter().all(|&r| r <= tolerance));
}

#[test]
fn nystrom_approaches_from_below_and_its_vectors_are_orthonormal() {
    let n = 80;
    // Features that decay, so that few landmarks carry most of the kernel.
    let mut j = normals(n * 80, 44);
    for row in j.chunks_exact_mut(80) {
        row.iter_mut().enumerate().for_each(|(c, x)| *x /= 1.0 + c as f64);
    }
    let gram = crate::support::gram_f64(n, outer(n, 80, &j));
    let all = eigh(&gram).unwrap();
    let rows: Vec<usize> = (0..n).collect();
    let mut before = 0.0;
    for s in [5, 20, 40, 80] {
        let cross = gram.block(&rows, &rows[..s]).unwrap();
        let pairs = nystrom(&cross, &gram.principal(&rows[..s]).unwrap(), 5).unwrap();
        assert_canonical(&pairs);
        let total: f64 = pairs.values().iter().sum();
        let bound: f64 = all.values().iter().take(5).sum();
        let slack = 1e-6 * bound;
        assert!(total >= before - slack && total <= bound + slack, "{before} {total} {bound}");
        before = total;
    }
    assert_close(before, all.values().iter().take(5).sum(), 1e-6 * before);
}

#[test]
fn nystrom_refuses_what_does_not_fit() {
    let gram = random_gram(45, 20, 2);
    let landmarks = [0, 5, 9];
    let cross = gram.block(&(0..20).collect::<Vec<_>>(), &landmarks).unwrap();
    let small = gram.principal(&landmarks).unwrap();
    assert_eq!(nystrom(&cross, &small, 3), Err(SpectralError::InvalidK { k: 3, available: 2 }));
    assert!(nystrom(&cross, &gram, 1).is_err());
    let zero = entk_spectral::Gram::from_lower_f64(1, vec![0.0]).unwrap();
    let column = CrossGram::from_f64(4, 1, vec![0.0; 4]).unwrap();
    assert_eq!(nystrom(&column, &zero, 1), Err(SpectralError::InvalidK { k: 1, available: 0 }));
}
