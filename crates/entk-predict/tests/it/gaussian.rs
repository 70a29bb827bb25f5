//! Variances: against the inverse of the joint covariance, against each other, and what is refused.

use entk_predict::{
    Cholesky, CholeskyConfig, Columns, Ensemble, PredictError, class_probabilities,
    posterior_covariance, posterior_variance,
};
use entk_spectral::{CrossGram, Gram, eigh};
use proptest::prelude::*;

use crate::support::{Sample, assert_close, config, entries, inverse, shifted, table, times};

fn transposed(rows: usize, a: &[f64]) -> Vec<f64> {
    let cols = a.len() / rows;
    (0..cols * rows).map(|at| a[(at % rows) * cols + at / rows]).collect()
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn the_posterior_is_the_schur_complement(
        seed in 0_u64..1000, n in 1_usize..20, m in 1_usize..8, noise in 0.01_f64..1.0,
    ) {
        let sample = Sample::new(seed, n, m, 2 * (n + m), 0.05);
        let (gram, cross, test) = (sample.gram(), sample.cross(), sample.test());
        let k = cross.entries().to_f64_vec();
        let (inverse, _) = inverse(n, &shifted(n, &entries(&gram), noise));
        let explained = times(&times(&k, &inverse, n), &transposed(m, &k), n);
        let expected: Vec<f64> = entries(&test).iter().zip(explained).map(|(a, b)| a - b).collect();
        let factor = Cholesky::new(&gram, noise, CholeskyConfig::default()).unwrap();
        let covariance = posterior_covariance(&factor, &cross, &test).unwrap();
        assert_close(&entries(&covariance.matrix), &expected, 1e-12);
        let variances = posterior_variance(&factor, &cross, &test.diagonal()).unwrap();
        assert_close(&variances.values, &covariance.variances.values, 1e-13);
        prop_assert_eq!(variances.clipped, 0);
    }

    #[test]
    fn the_ensemble_follows_its_formula(
        seed in 0_u64..1000, n in 1_usize..15, m in 1_usize..6, time in 0.0_f64..50.0,
    ) {
        let (ntk, nngp) = (Sample::new(seed, n, m, 40, 0.1), Sample::new(seed + 1, n, m, 40, 0.1));
        let pairs = eigh(&ntk.gram()).unwrap();
        let b: Vec<f64> = (0..m).flat_map(|i| {
            let row = ntk.cross().row(i).to_f64_vec();
            let part = |j: usize| -> f64 {
                pairs.iter().map(|(value, phi)| {
                    let overlap: f64 = row.iter().zip(phi).map(|(a, b)| a * b).sum();
                    overlap * (1.0 - (-value * time / n as f64).exp()) / value * phi[j]
                }).sum()
            };
            (0..n).map(part).collect::<Vec<_>>()
        }).collect();
        let cross = nngp.cross().entries().to_f64_vec();
        let quadratic = times(&times(&b, &entries(&nngp.gram()), n), &transposed(m, &b), n);
        let mixed = times(&b, &transposed(m, &cross), n);
        let expected: Vec<f64> = (0..m * m).map(|at| {
            let other = mixed[(at % m) * m + at / m];
            entries(&nngp.test())[at] + quadratic[at] - mixed[at] - other
        }).collect();
        let ensemble = Ensemble::new(&pairs, &nngp.gram(), n).unwrap();
        let (theta, prior, test) = (ntk.cross(), nngp.cross(), nngp.test());
        let covariance = &ensemble.covariances(&theta, &prior, &test, &[time]).unwrap()[0];
        assert_close(&entries(&covariance.matrix), &expected, 1e-11);
        let times = [0.0, time];
        let variances = ensemble.variances(&theta, &prior, &test.diagonal(), &times).unwrap();
        assert_close(&variances[1].values, &covariance.variances.values, 1e-12);
        assert_close(&variances[0].values, &test.diagonal(), 1e-15);
    }

    #[test]
    fn probabilities_of_two_classes_are_those_of_their_difference(
        a in -3.0_f64..3.0, b in -3.0_f64..3.0, variance in 0.01_f64..4.0,
    ) {
        let means = Columns::from_rows(1, 2, &[a, b]).unwrap();
        let p = class_probabilities(&means, &[variance]).unwrap();
        let z = (a - b) / (2.0 * variance).sqrt();
        let expected = 0.5 * libm::erfc(-z / 2.0_f64.sqrt());
        assert_close(p.values(), &[expected, 1.0 - expected], 1e-12);
    }
}

#[test]
fn a_trained_ensemble_with_one_kernel_is_the_posterior_without_noise() {
    let sample = Sample::new(3, 12, 5, 60, 0.05);
    let (gram, cross, test) = (sample.gram(), sample.cross(), sample.test());
    let pairs = eigh(&gram).unwrap();
    let ensemble = Ensemble::new(&pairs, &gram, 12).unwrap();
    let trained = &ensemble.covariances(&cross, &cross, &test, &[f64::INFINITY]).unwrap()[0];
    let factor = Cholesky::new(&gram, 0.0, CholeskyConfig::default()).unwrap();
    let posterior = posterior_covariance(&factor, &cross, &test).unwrap();
    assert_close(&entries(&trained.matrix), &entries(&posterior.matrix), 1e-12);
}

