//! Solutions of (K + ridge) x = y: by Cholesky, by eigenpairs, by conjugate gradients and by a
//! dense inverse, which have to agree, and what is refused.

use std::ops::ControlFlow;

use entk_predict::{
    CgConfig, Cholesky, CholeskyConfig, Columns, PredictError, RidgePath, SpectralPreconditioner,
    conjugate_gradients, predict, predict_all,
};
use entk_spectral::{Gram, SpectralError, SymmetricOperator, eigh};
use proptest::prelude::*;

use crate::support::{
    Sample, assert_close, config, entries, go_on, inverse, kron, round_off, shifted, table, times,
};

/// Relative residual that conjugate gradients are asked for.
const CG: CgConfig = CgConfig { tolerance: 1e-13, max_iterations: 200 };

fn cholesky(gram: &Gram, ridge: f64) -> Cholesky<'_> {
    Cholesky::new(gram, ridge, CholeskyConfig::default()).unwrap()
}

/// ||(K + ridge) x - y|| / ||y|| of one column, entry by entry.
fn residual(k: &[f64], ridge: f64, x: &[f64], y: &[f64]) -> f64 {
    let (mut rest, mut size) = (0.0, 0.0);
    for (i, (row, y)) in k.chunks_exact(x.len()).zip(y).enumerate() {
        let sum: f64 = row.iter().zip(x).map(|(k, x)| k * x).sum();
        rest += (sum + ridge * x[i] - y).powi(2);
        size += y * y;
    }
    (rest / size).sqrt()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn all_solvers_agree_with_the_dense_inverse(
        seed in 0_u64..1000, n in 1_usize..40, cols in 1_usize..4, ridge in 0.1_f64..2.0,
        single in any::<bool>(),
    ) {
        let sample = Sample::new(seed, n, 3, 2 * n, 0.1);
        let gram = if single { sample.gram_f32() } else { sample.gram() };
        let y = table(n, cols, seed + 1);
        let (inverse, _) = inverse(n, &shifted(n, &entries(&gram), ridge));
        let expected = times(&inverse, &y.to_rows(), n);
        // Eigenvalues from 0.2 to about 10.
        let tolerance = 100.0 * round_off(n);

        let solution = cholesky(&gram, ridge).solve(&y).unwrap();
        assert_close(&solution.coefficients.to_rows(), &expected, tolerance);
        for (c, reported) in solution.residuals.iter().enumerate() {
            let x = solution.coefficients.column(c);
            let measured = residual(&entries(&gram), ridge, x, y.column(c));
            prop_assert!((measured - reported).abs() <= round_off(n), "{measured:e} {reported:e}");
        }
        let pairs = eigh(&gram).unwrap();
        let path = RidgePath::new(&pairs, &y, None).unwrap().coefficients(&[ridge]).unwrap();
        assert_close(&path[0].to_rows(), &expected, tolerance);
        let top = pairs.truncate(n.div_ceil(3)).unwrap();
        for preconditioner in [None, Some(SpectralPreconditioner::new(&top, ridge).unwrap())] {
            let preconditioner = preconditioner.as_ref();
            let cg = conjugate_gradients(&gram, ridge, &y, preconditioner, &CG, &mut go_on);
            let cg = cg.unwrap();
            assert_close(&cg.coefficients.to_rows(), &expected, tolerance);
            prop_assert!(cg.residuals.iter().all(|&r| r <= CG.tolerance));
            prop_assert_eq!(cg.history.len(), cg.iterations);
        }
    }

    #[test]
    fn many_columns_are_one_column_of_the_full_kernel(
        seed in 0_u64..1000, n in 1_usize..15, cols in 1_usize..4, ridge in 0.1_f64..2.0,
    ) {
        let sample = Sample::new(seed, n, 4, 2 * n, 0.1);
        let gram = sample.gram();
        let full = Gram::from_lower_f64(n * cols, kron(n, &entries(&gram), cols)).unwrap();
        let (y, f0, f0_test) = (table(n, cols, 1), table(n, cols, 2), table(4, cols, 3));
        let stack = |t: &Columns| Columns::from_rows(t.rows() * cols, 1, &t.to_rows()).unwrap();
        let each = cholesky(&gram, ridge);
        let alpha = each.solve_from(&y, Some(&f0)).unwrap().coefficients;
        let whole = cholesky(&full, ridge);
        let beta = whole.solve_from(&stack(&y), Some(&stack(&f0))).unwrap().coefficients;
        assert_close(beta.values(), &alpha.to_rows(), 100.0 * round_off(n));

        let cross = kron(4, &sample.cross().entries().to_f64_vec(), cols);
        let cross = entk_spectral::CrossGram::from_f64(4 * cols, n * cols, cross).unwrap();
        let outputs = predict(&sample.cross(), &alpha, Some(&f0_test)).unwrap();
        let others = predict(&cross, &beta, Some(&stack(&f0_test))).unwrap();
        assert_close(others.values(), &outputs.to_rows(), 100.0 * round_off(n));
        let twice = predict_all(&sample.cross(), &[alpha.clone(), alpha.clone()], Some(&f0_test));
        assert_close(twice.unwrap()[1].values(), outputs.values(), round_off(n));

        // With K (x) I_C the other outputs of an example say nothing about one.
        let out = whole.leave_example_out(&beta, cols).unwrap();
        assert_close(out.values(), &each.leave_one_out(&alpha).unwrap().to_rows(), 1e-10);
    }
}

