//! The iterative solver: against the dense one, on kernels that break solvers, its limits, and its
//! bits.

use std::time::Duration;

use entk_spectral::{
    CertifiedPairs, EigshConfig, EntryType, Gram, Result, Solver, SpectralError, SymmetricOperator,
    eigh, eigsh,
};
use entk_testing::normals;

use crate::{
    solvers::degenerate::watched,
    support::{assert_canonical, assert_close, gram_f32, gram_f64, outer, random_gram, round_off},
};

const TOLERANCE: f64 = 1e-10;

fn config() -> EigshConfig {
    EigshConfig { solver: Solver::Krylov, block: Some(16), ..EigshConfig::default() }
}

/// Solves and checks everything that is promised for any kernel.
#[track_caller]
fn solved<K: SymmetricOperator>(operator: &K, k: usize, config: &EigshConfig) -> CertifiedPairs {
    let top = eigsh(operator, k, config).unwrap();
    assert_eq!((top.pairs.len(), top.pairs.dim()), (k, operator.n()));
    assert_canonical(&top.pairs);
    let largest = top.pairs.values()[0].abs();
    assert_eq!(top.residuals.len(), k);
    assert!(top.residuals.iter().all(|&r| r <= TOLERANCE * largest), "{:?}", top.residuals);
    assert!(top.orthogonality <= round_off(operator.n()));
    top
}

/// Both solvers on the same kernel: equal values, since those are determined.
#[track_caller]
fn agrees(gram: &Gram, k: usize) -> CertifiedPairs {
    let top = solved(gram, k, &config());
    let all = eigh(gram).unwrap();
    let scale = all.values()[0].abs();
    for (found, expected) in top.pairs.values().iter().zip(all.values()) {
        // A residual r off the orthogonal complement moves a value by at most r.
        assert_close(*found, *expected, TOLERANCE * scale);
    }
    top
}

/// A kernel with the spectrum of a power law, as networks have: Q diag(j^-p) Q^T for reflections Q,
/// which cost n^2 each.
fn power_law(n: usize, power: f64) -> Gram {
    let mut entries = vec![0.0; n * n];
    entries.iter_mut().step_by(n + 1).enumerate().for_each(|(j, x)| {
        *x = (1.0 + j as f64).powf(-power);
    });
    for seed in 0..3 {
        let v = normals(n, seed);
        let square: f64 = v.iter().map(|x| x * x).sum();
        for row in entries.chunks_exact_mut(n) {
            let c = 2.0 / square * row.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>();
            row.iter_mut().zip(&v).for_each(|(x, v)| *x -= c * v);
        }
        let mut sums = vec![0.0; n];
        for (row, v) in entries.chunks_exact(n).zip(&v) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s += v * x);
        }
        for (row, v) in entries.chunks_exact_mut(n).zip(&v) {
            row.iter_mut().zip(&sums).for_each(|(x, s)| *x -= 2.0 / square * v * s);
        }
    }
    gram_f64(n, entries)
}

#[test]
fn agrees_with_the_dense_solver_on_power_laws() {
    watched(|| {
        for (n, k, power) in [(300, 20, 1.2), (300, 100, 2.0), (700, 60, 1.5), (700, 1, 0.5)] {
            let top = agrees(&power_law(n, power), k);
            assert_eq!(top.solver, Solver::Krylov);
            for (j, value) in top.pairs.values().iter().enumerate() {
                assert_close(*value, (1.0 + j as f64).powf(-power), round_off(n));
            }
        }
    });
}

