//! Unbiased alignment, comparisons of kernels, effective rank, shares of layers.

use entk_spectral::{
    Gram, SpectralError, centred_kernel_alignment, effective_rank, eigh, layer_shares,
    principal_cosines, unbiased_alignments,
};
use entk_testing::normals;

use crate::support::{
    assert_close, gram_f64, orthogonal, outer, random_gram, round_off, with_spectrum,
};

/// The mean over pairs i != j of the given inputs, term by term.
fn mean_over_pairs(gram: &Gram, f: &[f64], inputs: &[usize]) -> f64 {
    let m = inputs.len() as f64;
    let row = |&i: &usize| {
        inputs.iter().filter(|&&j| j != i).map(|&j| f[i] * gram.get(i, j) * f[j]).sum::<f64>()
    };
    inputs.iter().map(row).sum::<f64>() / (m * (m - 1.0))
}

#[test]
fn the_u_statistic_and_its_jackknife_equal_their_definitions() {
    let (m, blocks) = (53, 7);
    let gram = random_gram(21, m, 12);
    let targets = normals(3 * m, 22);
    let found = unbiased_alignments(&gram, &targets, blocks).unwrap();
    for (found, f) in found.iter().zip(targets.chunks_exact(m)) {
        let all: Vec<usize> = (0..m).collect();
        let value = mean_over_pairs(&gram, f, &all);
        let without: Vec<f64> = (0..blocks)
            .map(|g| {
                let rest: Vec<usize> = (0..m).filter(|i| i % blocks != g).collect();
                mean_over_pairs(&gram, f, &rest)
            })
            .collect();
        let mean = without.iter().sum::<f64>() / blocks as f64;
        let spread: f64 = without.iter().map(|u| (u - mean).powi(2)).sum();
        let error = ((blocks - 1) as f64 / blocks as f64 * spread).sqrt();
        let scale = gram.trace().unwrap() / m as f64;
        assert_close(found.value, value, round_off(m) * scale);
        assert_close(found.error, error, round_off(m) * scale);
    }
}

