use entk_spectral::{
    Eigenpairs, EntryType, Gram, check_psd, eigh, orthogonality_ratio, residual_norms,
    residual_ratio,
};
use proptest::prelude::*;
use rand::seq::SliceRandom;

use crate::support::{
    GROWTH, assert_canonical, assert_close, config, dot, gram_f32, gram_f64, orthogonal, outer,
    random_gram, rng, round_off, with_spectrum,
};

/// One of 200 kernels: mostly small, a few of 600; low rank to full rank; every fifth with a
/// power-law spectrum like that of an NTK; f32 and f64.
fn case(seed: u64) -> Gram {
    let n = if seed % 67 == 66 { 600 } else { 1 + (seed * 37 % 200) as usize };
    let p = 1 + (seed * 13) as usize % (2 * n);
    let entries = if seed.is_multiple_of(5) && n <= 120 {
        let values: Vec<f64> = (1..=n).map(|j| (j as f64).powf(-1.2)).collect();
        with_spectrum(&orthogonal(seed, n), &values)
    } else {
        random_gram(seed, n, p).entries().to_f64_vec()
    };
    if seed.is_multiple_of(3) { gram_f32(n, &entries) } else { gram_f64(n, entries) }
}

#[test]
fn both_lapack_ratios_stay_below_ten_on_200_random_grams() {
    for seed in 0..200 {
        let gram = case(seed);
        let pairs = eigh(&gram).unwrap();
        let (residual, orthogonality) =
            (residual_ratio(&gram, &pairs).unwrap(), orthogonality_ratio(&pairs));
        assert!(
            residual <= 10.0 && orthogonality <= 10.0,
            "{gram:?} {seed}: {residual} {orthogonality}"
        );
        assert!(check_psd(&pairs).is_ok(), "{gram:?} {seed}: {:?}", check_psd(&pairs));
    }
}

#[test]
fn the_ratios_see_a_wrong_answer() {
    let gram = random_gram(1, 20, 30);
    let pairs = eigh(&gram).unwrap();
    let other = eigh(&random_gram(2, 20, 30)).unwrap();
    assert!(residual_ratio(&gram, &other).unwrap() > 1e10);
    let mut vectors = pairs.vectors().to_vec();
    vectors.copy_within(0..20, 20);
    let twice =
        Eigenpairs::from_parts(pairs.values().to_vec(), vectors, 20, gram.entry_type()).unwrap();
    assert!(orthogonality_ratio(&twice) > 1e10);
}

#[test]
fn a_ratio_that_cannot_be_formed_is_not_a_good_one() {
    // 1e308 in units of a kernel of 1e-300 is infinite, and infinity times 0 NaN.
    let unit = vec![1.0, 0.0, 0.0, 1.0];
    let pairs = Eigenpairs::from_parts(vec![1e308, 1e308], unit, 2, EntryType::F64).unwrap();
    let ratio = residual_ratio(&gram_f64(2, vec![1e-300; 4]), &pairs).unwrap();
    assert!(!ratio.is_finite(), "{ratio}");
}

#[test]
fn known_spectra_come_back() {
    for n in [3, 40, 150] {
        let q = orthogonal(n as u64, n);
        let values: Vec<f64> = (0..n).map(|j| 0.9_f64.powi(j as i32)).collect();
        let pairs = eigh(&gram_f64(n, with_spectrum(&q, &values))).unwrap();
        for (j, (value, phi)) in pairs.iter().enumerate() {
            assert_close(value, values[j], round_off(n));
            // A vector is off by at most the error of the matrix over the gap.
            let gap = 0.1 * values[j];
            assert_close(dot(phi, &q[j * n..(j + 1) * n]).abs(), 1.0, round_off(n) / gap);
        }
    }
}

#[test]
fn residual_norms_bound_the_error_of_each_pair() {
    let gram = gram_f32(300, &random_gram(4, 300, 500).entries().to_f64_vec());
    let pairs = eigh(&gram).unwrap();
    let leading = pairs.values()[0];
    let norms = residual_norms(&gram, &pairs).unwrap();
    assert_eq!(norms.len(), 300);
    assert!(norms.iter().all(|&r| r <= round_off(300) * leading));
    let truncated = pairs.truncate(7).unwrap();
    assert_eq!(residual_norms(&gram, &truncated).unwrap().len(), 7);
    // Against another kernel they are the size of the difference, not small.
    let other = residual_norms(&random_gram(5, 300, 500), &truncated).unwrap();
    assert!(other.iter().all(|&r| r > 1e-3 * leading));
}

