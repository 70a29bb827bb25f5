//! Ridges and times from one eigendecomposition: leave-one-out residuals against refits,
//! likelihoods against determinants, gradient flow against small steps and against its limit.

use entk_predict::{
    Cholesky, CholeskyConfig, Columns, Criterion, PredictError, RidgePath, SquaredLossFlow, predict,
};
use entk_spectral::{Gram, eigh};
use proptest::prelude::*;

use crate::support::{
    Sample, assert_close, config, entries, inverse, kron, round_off, shifted, table, times,
};

fn solve(gram: &Gram, ridge: f64, y: &Columns) -> Columns {
    let factor = Cholesky::new(gram, ridge, CholeskyConfig::default()).unwrap();
    factor.solve(y).unwrap().coefficients
}

/// y_i - f(x_i) for f fitted to all others, one refit for each input.
fn refitted(gram: &Gram, ridge: f64, y: &Columns) -> Vec<f64> {
    let n = gram.n();
    let residuals = (0..n).map(|i| {
        let others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        let rows: Vec<f64> = others
            .iter()
            .flat_map(|&j| (0..y.cols()).map(move |c| (j, c)))
            .map(|(j, c)| y.get(j, c))
            .collect();
        let rest = Columns::from_rows(n - 1, y.cols(), &rows).unwrap();
        let alpha = solve(&gram.principal(&others).unwrap(), ridge, &rest);
        let f = predict(&gram.block(&[i], &others).unwrap(), &alpha, None).unwrap();
        (0..y.cols()).map(|c| y.get(i, c) - f.get(0, c)).collect::<Vec<_>>()
    });
    residuals.collect::<Vec<_>>().concat()
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn leave_one_out_residuals_are_those_of_refits(
        seed in 0_u64..1000, n in 2_usize..15, cols in 1_usize..3, ridge in 0.1_f64..2.0,
    ) {
        let gram = Sample::new(seed, n, 1, 2 * n, 0.1).gram();
        let y = table(n, cols, seed);
        let expected = refitted(&gram, ridge, &y);
        let factor = Cholesky::new(&gram, ridge, CholeskyConfig::default()).unwrap();
        let alpha = factor.solve(&y).unwrap().coefficients;
        assert_close(&factor.leave_one_out(&alpha).unwrap().to_rows(), &expected, 1e-11);
        let pairs = eigh(&gram).unwrap();
        let path = RidgePath::new(&pairs, &y, None).unwrap();
        assert_close(&path.leave_one_out(ridge).unwrap().to_rows(), &expected, 1e-11);
        let squares = path.select(&[ridge], Criterion::LeaveOneOut).unwrap().scores[0];
        let mean = expected.iter().map(|e| e * e).sum::<f64>() / (n * cols) as f64;
        assert_close(&[squares], &[mean], 1e-11);
    }

    #[test]
    fn whole_examples_left_out_are_refits_too(seed in 0_u64..1000, n in 2_usize..8) {
        let (outputs, ridge) = (2, 0.3);
        let gram = Sample::new(seed, n * outputs, 1, 30, 0.1).gram();
        let y = table(n * outputs, 1, seed);
        let factor = Cholesky::new(&gram, ridge, CholeskyConfig::default()).unwrap();
        let alpha = factor.solve(&y).unwrap().coefficients;
        let found = factor.leave_example_out(&alpha, outputs).unwrap();
        for i in 0..n {
            let (out, others): (Vec<_>, Vec<_>) = (0..n * outputs).partition(|j| j / outputs == i);
            let rest: Vec<f64> = others.iter().map(|&j| y.get(j, 0)).collect();
            let rest = Columns::from_rows(others.len(), 1, &rest).unwrap();
            let beta = solve(&gram.principal(&others).unwrap(), ridge, &rest);
            let f = predict(&gram.block(&out, &others).unwrap(), &beta, None).unwrap();
            let missed = |(&j, f): (&usize, &f64)| y.get(j, 0) - f;
            let expected: Vec<f64> = out.iter().zip(f.values()).map(missed).collect();
            assert_close(&found.values()[i * outputs..(i + 1) * outputs], &expected, 1e-11);
        }
    }

    #[test]
    fn likelihoods_are_those_of_the_normal_density(
        seed in 0_u64..1000, n in 1_usize..20, cols in 1_usize..3, ridge in 0.1_f64..2.0,
    ) {
        let gram = Sample::new(seed, n, 1, 2 * n, 0.1).gram();
        let y = table(n, cols, seed);
        let (inverse, determinant) = inverse(n, &shifted(n, &entries(&gram), ridge));
        let density = |scale: f64| -> f64 {
            let normal = |c: usize| {
                let alpha = times(&inverse, y.column(c), n);
                let fit: f64 = alpha.iter().zip(y.column(c)).map(|(a, y)| a * y).sum();
                let constant = n as f64 * (2.0 * std::f64::consts::PI * scale).ln();
                -0.5 * (fit / scale + determinant + constant)
            };
            (0..cols).map(normal).sum()
        };
        let factor = Cholesky::new(&gram, ridge, CholeskyConfig::default()).unwrap();
        let alpha = factor.solve(&y).unwrap().coefficients;
        let found = factor.log_marginal_likelihood(&y, &alpha).unwrap();
        assert_close(&[found], &[density(1.0)], 1e-11);
        let pairs = eigh(&gram).unwrap();
        let path = RidgePath::new(&pairs, &y, None).unwrap();
        assert_close(&path.log_marginal_likelihoods(&[ridge]).unwrap(), &[density(1.0)], 1e-11);
        let scaled = path.select(&[ridge], Criterion::ScaledLikelihood).unwrap().scores;
        let amplitude = path.amplitude(ridge).unwrap();
        assert_close(&scaled, &[density(amplitude)], 1e-11);
        let beside = density(1.01 * amplitude).max(density(0.99 * amplitude));
        prop_assert!(density(amplitude) >= beside);
    }

    #[test]
    fn the_limit_of_gradient_flow_is_regression(
        seed in 0_u64..1000, n in 1_usize..30, cols in 1_usize..4,
    ) {
        let sample = Sample::new(seed, n, 3, 2 * n, 0.1);
        let (gram, y, f0, f0_test) =
            (sample.gram(), table(n, cols, 1), table(n, cols, 2), table(3, cols, 3));
        let pairs = eigh(&gram).unwrap();
        let flow = SquaredLossFlow::new(&pairs, &y, Some(&f0), n).unwrap();
        let late = [f64::INFINITY, 1e4 * n as f64];
        let factor = Cholesky::new(&gram, 0.0, CholeskyConfig::default()).unwrap();
        let alpha = factor.solve_from(&y, Some(&f0)).unwrap().coefficients;
        let learned = flow.coefficients(&late).unwrap();
        for (a, outputs) in learned.iter().zip(flow.train_outputs(&late).unwrap()) {
            // Eigenvalues from 0.1 on.
            assert_close(a.values(), alpha.values(), 1000.0 * round_off(n));
            assert_close(outputs.values(), y.values(), 1000.0 * round_off(n));
            let test = predict(&sample.cross(), a, Some(&f0_test)).unwrap();
            let limit = predict(&sample.cross(), &alpha, Some(&f0_test)).unwrap();
            assert_close(test.values(), limit.values(), 1000.0 * round_off(n));
        }
        assert_close(flow.train_outputs(&[0.0]).unwrap()[0].values(), f0.values(), round_off(n));
    }
}