#[test]
fn vectors_agree_with_the_dense_solver_where_gaps_allow() {
    watched(|| {
        let gram = power_law(400, 1.5);
        let (top, all) = (solved(&gram, 30, &config()), eigh(&gram).unwrap());
        for (j, (value, phi)) in top.pairs.iter().enumerate() {
            let gap = value - all.values()[j + 1];
            let error: f64 =
                phi.iter().zip(all.vector(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            // Davis and Kahan: sin of the angle <= residual / gap, on either side.
            let bound = 4.0 * (TOLERANCE + round_off(400)) / gap;
            assert!(error <= bound, "pair {j}: {error:e} > {bound:e}");
        }
    });
}

#[test]
fn many_restarts_and_one_long_basis_agree() {
    watched(|| {
        let gram = power_law(500, 0.7);
        let short = EigshConfig { basis: Some(72), ..config() };
        let long = EigshConfig { basis: Some(500), ..config() };
        let (short, long) = (solved(&gram, 40, &short), solved(&gram, 40, &long));
        assert!(short.restarts > 3 && long.restarts == 0, "{} {}", short.restarts, long.restarts);
        for (a, b) in short.pairs.values().iter().zip(long.pairs.values()) {
            assert_close(*a, *b, TOLERANCE);
        }
    });
}

#[test]
fn f32_entries_with_f64_accuracy() {
    watched(|| {
        let gram = gram_f32(200, &outer(200, 50, &normals(200 * 50, 7)));
        let top = agrees(&gram, 45);
        assert_eq!(top.pairs.entry_type(), EntryType::F32);
    });
}

#[test]
fn zero() {
    watched(|| {
        for (n, k) in [(1, 1), (2, 2), (64, 10), (300, 100)] {
            let top = solved(&gram_f64(n, vec![0.0; n * n]), k, &config());
            assert!(top.pairs.values().iter().all(|&x| x == 0.0));
            assert_eq!(top.clusters.len(), usize::from(k > 1));
        }
    });
}

#[test]
fn low_rank_and_duplicates() {
    watched(|| {
        for n in [2, 100, 400] {
            let k = n.min(30);
            let v: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
            agrees(&gram_f64(n, outer(n, 1, &v)), k);
            agrees(&gram_f64(n, vec![3.0; n * n]), k);
            agrees(&gram_f32(n, &vec![3.0; n * n]), k);
        }
        let half: Vec<usize> = (0..300).map(|i| i / 2).collect();
        agrees(&random_gram(1, 150, 400).principal(&half).unwrap(), 160);
        let four: Vec<usize> = (0..400).map(|i| i % 4).collect();
        agrees(&random_gram(2, 4, 10).principal(&four).unwrap(), 10);
    });
}

#[test]
fn a_steep_spectrum_whose_tail_is_one_chain_of_near_equal_values() {
    // Neighbours in the tail are closer than a cluster's 1e-8 but none is multiple.
    let gram = power_law(600, 4.0);
    let top = solved(&gram, 120, &config());
    assert!(top.clusters.iter().any(|chain| chain.len() > 16), "{:?}", top.clusters);
    // Far below the limit of 50 products a pair.
    assert!(top.products < 20 * 120, "{}", top.products);
}

#[test]
fn identity_and_multiple_eigenvalues_beyond_the_block() {
    watched(|| {
        for (n, k) in [(1, 1), (2, 1), (100, 100), (400, 60)] {
            let mut entries = vec![0.0; n * n];
            entries.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
            let top = agrees(&gram_f64(n, entries), k);
            assert_eq!(
                (top.clusters.len(), top.clusters.iter().map(|run| run.len()).sum::<usize>()),
                (usize::from(k > 1), if k > 1 { k } else { 0 })
            );
        }
        // 2 with multiplicity 50, far more than the 16 columns of a block.
        let mut entries = vec![0.0; 300 * 300];
        entries
            .iter_mut()
            .step_by(301)
            .enumerate()
            .for_each(|(j, x)| *x = if j % 6 == 0 { 2.0 } else { 1.0 });
        let top = agrees(&gram_f64(300, entries), 40);
        assert_eq!(top.clusters, std::slice::from_ref(&(0..40)));
    });
}

#[test]
fn one_two_and_all() {
    watched(|| {
        assert_eq!(solved(&gram_f64(1, vec![7.0]), 1, &config()).pairs.values(), [7.0]);
        assert_eq!(solved(&gram_f64(1, vec![-7.0]), 1, &config()).pairs.values(), [-7.0]);
        agrees(&gram_f64(2, vec![2.0, 0.0, 1.0, 2.0]), 2);
        agrees(&random_gram(3, 90, 200), 90);
        agrees(&random_gram(3, 90, 200), 89);
    });
}

#[test]
fn the_largest_by_value_of_an_indefinite_matrix() {
    watched(|| {
        let mut entries = vec![0.0; 200 * 200];
        entries.iter_mut().step_by(201).enumerate().for_each(|(j, x)| *x = j as f64 - 150.0);
        let top = eigsh(&gram_f64(200, entries), 3, &config()).unwrap();
        for (found, expected) in top.pairs.values().iter().zip([49.0, 48.0, 47.0]) {
            assert_close(*found, expected, TOLERANCE * 150.0);
        }
    });
}

#[test]
fn magnitudes_over_the_whole_range() {
    watched(|| {
        let entries = random_gram(3, 60, 80).entries().to_f64_vec();
        let reference = eigh(&gram_f64(60, entries.clone())).unwrap();
        for scale in [1e300, 1e-300] {
            let gram = gram_f64(60, entries.iter().map(|x| x * scale).collect());
            let top = solved(&gram, 5, &config());
            for (found, expected) in top.pairs.values().iter().zip(reference.values()) {
                assert_close(found / scale, *expected, TOLERANCE * reference.values()[0]);
            }
        }
        let diagonal = gram_f64(3, vec![1e-300, 0.0, 0.0, 0.0, 1e300, 0.0, 0.0, 0.0, 1.0]);
        solved(&diagonal, 3, &config());
        let beyond = eigsh(&gram_f64(4, vec![1.5e308; 16]), 1, &config());
        assert!(
            matches!(
                beyond,
                Err(SpectralError::NonFiniteImage { .. } | SpectralError::Overflow { .. })
            ),
            "{beyond:?}"
        );
    });
}

/// An operator whose products go wrong after some time.
struct Faulty {
    good: Gram,
    value: f64,
}

impl SymmetricOperator for Faulty {
    fn n(&self) -> usize {
        self.good.n()
    }

    fn entry_type(&self) -> EntryType {
        EntryType::F64
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        self.good.apply(columns, images)?;
        images[5] = self.value;
        Ok(())
    }
}

#[test]
fn operators_that_return_nan_or_are_not_symmetric() {
    watched(|| {
        for value in [f64::NAN, f64::INFINITY] {
            let faulty = Faulty { good: random_gram(4, 80, 20), value };
            let refused = eigsh(&faulty, 3, &config());
            assert!(matches!(refused, Err(SpectralError::NonFiniteImage { row: 5, .. })));
        }
        // A constant in place of an entry: not linear, so residuals cannot vanish.
        let faulty = Faulty { good: random_gram(4, 80, 20), value: 1e3 };
        let refused = eigsh(&faulty, 3, &config());
        assert!(matches!(refused, Err(SpectralError::NotConverged { .. })), "{refused:?}");
    });
}

#[test]
fn limits_end_in_an_error_with_the_residuals() {
    watched(|| {
        let gram = power_law(400, 0.3);
        let products = EigshConfig { max_products: Some(100), ..config() };
        let time = EigshConfig { max_time: Some(Duration::ZERO), ..config() };
        for limited in [products, time] {
            match eigsh(&gram, 20, &limited) {
                Err(SpectralError::NotConverged { wanted, got, residuals, .. }) => {
                    assert!(wanted == 20 && got < 20 && residuals.len() == 20);
                    assert!(residuals.iter().filter(|&&r| r > TOLERANCE).count() > 0);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn bad_settings_are_refused() {
    let gram = random_gram(5, 30, 40);
    for k in [0, 31, usize::MAX] {
        let refused = eigsh(&gram, k, &EigshConfig::default());
        assert_eq!(refused, Err(SpectralError::InvalidK { k, available: 30 }));
    }
    let refused = |config: EigshConfig| match eigsh(&gram, 3, &config) {
        Err(SpectralError::InvalidSetting { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    for tolerance in [0.0, -1.0, f64::NAN, 1e-14, 1.0] {
        assert_eq!(refused(EigshConfig { tolerance, ..config() }), "tolerance");
    }
    assert_eq!(refused(EigshConfig { block: Some(0), ..config() }), "block");
    assert_eq!(refused(EigshConfig { basis: Some(20), ..config() }), "basis");
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let gram = gram_f32(700, &power_law(700, 1.3).entries().to_f64_vec());
    let with = |threads: usize, solver: Solver| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| eigsh(&gram, 150, &EigshConfig { solver, ..config() }).unwrap())
    };
    for solver in [Solver::Krylov, Solver::Dense] {
        let one = with(1, solver);
        assert!([2, 3, 4].into_iter().all(|threads| with(threads, solver) == one));
    }
    let seeds = [0, 1].map(|seed| eigsh(&gram, 5, &EigshConfig { seed, ..config() }).unwrap());
    assert_ne!(seeds[0].pairs.vectors(), seeds[1].pairs.vectors(), "another start, other bits");
}

#[test]
fn small_kernels_and_large_shares_go_to_the_dense_solver() {
    let auto = EigshConfig::default();
    assert_eq!(eigsh(&random_gram(6, 40, 50), 3, &auto).unwrap().solver, Solver::Dense);
    assert_eq!(eigsh(&power_law(600, 1.0), 300, &auto).unwrap().solver, Solver::Dense);
    assert_eq!(eigsh(&power_law(600, 1.0), 10, &auto).unwrap().solver, Solver::Krylov);
    // An operator without entries is multiplied with the unit vectors.
    let hidden = Hidden(random_gram(4, 80, 20));
    let dense = EigshConfig { solver: Solver::Dense, ..auto };
    let (by_products, by_entries) = (eigsh(&hidden, 3, &dense), eigsh(&hidden.0, 3, &dense));
    for (a, b) in by_products.unwrap().pairs.values().iter().zip(by_entries.unwrap().pairs.values())
    {
        assert_close(*a, *b, round_off(80) * b);
    }
}

/// A Gram that is known by its products only.
struct Hidden(Gram);

impl SymmetricOperator for Hidden {
    fn n(&self) -> usize {
        self.0.n()
    }

    fn entry_type(&self) -> EntryType {
        self.0.entry_type()
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        self.0.apply(columns, images)
    }
}
