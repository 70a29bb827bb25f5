//! Products with the Jacobian of a data set against those of one example at a time.

use candle_core::{DType, Tensor};
use entk_linearize::{Jacobian, LinearizeError};
use entk_models::{Activation, Model, Network, Params};
use entk_testing::{TestResult, networks, normal, normals, test_device};

/// f64 round-off of sums of some hundred terms.
const DOUBLE: f64 = 1e-12;
const EXAMPLES: usize = 7;
const OUTPUTS: usize = 3;

fn case() -> TestResult<(Network, Params, Tensor)> {
    let network = networks::mlp([1, 2, 3], &[5], OUTPUTS, Activation::Gelu)?;
    let theta = Params::standard_normal(&network.specs(), 1, DType::F64, test_device())?;
    let x = normal(&[EXAMPLES, 1, 2, 3], 2)?;
    Ok((network, theta, x))
}

/// The gradient of output c of example n, by a sweep of that example alone.
fn row(network: &Network, params: &Params, x: &Tensor, n: usize, c: usize) -> TestResult<Params> {
    let mut one = vec![0.0; OUTPUTS];
    one[c] = 1.0;
    let cotangent = Tensor::from_vec(one, (1, OUTPUTS), test_device())?;
    Ok(network.sweep(params, &x.narrow(0, n, 1)?)?.vjp(&cotangent)?)
}

fn close(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= DOUBLE * scale
}

#[test]
fn products_are_those_of_the_rows_for_any_batch() -> TestResult {
    let (network, theta, x) = case()?;
    let v = Params::standard_normal(&network.specs(), 3, DType::F64, test_device())?;
    let u = normals(EXAMPLES * OUTPUTS, 4);
    let mut expected_jvp = Vec::new();
    let mut expected_vjp = theta.zeros_like()?;
    for n in 0..EXAMPLES {
        for c in 0..OUTPUTS {
            let row = row(&network, &theta, &x, n, c)?;
            expected_jvp.push(row.dot(&v)?);
            expected_vjp = expected_vjp.add_scaled(u[n * OUTPUTS + c], &row)?;
        }
    }
    let scale = expected_jvp.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for batch in [0, 1, 2, EXAMPLES, 100] {
        let jacobian = Jacobian::new(&network, &theta, &x)?.with_batch(batch);
        assert_eq!(jacobian.nrows(), EXAMPLES * OUTPUTS);
        let found = jacobian.jvp(&v)?;
        assert_eq!(found.len(), expected_jvp.len());
        for (found, expected) in found.iter().zip(&expected_jvp) {
            assert!(close(*found, *expected, scale), "{batch}: {found} for {expected}");
        }
        let error = jacobian.vjp(&u)?.sub(&expected_vjp)?.norm()?;
        assert!(error <= DOUBLE * expected_vjp.norm()?, "{batch}: {error:e}");
    }
    Ok(())
}

#[test]
fn alignments_are_quadratic_forms_of_the_kernel() -> TestResult {
    let (network, theta, x) = case()?;
    let y = normals(EXAMPLES * OUTPUTS, 5);
    let rows: Vec<Params> = (0..EXAMPLES * OUTPUTS)
        .map(|at| row(&network, &theta, &x, at / OUTPUTS, at % OUTPUTS))
        .collect::<TestResult<_>>()?;
    let mut whole = 0.0;
    let mut by_name = vec![0.0; theta.iter().count()];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            whole += y[i] * a.dot(b)? * y[j];
            for (sum, ((_, a), (_, b))) in by_name.iter_mut().zip(a.iter().zip(b.iter())) {
                *sum += y[i] * (a * b)?.sum_all()?.to_scalar::<f64>()? * y[j];
            }
        }
    }
    let squared = (EXAMPLES * EXAMPLES) as f64;
    let jacobian = Jacobian::new(&network, &theta, &x)?.with_batch(3);
    let found = jacobian.alignment(&y)?;
    assert!(close(found, whole / squared, found), "{found} for {}", whole / squared);
    let layers = jacobian.layer_alignments(&y)?;
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, theta.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for ((name, found_layer), expected) in layers.iter().zip(&by_name) {
        let expected = expected / squared;
        assert!(close(*found_layer, expected, found), "{name}: {found_layer} for {expected}");
    }
    Ok(())
}

#[test]
fn cotangents_that_do_not_fit_are_errors() -> TestResult {
    let (network, theta, x) = case()?;
    let jacobian = Jacobian::new(&network, &theta, &x)?;
    let short = jacobian.vjp(&[1.0; EXAMPLES]);
    let (rows, given) = (EXAMPLES * OUTPUTS, EXAMPLES);
    let length = |error: &LinearizeError| {
        matches!(error, LinearizeError::Length { expected, got, .. }
            if (*expected, *got) == (rows, given))
    };
    assert!(short.as_ref().is_err_and(length), "{short:?}");
    let mut u = vec![1.0; rows];
    u[4] = f64::NEG_INFINITY;
    for found in [jacobian.alignment(&u).err(), jacobian.layer_alignments(&u).err()] {
        assert!(matches!(found, Some(LinearizeError::NonFinite { index: 4, .. })), "{found:?}");
    }
    let none = Tensor::zeros((0, 1, 2, 3), DType::F64, test_device())?;
    assert!(matches!(Jacobian::new(&network, &theta, &none), Err(LinearizeError::Empty)));
    let nan = (&x * f64::NAN)?;
    assert!(Jacobian::new(&network, &theta, &nan).is_err());
    let wide = normal(&[2, 1, 3, 3], 6)?;
    assert!(Jacobian::new(&network, &theta, &wide).is_err());
    Ok(())
}