#[test]
fn large_factors_agree_with_conjugate_gradients() {
    let (n, cols) = (700, 3);
    let gram = Sample::new(5, n, 1, 300, 0.0).gram_f32();
    let y = table(n, cols, 6);
    let solution = cholesky(&gram, 0.1).solve(&y).unwrap();
    let cg = conjugate_gradients(&gram, 0.1, &y, None, &CG, &mut go_on).unwrap();
    // Condition about 60.
    assert_close(solution.coefficients.values(), cg.coefficients.values(), 1e-10);
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let gram = Sample::new(5, 600, 1, 700, 0.1).gram();
    let y = table(600, 3, 6);
    let top = eigh(&gram).unwrap().truncate(40).unwrap();
    let solutions = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let factor = cholesky(&gram, 0.1);
            let alpha = factor.solve(&y).unwrap().coefficients;
            let left_out = factor.leave_one_out(&alpha).unwrap();
            let p = SpectralPreconditioner::new(&top, 0.1).unwrap();
            let cg = conjugate_gradients(&gram, 0.1, &y, Some(&p), &CG, &mut go_on).unwrap();
            (alpha, left_out, cg)
        })
    });
    assert!(solutions.iter().all(|s| *s == solutions[0]));
}

#[test]
fn eigenpairs_make_conjugate_gradients_faster() {
    let n = 200;
    let spectrum = |at: usize| {
        if at.is_multiple_of(n + 1) { 1.0 / (1 + at / (n + 1)).pow(2) as f64 } else { 0.0 }
    };
    let gram = Gram::from_lower_f64(n, (0..n * n).map(spectrum).collect()).unwrap();
    let (y, config) = (table(n, 10, 1), CgConfig::default());
    let plain = conjugate_gradients(&gram, 1e-4, &y, None, &config, &mut go_on).unwrap();
    let top = eigh(&gram).unwrap().truncate(50).unwrap();
    let p = SpectralPreconditioner::new(&top, 1e-4).unwrap();
    let fast = conjugate_gradients(&gram, 1e-4, &y, Some(&p), &config, &mut go_on).unwrap();
    // Condition numbers of 1e4 and of 4.
    assert!(3 * fast.iterations < plain.iterations, "{} {}", fast.iterations, plain.iterations);
    assert!(fast.products <= 10 * (fast.iterations + 1) && fast.passes == fast.iterations + 1);
}