/// Steps of gradient descent in place of the flow: their number, and the error of first order.
const STEPS: usize = 20_000;

#[test]
fn gradient_flow_is_that_of_small_steps() {
    let (n, cols, time) = (8, 2, 3.0);
    let gram = Sample::new(4, n, 1, 6, 0.0).gram();
    let (y, f0) = (table(n, cols, 1), table(n, cols, 2));
    let (step, k) = (time / STEPS as f64, entries(&gram));
    let mut a = vec![0.0; n * cols];
    for _ in 0..STEPS {
        let f = times(&k, &a, n);
        let rest = a.iter_mut().zip(f).zip(y.to_rows()).zip(f0.to_rows());
        rest.for_each(|(((a, f), y), f0)| *a += step / n as f64 * (y - f0 - f));
    }
    let pairs = eigh(&gram).unwrap();
    let flow = SquaredLossFlow::new(&pairs, &y, Some(&f0), n).unwrap();
    let learned = times(&k, &a, n);
    let outputs: Vec<f64> = learned.iter().zip(f0.to_rows()).map(|(f, f0)| f + f0).collect();
    // Half the step times lambda^2 t / n^2, of order one.
    assert_close(&flow.train_outputs(&[time]).unwrap()[0].to_rows(), &outputs, 2.0 * step);
    // The kernel has rank 6: coefficients of the other directions are not learned.
    assert_close(
        &times(&k, &flow.coefficients(&[time]).unwrap()[0].to_rows(), n),
        &learned,
        2.0 * step,
    );
}

