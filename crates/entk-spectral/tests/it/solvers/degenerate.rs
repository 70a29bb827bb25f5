//! Kernels on which eigensolvers hang, panic, or answer NaN as success: each gives the right answer
//! or a clear error within ten seconds.

use std::{sync::mpsc, time::Duration};

use entk_spectral::{
    Eigenpairs, EntryType, Gram, SpectralError, alignment, check_psd, eigh, energy_concentration,
    inverse_quadratic, orthogonality_ratio, rayleigh_alignment, residual_ratio,
};
use rand::RngExt;

use crate::support::{
    assert_canonical, assert_close, gram_f32, gram_f64, outer, random_gram, rng, round_off,
};

/// Runs the case on a thread of its own; a hang fails the test.
#[track_caller]
pub(crate) fn watched(case: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        case();
        done.send(()).ok();
    });
    match finished.recv_timeout(Duration::from_secs(10)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after 10 s"),
        _ => worker.join().unwrap(),
    }
}

/// Solves and checks everything that holds for any kernel.
#[track_caller]
fn solved(gram: &Gram) -> Eigenpairs {
    let pairs = eigh(gram).unwrap();
    assert_eq!((pairs.len(), pairs.dim()), (gram.n(), gram.n()));
    assert_canonical(&pairs);
    let (residual, orthogonality) =
        (residual_ratio(gram, &pairs).unwrap(), orthogonality_ratio(&pairs));
    assert!(residual <= 10.0 && orthogonality <= 10.0, "{residual} {orthogonality}");
    pairs
}

/// Solves a positive semi-definite kernel whose eigenvalues are `leading` and zeros after them.
#[track_caller]
fn expect_spectrum(gram: &Gram, leading: &[f64]) {
    let pairs = solved(gram);
    let zeros = std::iter::repeat(&0.0);
    for (found, expected) in pairs.values().iter().zip(leading.iter().chain(zeros)) {
        assert_close(*found, *expected, round_off(gram.n()) * leading[0]);
    }
    assert!(check_psd(&pairs).is_ok());
}

#[test]
fn zero() {
    watched(|| {
        for n in [1, 2, 64, 300] {
            let gram = gram_f64(n, vec![0.0; n * n]);
            let pairs = solved(&gram);
            assert!(pairs.values().iter().all(|&x| x == 0.0));
            assert!((0..n).all(|j| pairs.vector(j)[j] == 1.0));
            assert_eq!(check_psd(&pairs).unwrap().negative, 0);
            let y = vec![1.0; n];
            let zero = Err(SpectralError::ZeroGram { measure: "alignment", n });
            assert_eq!(alignment(&gram, &y), zero);
            assert_eq!(rayleigh_alignment(&gram, &y), zero);
            assert!(matches!(inverse_quadratic(&pairs, &y), Err(SpectralError::Singular { .. })));
        }
    });
}

#[test]
fn rank_one() {
    watched(|| {
        for n in [2, 100, 400] {
            let v: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
            expect_spectrum(&gram_f64(n, outer(n, 1, &v)), &[v.iter().map(|x| x * x).sum()]);
        }
    });
}

#[test]
fn all_duplicates() {
    watched(|| {
        for n in [2, 100, 400] {
            expect_spectrum(&gram_f64(n, vec![3.0; n * n]), &[3.0 * n as f64]);
            expect_spectrum(&gram_f32(n, &vec![3.0; n * n]), &[3.0 * n as f64]);
        }
    });
}

#[test]
fn half_duplicates() {
    watched(|| {
        let half = random_gram(1, 150, 400);
        let indices: Vec<usize> = (0..300).map(|i| i / 2).collect();
        let leading: Vec<f64> = eigh(&half).unwrap().values().iter().map(|x| 2.0 * x).collect();
        let gram = half.principal(&indices).unwrap();
        expect_spectrum(&gram, &leading);
        let refused = inverse_quadratic(&eigh(&gram).unwrap(), &[1.0; 300]);
        assert!(matches!(refused, Err(SpectralError::Singular { .. })));
    });
}

#[test]
fn four_distinct_samples() {
    watched(|| {
        let four = random_gram(2, 4, 10);
        let indices: Vec<usize> = (0..400).map(|i| i % 4).collect();
        let leading: Vec<f64> = eigh(&four).unwrap().values().iter().map(|x| 100.0 * x).collect();
        expect_spectrum(&four.principal(&indices).unwrap(), &leading);
    });
}

