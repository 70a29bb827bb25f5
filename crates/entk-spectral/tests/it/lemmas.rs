//! Identities of the paper, as properties of random kernels.

use entk_spectral::{
    EntryType, Gram, alignment, eigh, energy_curve, inverse_quadratic, rayleigh_alignment,
};
use entk_testing::normals;
use proptest::prelude::*;

use crate::support::{assert_close, config, dot, gram_f32, gram_f64, outer, round_off};

/// J J^T plus a ridge: positive definite with a known bound on its conditioning.
fn definite(seed: u64, n: usize, p: usize, ridge: f64) -> Gram {
    let mut entries = outer(n, p, &normals(n * p, seed));
    entries.iter_mut().step_by(n + 1).for_each(|x| *x += ridge);
    gram_f64(n, entries)
}

/// The two sides of Lemma 1 as a ratio, (f^T K^-1 f)(f^T K f) / (f^T f)^2, with its round-off: that
/// of the inverse form grows with the condition number.
fn lemma_one(gram: &Gram, f: &[f64]) -> (f64, f64) {
    let (n, inverse) = (gram.n(), inverse_quadratic(&eigh(gram).unwrap(), f).unwrap());
    let form = alignment(gram, f).unwrap() * (n * n) as f64;
    let square = dot(f, f);
    (inverse.value * form / (square * square), round_off(n) * inverse.condition)
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn lemma_one_holds(
        n in 1_usize..=12, p in 1_usize..=20, ridge in 0.01..10.0, seed in any::<u64>(),
    ) {
        let gram = definite(seed, n, p, ridge);
        let f = normals(n, seed ^ 1);
        let (ratio, tolerance) = lemma_one(&gram, &f);
        prop_assert!(ratio >= 1.0 - tolerance, "{ratio}");
        // Kantorovich: the other side is bounded as well.
        let condition = inverse_quadratic(&eigh(&gram).unwrap(), &f).unwrap().condition;
        let bound = (1.0 + condition).powi(2) / (4.0 * condition);
        prop_assert!(ratio <= bound * (1.0 + tolerance), "{ratio} {bound}");
    }

    #[test]
    fn lemma_one_is_an_equality_at_eigenvectors(
        n in 1_usize..=12, p in 1_usize..=20, ridge in 0.01..10.0, scale in 0.1..10.0,
        seed in any::<u64>(),
    ) {
        let gram = definite(seed, n, p, ridge);
        for (_, phi) in eigh(&gram).unwrap().iter() {
            let f: Vec<f64> = phi.iter().map(|x| scale * x).collect();
            let (ratio, tolerance) = lemma_one(&gram, &f);
            assert_close(ratio, 1.0, tolerance);
        }
    }

    #[test]
    fn alignment_is_the_norm_of_the_mean_gradient(
        n in 1_usize..=20, p in 1_usize..=30, seed in any::<u64>(),
    ) {
        let j = normals(n * p, seed);
        let gram = gram_f64(n, outer(n, p, &j));
        let f = normals(n, seed ^ 1);
        let mean =
            |at: usize| (0..n).map(|i| f[i] * j[i * p + at]).sum::<f64>() / n as f64;
        let expected: f64 = (0..p).map(mean).map(|x| x * x).sum();
        // Cancellation in f^T K f is relative to ||f||^2 ||K||.
        let size = dot(&f, &f) * gram.frobenius().unwrap() / (n * n) as f64;
        assert_close(alignment(&gram, &f).unwrap(), expected, round_off(n + p) * size);
    }

    #[test]
    fn a_centred_kernel_is_that_of_the_centred_gradients(
        n in 1_usize..=20, p in 1_usize..=30, seed in any::<u64>(),
    ) {
        // A common gradient of size 10, so that most of the kernel is its mean.
        let mut j: Vec<f64> = normals(n * p, seed).iter().map(|x| 10.0 + x).collect();
        let gram = gram_f64(n, outer(n, p, &j));
        for parameter in 0..p {
            let mean = (0..n).map(|i| j[i * p + parameter]).sum::<f64>() / n as f64;
            (0..n).for_each(|i| j[i * p + parameter] -= mean);
        }
        let (centred, expected) = (gram.centred().unwrap(), outer(n, p, &j));
        let tolerance = round_off(n + p) * gram.max_abs();
        for (at, expected) in expected.iter().enumerate() {
            assert_close(centred.get(at / n, at % n), *expected, tolerance);
        }
        let single = gram_f32(n, &gram.entries().to_f64_vec()).centred().unwrap();
        prop_assert_eq!(single.entry_type(), EntryType::F32);
        let tolerance = 4.0 * f64::from(f32::EPSILON) * gram.max_abs();
        for (at, expected) in expected.iter().enumerate() {
            assert_close(single.get(at / n, at % n), *expected, tolerance);
        }
    }

    #[test]
    fn alignment_lies_between_the_extreme_eigenvalues(
        n in 1_usize..=14, p in 1_usize..=20, seed in any::<u64>(),
    ) {
        let gram = gram_f64(n, outer(n, p, &normals(n * p, seed)));
        let values = eigh(&gram).unwrap().values().to_vec();
        let found = rayleigh_alignment(&gram, &normals(n, seed ^ 1)).unwrap();
        let tolerance = round_off(n) * values[0];
        prop_assert!(found >= values[n - 1] - tolerance && found <= values[0] + tolerance);
    }

    #[test]
    fn energy_grows_from_zero_to_one(n in 1_usize..=14, p in 1_usize..=20, seed in any::<u64>()) {
        let pairs = eigh(&gram_f64(n, outer(n, p, &normals(n * p, seed)))).unwrap();
        let curve = energy_curve(&pairs, &normals(n, seed ^ 1)).unwrap();
        prop_assert!(curve[0].ratio >= 0.0);
        prop_assert!(curve.windows(2).all(|w| w[0].ratio <= w[1].ratio));
        prop_assert!(curve.windows(2).all(|w| w[0].squared <= w[1].squared));
        prop_assert!(curve.iter().all(|e| e.squared <= e.ratio + round_off(n)));
        assert_close(curve[n - 1].ratio, 1.0, round_off(n));
        assert_close(curve[n - 1].squared, 1.0, round_off(n));
    }
}