#[test]
fn a_singular_kernel_is_refused_with_its_pivot() {
    // The second and fourth inputs are the same.
    let x = [1.0, 2.0, -1.0, 2.0, 0.5_f64];
    let k: Vec<f64> = x.iter().flat_map(|a| x.map(|b| (-(a - b) * (a - b)).exp())).collect();
    let gram = Gram::from_lower_f64(5, k).unwrap();
    let refused = Cholesky::new(&gram, 0.0, CholeskyConfig::default()).unwrap_err();
    match refused {
        PredictError::NotPositiveDefinite { index, pivot, .. } => {
            assert_eq!(index, 3);
            assert!(pivot.abs() <= 1e-15, "{pivot:e}");
        }
        other => panic!("{other}"),
    }
    let indefinite = Gram::from_lower_f64(2, vec![1.0, 0.0, 3.0, 1.0]).unwrap();
    let refused = Cholesky::new(&indefinite, 0.5, CholeskyConfig::default()).unwrap_err();
    let PredictError::NotPositiveDefinite { index: 1, pivot, .. } = refused else {
        panic!("{refused}")
    };
    assert_close(&[pivot], &[1.5 - 9.0 / 1.5], 1e-15);
    assert!(refused.to_string().contains("raise the ridge"));
    let y = table(2, 1, 0);
    let refused = conjugate_gradients(&indefinite, 0.5, &y, None, &CG, &mut go_on).unwrap_err();
    assert!(matches!(refused, PredictError::Indefinite { .. }), "{refused}");
}

#[test]
fn tolerances_are_between_zero_and_one() {
    let gram = Gram::from_lower_f64(1, vec![2.0]).unwrap();
    let of = |tolerance| {
        Cholesky::new(&gram, 0.0, CholeskyConfig { tolerance, ..CholeskyConfig::default() })
    };
    assert!(of(0.5).is_ok());
    for bad in [0.0, -0.5, 1.0, 2.0, f64::NAN] {
        assert!(matches!(of(bad), Err(PredictError::Setting { field: "tolerance", .. })), "{bad}");
    }
}