#[test]
fn a_power_of_two_changes_no_bit_of_the_vectors() {
    let entries = random_gram(6, 150, 40).entries().to_f64_vec();
    let pairs = eigh(&gram_f64(150, entries.clone())).unwrap();
    for exponent in [-900, -1, 1, 900] {
        let factor = 2.0_f64.powi(exponent);
        let scaled = eigh(&gram_f64(150, entries.iter().map(|x| x * factor).collect())).unwrap();
        assert_eq!(scaled.vectors(), pairs.vectors());
        assert!(scaled.values().iter().zip(pairs.values()).all(|(a, b)| *a == b * factor));
    }
}

#[test]
fn repeatable_at_a_fixed_number_of_threads() {
    let gram = random_gram(7, 400, 300);
    let reference = eigh(&gram).unwrap();
    assert!((0..3).all(|_| eigh(&gram).unwrap() == reference));
}

#[test]
fn works_inside_small_pools_and_agrees_between_them() {
    let gram = random_gram(8, 300, 600);
    let solve = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| eigh(&gram)).unwrap()
    };
    let (one, three) = (solve(1), solve(3));
    for (a, b) in one.values().iter().zip(three.values()) {
        assert_close(*a, *b, round_off(300) * one.values()[0]);
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn reconstruction_and_canonical_form(
        n in 1_usize..=14, p in 1_usize..=20, seed in any::<u64>(),
    ) {
        let gram = random_gram(seed, n, p);
        let pairs = eigh(&gram).unwrap();
        assert_canonical(&pairs);
        for i in 0..n {
            for j in 0..n {
                let sum: f64 = pairs.iter().map(|(value, phi)| value * phi[i] * phi[j]).sum();
                assert_close(sum, gram.get(i, j), round_off(n) * pairs.values()[0]);
            }
        }
        let trace = gram.trace().unwrap();
        assert_close(pairs.values().iter().sum(), trace, round_off(n) * trace);
        let square: f64 = pairs.values().iter().map(|x| x * x).sum();
        assert_close(square.sqrt(), gram.frobenius().unwrap(), round_off(n) * trace);
    }

    #[test]
    fn a_permutation_of_the_sample_permutes_the_eigenvectors(
        n in 2_usize..=14, seed in any::<u64>(),
    ) {
        // Eigenvalues 2^-j: gaps of half an eigenvalue, so vectors are determined.
        let values: Vec<f64> = (0..n).map(|j| 0.5_f64.powi(j as i32)).collect();
        let gram = gram_f64(n, with_spectrum(&orthogonal(seed, n), &values));
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut rng(seed));
        let before = eigh(&gram).unwrap();
        let after = eigh(&gram.principal(&order).unwrap()).unwrap();
        for (j, (value, phi)) in after.iter().enumerate() {
            assert_close(value, before.values()[j], round_off(n));
            let moved: Vec<f64> = order.iter().map(|&i| before.vector(j)[i]).collect();
            let tolerance = round_off(n) / (0.5 * values[j]);
            // The sign may differ only where two entries tie for the largest.
            let sign = dot(phi, &moved).signum();
            prop_assert!(sign > 0.0 || tied(&moved));
            for (a, b) in phi.iter().zip(&moved) {
                assert_close(*a, sign * b, tolerance);
            }
        }
    }

    #[test]
    fn ratios_of_stacked_duplicates(
        n in 1_usize..=20, copies in 1_usize..=4, seed in any::<u64>(),
    ) {
        let gram = random_gram(seed, n, 5);
        let indices: Vec<usize> = (0..copies).flat_map(|_| 0..n).collect();
        let repeated = gram.principal(&indices).unwrap();
        let pairs = eigh(&repeated).unwrap();
        prop_assert!(residual_ratio(&repeated, &pairs).unwrap() <= GROWTH);
        prop_assert!(orthogonality_ratio(&pairs) <= GROWTH);
        // Repeating the sample multiplies the spectrum and adds zeros.
        let single = eigh(&gram).unwrap();
        let leading = pairs.values()[0];
        for (j, value) in pairs.values().iter().enumerate() {
            let expected = single.values().get(j).map_or(0.0, |x| x * copies as f64);
            assert_close(*value, expected, round_off(n * copies) * leading);
        }
    }
}

fn tied(v: &[f64]) -> bool {
    let mut sizes: Vec<f64> = v.iter().map(|x| x.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    sizes[1] > sizes[0] * (1.0 - 2.0 * entk_spectral::SIGN_TIE)
}

#[test]
fn the_oracle_for_random_grams_is_what_it_says() {
    assert_eq!(outer(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [14.0, 32.0, 32.0, 77.0]);
}