/// The differential equation of the coefficients: da/dt = (y - f_0 - K a) / N.
#[test]
fn gradient_flow_solves_its_differential_equation() {
    let (n, cols, h) = (8, 2, 1e-4);
    let gram = Sample::new(4, n, 1, 12, 0.1).gram();
    let (y, f0) = (table(n, cols, 1), table(n, cols, 2));
    let pairs = eigh(&gram).unwrap();
    let flow = SquaredLossFlow::new(&pairs, &y, Some(&f0), n).unwrap();
    for time in [0.1, 1.0, 10.0] {
        let a = flow.coefficients(&[time - h, time + h]).unwrap();
        let f = flow.train_outputs(&[time]).unwrap();
        let difference = a[1].values().iter().zip(a[0].values());
        let slope: Vec<f64> = difference.map(|(b, a)| (b - a) / (2.0 * h)).collect();
        let rest = y.values().iter().zip(f[0].values());
        let expected: Vec<f64> = rest.map(|(y, f)| (y - f) / n as f64).collect();
        // Differences of numbers of size one at a distance of 2e-4.
        assert_close(&slope, &expected, 1e-6);
    }
}

/// Fewer features than inputs: the normal equations hold at infinite time, and the coefficients
/// have no part in the null space.
#[test]
fn a_singular_kernel_flows_to_the_smallest_least_squares_solution() {
    let (n, rank) = (8, 5);
    let gram = Sample::new(4, n, 1, rank, 0.0).gram();
    let y = table(n, 1, 1);
    let pairs = eigh(&gram).unwrap();
    let flow = SquaredLossFlow::new(&pairs, &y, None, n).unwrap();
    let a = flow.coefficients(&[f64::INFINITY]).unwrap();
    let f = flow.train_outputs(&[f64::INFINITY]).unwrap();
    let rest: Vec<f64> = y.values().iter().zip(f[0].values()).map(|(y, f)| y - f).collect();
    let zero = vec![0.0; n];
    assert_close(&gram.matvec(&rest).unwrap(), &zero, 100.0 * round_off(n) * pairs.values()[0]);
    for k in rank..n {
        let overlap: f64 = pairs.vector(k).iter().zip(a[0].values()).map(|(p, a)| p * a).sum();
        assert!(overlap.abs() <= 100.0 * round_off(n), "{overlap}");
    }
}