#[test]
fn round_off_is_clipped_and_said_and_more_is_refused() {
    // Test inputs that are training inputs have no variance left without noise.
    let sample = Sample::new(3, 40, 1, 80, 0.0);
    let gram = sample.gram();
    let all: Vec<usize> = (0..40).collect();
    let cross = gram.block(&all, &all).unwrap();
    let factor = Cholesky::new(&gram, 0.0, CholeskyConfig::default()).unwrap();
    let variances = posterior_variance(&factor, &cross, &gram.diagonal()).unwrap();
    assert!(variances.values.iter().all(|v| (0.0..1e-12).contains(v)), "{variances:?}");
    assert!(variances.clipped > 0 && variances.most_negative < 0.0, "{variances:?}");
    // A prior that does not belong to the kernel.
    let half: Vec<f64> = gram.diagonal().iter().map(|k| k / 2.0).collect();
    let refused = posterior_variance(&factor, &cross, &half).unwrap_err();
    assert!(matches!(refused, PredictError::NegativeVariance { index: 0, .. }), "{refused}");
    let nan = vec![f64::NAN; 40];
    let refused = posterior_variance(&factor, &cross, &nan).unwrap_err();
    assert!(matches!(refused, PredictError::NegativeVariance { .. }), "{refused}");
}

#[test]
fn many_test_inputs_are_solved_in_stacks() {
    let sample = Sample::new(3, 30, 600, 80, 0.1);
    let gram = sample.gram();
    let factor = Cholesky::new(&gram, 0.1, CholeskyConfig::default()).unwrap();
    let prior = sample.test().diagonal();
    let all = posterior_variance(&factor, &sample.cross(), &prior).unwrap().values;
    for i in [0, 255, 256, 599] {
        let row = CrossGram::from_f64(1, 30, sample.cross().row(i).to_f64_vec()).unwrap();
        let one = posterior_variance(&factor, &row, &prior[i..=i]).unwrap();
        assert_close(&one.values, &all[i..=i], 1e-14);
    }
}

#[test]
fn probabilities_sum_to_one_and_follow_the_means() {
    let means = table(20, 10, 5);
    let p = class_probabilities(&means, &[0.3; 20]).unwrap();
    assert_eq!(p.largest(), means.largest());
    for row in p.to_rows().chunks_exact(10) {
        assert_close(&[row.iter().sum()], &[1.0], 1e-14);
    }
    let even = class_probabilities(&Columns::from_rows(1, 4, &[2.0; 4]).unwrap(), &[1.0]).unwrap();
    assert_close(even.values(), &[0.25; 4], 1e-13);
    let sure = class_probabilities(&Columns::from_rows(1, 3, &[1.0, 0.0, 1.0]).unwrap(), &[0.0]);
    assert_eq!(sure.unwrap().values(), [0.5, 0.0, 0.5]);
    assert!(matches!(class_probabilities(&means, &[1.0]), Err(PredictError::Count { .. })));
    assert!(matches!(class_probabilities(&means, &[-1.0; 20]), Err(PredictError::Setting { .. })));
    let far =
        class_probabilities(&Columns::from_rows(1, 2, &[0.0, 1e4]).unwrap(), &[1e-4]).unwrap();
    assert_eq!(far.values(), [0.0, 1.0]);
}

#[test]
fn kernels_of_other_sizes_are_refused() {
    let sample = Sample::new(3, 4, 2, 8, 0.1);
    let other = Sample::new(3, 5, 2, 8, 0.1);
    let gram = sample.gram();
    let factor = Cholesky::new(&gram, 0.1, CholeskyConfig::default()).unwrap();
    assert!(matches!(
        posterior_variance(&factor, &other.cross(), &[1.0; 2]),
        Err(PredictError::Spectral(_))
    ));
    assert!(matches!(
        posterior_variance(&factor, &sample.cross(), &[1.0; 3]),
        Err(PredictError::Count { .. })
    ));
    assert!(matches!(
        posterior_covariance(
            &factor,
            &sample.cross(),
            &Gram::from_lower_f64(1, vec![1.0]).unwrap()
        ),
        Err(PredictError::Count { .. })
    ));
    let pairs = eigh(&gram).unwrap();
    assert!(matches!(Ensemble::new(&pairs, &other.gram(), 4), Err(PredictError::Spectral(_))));
    let ensemble = Ensemble::new(&pairs, &gram, 4).unwrap();
    let at = |times: &[f64]| ensemble.variances(&sample.cross(), &sample.cross(), &[1.0; 2], times);
    assert!(matches!(at(&[-1.0]), Err(PredictError::Setting { .. })));
}