#[test]
fn the_u_statistic_is_unbiased_and_its_error_honest() {
    // K = X X^T and f = X w for Gaussian rows: the population alignment is ||w||^2.
    let (m, p, repeats) = (200, 6, 200);
    let w = [1.0, -0.5, 0.25, 0.0, 2.0, 0.1];
    let truth: f64 = w.iter().map(|w| w * w).sum();
    let estimates: Vec<_> = (0..repeats)
        .map(|seed| {
            let x = normals(m * p, 1000 + seed);
            let f: Vec<f64> =
                x.chunks_exact(p).map(|x| x.iter().zip(w).map(|(x, w)| x * w).sum()).collect();
            unbiased_alignments(&gram_f64(m, outer(m, p, &x)), &f, 20).unwrap()[0]
        })
        .collect();
    let count = repeats as f64;
    let mean = estimates.iter().map(|e| e.value).sum::<f64>() / count;
    let variance = estimates.iter().map(|e| (e.value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    assert_close(mean, truth, 4.0 * (variance / count).sqrt());
    // The variance over 200 repeats is known to 10 %, that of the jackknife to 2 %.
    let claimed = estimates.iter().map(|e| e.error.powi(2)).sum::<f64>() / count;
    assert_close(claimed / variance, 1.0, 0.5);
}

#[test]
fn blocks_that_cannot_be_left_out_are_refused() {
    let gram = random_gram(23, 9, 5);
    for blocks in [0, 1, 5, usize::MAX] {
        let refused = unbiased_alignments(&gram, &[1.0; 9], blocks);
        assert!(matches!(refused, Err(SpectralError::InvalidSetting { field: "blocks", .. })));
    }
    assert!(unbiased_alignments(&gram, &[1.0; 8], 2).is_err());
}

#[test]
fn centred_alignment_equals_its_definition() {
    let n = 30;
    let (a, b) = (random_gram(24, n, 7), random_gram(25, n, 9));
    let centred = |k: &Gram| -> Vec<f64> {
        let h = |i: usize, j: usize| f64::from(i == j) - 1.0 / n as f64;
        let hk: Vec<f64> =
            (0..n * n).map(|at| (0..n).map(|l| h(at / n, l) * k.get(l, at % n)).sum()).collect();
        (0..n * n).map(|at| (0..n).map(|l| hk[at / n * n + l] * h(l, at % n)).sum()).collect()
    };
    let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (x, y) = (centred(&a), centred(&b));
    let expected = inner(&x, &y) / (inner(&x, &x) * inner(&y, &y)).sqrt();
    assert_close(centred_kernel_alignment(&a, &b).unwrap(), expected, round_off(n));
    assert_close(centred_kernel_alignment(&a, &a).unwrap(), 1.0, round_off(n));
    let constant = gram_f64(n, vec![2.5; n * n]);
    assert_eq!(centred_kernel_alignment(&a, &constant), Err(SpectralError::ConstantGram { n }));
    assert!(centred_kernel_alignment(&a, &random_gram(1, 5, 5)).is_err());
}

#[test]
fn principal_angles_of_a_known_rotation() {
    // b's two leading vectors are a's, each turned towards an unused direction.
    let n = 12;
    let q = orthogonal(26, n);
    let values: Vec<f64> = (0..n).map(|j| (n - j) as f64).collect();
    let mut turned = q.clone();
    for (j, angle) in [(0, 0.3_f64), (1, 1.2)] {
        for i in 0..n {
            let (u, w) = (q[j * n + i], q[(j + 5) * n + i]);
            turned[j * n + i] = angle.cos() * u + angle.sin() * w;
            turned[(j + 5) * n + i] = angle.cos() * w - angle.sin() * u;
        }
    }
    let pairs = |q: &[f64]| eigh(&gram_f64(n, with_spectrum(q, &values))).unwrap();
    let (a, b) = (pairs(&q), pairs(&turned));
    let cosines = principal_cosines(&a, &b, 2).unwrap();
    assert_close(cosines[0], 0.3_f64.cos(), round_off(n) * n as f64);
    assert_close(cosines[1], 1.2_f64.cos(), round_off(n) * n as f64);
    let same = principal_cosines(&a, &b, n).unwrap();
    assert!(same.iter().all(|c| (c - 1.0).abs() <= round_off(n)));
    assert!(principal_cosines(&a, &b, n + 1).is_err());
}

#[test]
fn effective_rank_of_flat_and_single_spectra() {
    let n = 8;
    let of = |values: &[f64]| {
        effective_rank(&eigh(&gram_f64(n, with_spectrum(&orthogonal(27, n), values))).unwrap())
    };
    let flat = of(&[2.0; 8]).unwrap();
    assert_close(flat.entropy, 8.0, 8.0 * round_off(n));
    assert_close(flat.participation, 8.0, 8.0 * round_off(n));
    let single = of(&[2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    // p ln p of round-off p.
    assert_close(single.entropy, 1.0, round_off(n) * 40.0);
    assert_close(single.participation, 1.0, round_off(n));
    let half = of(&[3.0, 3.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    assert_close(half.participation, 4.0, 4.0 * round_off(n));
    assert!(matches!(of(&[0.0; 8]), Err(SpectralError::ZeroGram { n: found, .. }) if found == n));
}

#[test]
fn shares_of_layers_add_up() {
    let layers = [random_gram(28, 20, 3), random_gram(29, 20, 30), random_gram(30, 20, 1)];
    let y = normals(20, 31);
    let shares = layer_shares(&layers, &y).unwrap();
    assert_close(shares.iter().sum(), 1.0, round_off(3));
    let form = |k: &Gram| k.matvec(&y).unwrap().iter().zip(&y).map(|(a, b)| a * b).sum::<f64>();
    assert_close(shares[0] / shares[1], form(&layers[0]) / form(&layers[1]), round_off(20));
    assert!(matches!(layer_shares(&[], &y), Err(SpectralError::Empty { .. })));
    assert!(layer_shares(&layers, &y[1..]).is_err());
}