#[test]
fn a_full_kernel_flows_at_the_time_of_its_examples() {
    let (n, cols) = (6, 3);
    let gram = Sample::new(4, n, 1, 12, 0.1).gram();
    let full = Gram::from_lower_f64(n * cols, kron(n, &entries(&gram), cols)).unwrap();
    let y = table(n, cols, 1);
    let stacked = Columns::from_rows(n * cols, 1, &y.to_rows()).unwrap();
    let (pairs, full) = (eigh(&gram).unwrap(), eigh(&full).unwrap());
    let each = SquaredLossFlow::new(&pairs, &y, None, n).unwrap();
    let whole = SquaredLossFlow::new(&full, &stacked, None, n).unwrap();
    let (a, b) = (each.coefficients(&[2.0]).unwrap(), whole.coefficients(&[2.0]).unwrap());
    assert_close(b[0].values(), &a[0].to_rows(), 100.0 * round_off(n * cols));
}

#[test]
fn ridges_are_chosen_by_each_criterion() {
    let n = 60;
    let gram = Sample::new(8, n, 1, 20, 0.0).gram();
    // Targets of noise 0.5 around a function of the kernel.
    let f = gram.matvec(table(n, 1, 1).values()).unwrap();
    let noise = table(n, 1, 2);
    let y: Vec<f64> = f.iter().zip(noise.values()).map(|(f, e)| f / 8.0 + 0.5 * e).collect();
    let y = Columns::from_rows(n, 1, &y).unwrap();
    let ridges = [1e-6, 1e-4, 0.01, 0.1, 0.3, 1.0, 1e3, 1e6];
    let pairs = eigh(&gram).unwrap();
    let path = RidgePath::new(&pairs, &y, None).unwrap();
    for criterion in [Criterion::Likelihood, Criterion::ScaledLikelihood, Criterion::LeaveOneOut] {
        let selected = path.select(&ridges, criterion).unwrap();
        assert!((0.05..5.0).contains(&selected.ridge), "{criterion:?} {selected:?}");
    }
}

#[test]
fn singular_kernels_have_the_smallest_solution_without_a_ridge() {
    let gram = Gram::from_lower_f64(2, vec![1.0, 0.0, 1.0, 1.0]).unwrap();
    let pairs = eigh(&gram).unwrap();
    let y = Columns::from_rows(2, 1, &[1.0, 3.0]).unwrap();
    // 1e-9 is round-off beside 1e8, and 1e-5 is not.
    for (smallest, is_singular) in [(1e-9, true), (1e-5, false)] {
        let gram = Gram::from_lower_f64(2, vec![1e8, 0.0, 0.0, smallest]).unwrap();
        let pairs = eigh(&gram).unwrap();
        let likelihoods =
            RidgePath::new(&pairs, &y, None).unwrap().log_marginal_likelihoods(&[0.0]);
        let found = matches!(likelihoods, Err(PredictError::Singular { .. }));
        assert_eq!(found, is_singular, "{likelihoods:?}");
    }
    let path = RidgePath::new(&pairs, &y, None).unwrap();
    assert_close(path.coefficients(&[0.0]).unwrap()[0].values(), &[1.0, 1.0], 1e-15);
    let refused = path.log_marginal_likelihoods(&[0.0]).unwrap_err();
    assert!(matches!(refused, PredictError::Singular { .. }), "{refused}");
    assert!(matches!(path.leave_one_out(0.0), Err(PredictError::Singular { .. })));
    assert!(matches!(path.coefficients(&[-1.0]), Err(PredictError::Setting { .. })));
    assert!(matches!(path.select(&[], Criterion::Likelihood), Err(PredictError::Count { .. })));
    assert!(matches!(SquaredLossFlow::new(&pairs, &y, None, 3), Err(PredictError::Setting { .. })));
    let flow = SquaredLossFlow::new(&pairs, &y, None, 2).unwrap();
    for time in [-1.0, f64::NAN] {
        assert!(matches!(flow.coefficients(&[time]), Err(PredictError::Setting { .. })));
    }
    let part = pairs.clone().truncate(1).unwrap();
    assert!(matches!(RidgePath::new(&part, &y, None), Err(PredictError::Spectral(_))));
}