#[test]
fn identity() {
    watched(|| {
        for n in [1, 2, 100, 400] {
            let mut entries = vec![0.0; n * n];
            entries.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
            expect_spectrum(&gram_f64(n, entries.clone()), &vec![1.0; n]);
            expect_spectrum(&gram_f32(n, &entries), &vec![1.0; n]);
        }
    });
}

#[test]
fn one_and_two_samples() {
    watched(|| {
        expect_spectrum(&gram_f64(1, vec![7.0]), &[7.0]);
        expect_spectrum(&gram_f64(2, vec![2.0, 0.0, 1.0, 2.0]), &[3.0, 1.0]);
        let negative = solved(&gram_f64(1, vec![-7.0]));
        assert_eq!((negative.values(), negative.vectors()), (&[-7.0][..], &[1.0][..]));
        assert!(check_psd(&negative).is_err());
    });
}

#[test]
fn eigenvalues_over_the_whole_range() {
    watched(|| {
        let diagonal = gram_f64(3, vec![1e-300, 0.0, 0.0, 0.0, 1e300, 0.0, 0.0, 0.0, 1.0]);
        expect_spectrum(&diagonal, &[1e300]);
        // Graded: D K D with D = diag(1e150, 1, 1e-150).
        let graded = gram_f64(3, vec![2e300, 0.0, 0.0, 1e150, 2.0, 0.0, 1.0, 1e-150, 2e-300]);
        expect_spectrum(&graded, &[2e300]);
        let entries = random_gram(3, 60, 80).entries().to_f64_vec();
        let reference = eigh(&gram_f64(60, entries.clone())).unwrap();
        for scale in [1e300, 1e-300] {
            let pairs = solved(&gram_f64(60, entries.iter().map(|x| x * scale).collect()));
            for (found, expected) in pairs.values().iter().zip(reference.values()) {
                assert_close(found / scale, *expected, round_off(60) * reference.values()[0]);
            }
        }
        // Subnormal entries: few digits, but no failure.
        assert!(solved(&gram_f64(2, vec![5e-324; 4])).values()[0] > 0.0);
    });
}

#[test]
fn eigenvalues_beyond_the_range() {
    watched(|| {
        let gram = gram_f64(4, vec![1.5e308; 16]);
        assert_eq!(eigh(&gram), Err(SpectralError::Overflow { quantity: "largest eigenvalue" }));
    });
}

#[test]
fn one_nan_or_infinity_anywhere() {
    watched(|| {
        let mut rng = rng(4);
        let clean = random_gram(5, 64, 10).entries().to_f64_vec();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for _ in 0..200 {
                let row = rng.random_range(0..64);
                let col = rng.random_range(0..=row);
                let mut entries = clean.clone();
                entries[row * 64 + col] = bad;
                let f32s = entries.iter().map(|&x| x as f32).collect();
                for refused in [Gram::from_lower_f64(64, entries), Gram::from_lower_f32(64, f32s)] {
                    assert!(matches!(
                        refused,
                        Err(SpectralError::NonFiniteEntry { row: r, col: c, .. })
                            if (r, c) == (row, col)
                    ));
                }
            }
        }
    });
}

#[test]
fn more_pairs_than_samples() {
    watched(|| {
        let pairs = solved(&random_gram(6, 10, 20));
        let y = [1.0; 10];
        for k in [0, 11, usize::MAX] {
            let expected = SpectralError::InvalidK { k, available: 10 };
            assert_eq!(pairs.clone().truncate(k), Err(expected.clone()));
            assert_eq!(energy_concentration(&pairs, &y, k), Err(expected));
        }
        // K = N is all of it.
        assert_eq!(pairs.clone().truncate(10), Ok(pairs));
    });
}

#[test]
fn round_off_below_zero_is_counted_and_more_is_refused() {
    watched(|| {
        let n = 50;
        for (entry_type, eps) in
            [(EntryType::F32, f64::from(f32::EPSILON)), (EntryType::F64, f64::EPSILON)]
        {
            let mut vectors = vec![0.0; n * n];
            vectors.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
            let with_last = |last: f64| {
                let mut values = vec![2.0; n];
                values[n - 1] = last;
                Eigenpairs::from_parts(values, vectors.clone(), n, entry_type).unwrap()
            };
            let bound = -10.0 * n as f64 * eps * 2.0;
            let report = check_psd(&with_last(0.99 * bound)).unwrap();
            assert_eq!((report.negative, report.bound), (1, bound));
            assert!(matches!(
                check_psd(&with_last(1.01 * bound)),
                Err(SpectralError::NotPositiveSemidefinite { negative: 1, largest: 2.0, .. })
            ));
        }
    });
}