#[test]
fn a_failed_pivot_of_a_large_kernel_is_that_of_the_elimination() {
    let (n, at) = (300, 270);
    let mut k = Sample::new(9, n, 1, 2 * n, 0.1).train();
    k[at * n + at] = -5.0;
    let gram = Gram::from_lower_f64(n, k.clone()).unwrap();
    let refused = Cholesky::new(&gram, 0.0, CholeskyConfig::default()).unwrap_err();
    let PredictError::NotPositiveDefinite { index, pivot, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(index, at);
    // Its pivot is k_tt - k_t^T K^-1 k_t over the rows before it.
    let before: Vec<f64> = (0..at).flat_map(|i| k[i * n..i * n + at].to_vec()).collect();
    let row = &k[at * n..at * n + at];
    let (inverse, _) = inverse(at, &before);
    let solved = times(&inverse, row, at);
    let expected = -5.0 - row.iter().zip(&solved).map(|(a, b)| a * b).sum::<f64>();
    assert_close(&[pivot], &[expected], 1e-10);
}

/// The Hilbert matrix, with a condition number of 1e16 and more for 12 rows.
fn hilbert(n: usize) -> Gram {
    Gram::from_lower_f64(n, (0..n * n).map(|at| 1.0 / (1 + at / n + at % n) as f64).collect())
        .unwrap()
}

#[test]
fn a_solution_that_is_not_one_is_refused() {
    let gram = hilbert(12);
    let factor = cholesky(&gram, 0.0);
    match factor.solve(&table(12, 2, 3)).unwrap_err() {
        PredictError::Residual { reached, asked, smallest_pivot, largest_pivot, .. } => {
            assert!(reached > asked && asked == 1e-10);
            assert!(smallest_pivot < 1e-13 && largest_pivot == 1.0);
        }
        other => panic!("{other}"),
    }
    // A little ridge makes it solvable, and the certificate says so.
    assert!(cholesky(&gram, 1e-6).solve(&table(12, 2, 3)).unwrap().worst() <= 1e-10);
}

#[test]
fn a_residual_as_large_as_the_tolerance_is_within_it() {
    let (gram, y) = (hilbert(6), table(6, 3, 4));
    let factor = cholesky(&gram, 1e-3);
    assert_eq!(factor.ridge(), 1e-3);
    let solution = factor.solve(&y).unwrap();
    let worst = solution.worst();
    assert!(worst > 0.0 && solution.residuals.iter().all(|r| *r <= worst), "{worst:e}");
    assert!(solution.residuals.contains(&worst));
    let config = CholeskyConfig { tolerance: worst, ..CholeskyConfig::default() };
    let again = Cholesky::new(&gram, 1e-3, config).unwrap().solve(&y).unwrap();
    assert_eq!(again.worst(), worst);
}

#[test]
fn conjugate_gradients_stop_with_what_they_reached() {
    let gram = hilbert(12);
    let y = table(12, 2, 3);
    let few = CgConfig { max_iterations: 3, ..CG };
    match conjugate_gradients(&gram, 1e-8, &y, None, &few, &mut go_on).unwrap_err() {
        PredictError::NotConverged { iterations: 3, reached, .. } => assert!(reached > 1e-13),
        other => panic!("{other}"),
    }
    let mut seen = Vec::new();
    let stop = &mut |p: &entk_predict::CgProgress| {
        seen.push(p.iterations);
        if p.iterations == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = conjugate_gradients(&gram, 1e-3, &y, None, &CG, stop).unwrap_err();
    assert!(matches!(stopped, PredictError::Stopped { iterations: 2, .. }), "{stopped}");
    assert_eq!(seen, [1, 2]);
}

#[test]
fn zero_targets_have_zero_solutions() {
    let gram = hilbert(3);
    let zero = Columns::from_rows(3, 2, &[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
    let cg = conjugate_gradients(&gram, 0.1, &zero, None, &CG, &mut go_on).unwrap();
    let solution = cholesky(&gram, 0.1).solve(&zero).unwrap();
    assert_eq!((cg.residuals[0], solution.residuals[0]), (0.0, 0.0));
    assert_eq!(
        (cg.coefficients.column(0), solution.coefficients.column(0)),
        (&[0.0; 3][..], &[0.0; 3][..])
    );
}

/// A kernel whose products fail, or are not finite.
struct Broken {
    value: Option<f64>,
}

impl SymmetricOperator for Broken {
    fn n(&self) -> usize {
        3
    }
    fn entry_type(&self) -> entk_spectral::EntryType {
        entk_spectral::EntryType::F64
    }
    fn apply(&self, _: &[f64], images: &mut [f64]) -> Result<(), SpectralError> {
        let value = self.value.ok_or(SpectralError::Operator { reason: "gone".into() })?;
        images.fill(value);
        Ok(())
    }
}

#[test]
fn broken_operators_and_settings_are_refused() {
    let y = table(3, 1, 3);
    let solve = |value, ridge, config: &CgConfig| {
        conjugate_gradients(&Broken { value }, ridge, &y, None, config, &mut go_on).unwrap_err()
    };
    assert!(matches!(
        solve(None, 1.0, &CG),
        PredictError::Spectral(SpectralError::Operator { .. })
    ));
    assert!(matches!(solve(Some(f64::NAN), 1.0, &CG), PredictError::Indefinite { .. }));
    assert!(matches!(solve(Some(0.0), f64::NAN, &CG), PredictError::Setting { .. }));
    let loose = CgConfig { tolerance: 0.0, ..CG };
    assert!(matches!(solve(Some(0.0), 1.0, &loose), PredictError::Setting { .. }));

    let gram = hilbert(4);
    for ridge in [-1.0, f64::NAN, f64::INFINITY] {
        let refused = Cholesky::new(&gram, ridge, CholeskyConfig::default()).unwrap_err();
        assert!(matches!(refused, PredictError::Setting { .. }), "{refused}");
    }
    let factor = cholesky(&gram, 1.0);
    assert!(matches!(factor.solve(&y), Err(PredictError::Shape { .. })));
    let offset = table(4, 2, 0);
    assert!(matches!(
        factor.solve_from(&table(4, 1, 0), Some(&offset)),
        Err(PredictError::Shape { .. })
    ));
    assert!(matches!(
        factor.leave_example_out(&table(4, 1, 0), 3),
        Err(PredictError::Setting { .. })
    ));
    let cross = Sample::new(0, 3, 2, 5, 0.0).cross();
    assert!(matches!(predict(&cross, &offset, None), Err(PredictError::Shape { .. })));
    assert!(matches!(predict_all(&cross, &[], None), Err(PredictError::Count { .. })));
}
