//! Every network's derivatives against finite differences, the adjoint identity and candle's own
//! autograd, in f64.

use candle_core::{DType, Tensor, Var};
use entk_models::{Model, NormMode, Result};
use entk_testing::{derivative_cases, normal, tensor_error, test_device};

use crate::autograd::{self, weights};

/// f64 round-off times the growth through a few thousand-term sums.
const ROUND_OFF: f64 = 1e-11;
/// Central differences with h = 1e-7: truncation h^2, and cancellation eps / h times the growth of
/// the rounding of f, near 1e-8. A larger step would cross kinks of a ReLU.
const DIFFERENCES: f64 = 1e-6;
const STEP: f64 = 1e-7;

#[test]
fn jvp_equals_central_differences() -> Result<()> {
    for case in derivative_cases()? {
        let v = case.direction(3)?;
        let h = STEP;
        let f = |t: f64| case.network.forward(&case.theta.add_scaled(t, &v)?, &case.x);
        let differences = ((f(h)? - f(-h)?)? / (2.0 * h))?;
        let jvp = case.network.sweep(&case.theta, &case.x)?.jvp(&v)?;
        let error = tensor_error(&jvp, &differences)?;
        assert!(error <= DIFFERENCES, "{}: {error:e}", case.name);
    }
    Ok(())
}

#[test]
fn jvp_and_vjp_are_adjoint() -> Result<()> {
    for case in derivative_cases()? {
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        for seed in 0..4 {
            let v = case.direction(seed)?;
            let u = normal(sweep.outputs().dims(), 100 + seed)?;
            let left = (sweep.jvp(&v)? * &u)?.sum_all()?.to_scalar::<f64>()?;
            let gradient = sweep.vjp(&u)?;
            let right = gradient.dot(&v)?;
            let scale = gradient.norm()? * v.norm()?;
            assert!((left - right).abs() <= ROUND_OFF * scale, "{}: {left} {right}", case.name);
        }
    }
    Ok(())
}

#[test]
fn rows_of_factors_are_the_jacobian_one_example_at_a_time() -> Result<()> {
    for case in derivative_cases()? {
        let (n, outputs) = (case.x.dim(0)?, case.network.outputs());
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        for channel in 0..outputs {
            let factors = sweep.output_factors(channel)?;
            for example in 0..n {
                let mut u = vec![0.0; n * outputs];
                u[example * outputs + channel] = 1.0;
                let gradient = sweep.vjp(&Tensor::from_vec(u, (n, outputs), test_device())?)?;
                for factor in &factors {
                    let row = factor.rows()?.get(example)?;
                    assert_eq!(row.elem_count(), factor.width());
                    let parts: Vec<Tensor> = (factor.names().iter())
                        .map(|name| Ok(gradient.get(name)?.flatten_all()?))
                        .collect::<Result<_>>()?;
                    let difference = (row - Tensor::cat(&parts, 0)?)?.abs()?.max_all()?;
                    let bound = ROUND_OFF * gradient.norm()?;
                    assert!(difference.to_scalar::<f64>()? <= bound, "{}", case.name);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn vjp_equals_candle_autograd() -> Result<()> {
    for case in derivative_cases()? {
        let Some(autograd) = autograd::of(case.name) else { continue };
        let vars: Vec<(String, Var)> = (case.theta.iter())
            .map(|(name, t)| Ok((name.to_string(), Var::from_tensor(t)?)))
            .collect::<Result<_>>()?;
        let var = |name: &str, _: &Tensor| {
            let found = vars.iter().find(|(n, _)| n == name).expect("a variable");
            Ok(found.1.as_tensor().clone())
        };
        let outputs = autograd(&weights(&case.theta, var)?, &case.x, NormMode::Frozen)?;
        let u = normal(outputs.dims(), 5)?;
        let gradients = (&outputs * &u)?.sum_all()?.backward()?;
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        assert!(tensor_error(sweep.outputs(), &outputs)? <= ROUND_OFF, "{}", case.name);
        let ours = sweep.vjp(&u)?;
        for (name, var) in &vars {
            let theirs = gradients.get(var).expect("a gradient");
            let error = tensor_error(ours.get(name)?, theirs)?;
            assert!(error <= ROUND_OFF, "{} {name}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn single_precision_follows_double() -> Result<()> {
    // A few hundred f32 roundings of relative size 6e-8 each, added in quadrature and doubled.
    let tolerance = 1e-5;
    for case in derivative_cases()? {
        let u = normal(&[case.x.dim(0)?, case.network.outputs()], 6)?;
        let double = case.network.sweep(&case.theta, &case.x)?.vjp(&u)?;
        let (theta, x) = (case.theta.to_dtype(DType::F32)?, case.x.to_dtype(DType::F32)?);
        let single = case.network.sweep(&theta, &x)?.vjp(&u.to_dtype(DType::F32)?)?;
        let difference = single.to_dtype(DType::F64)?.sub(&double)?.norm()?;
        assert!(difference <= tolerance * double.norm()?, "{}: {difference:e}", case.name);
    }
    Ok(())
}

#[test]
fn params_are_a_vector_space() -> Result<()> {
    for case in derivative_cases()? {
        let (a, b) = (case.direction(1)?, case.direction(2)?);
        let sum = a.add_scaled(2.0, &b)?;
        let expected = a.dot(&a)? + 4.0 * a.dot(&b)? + 4.0 * b.dot(&b)?;
        assert!((sum.dot(&sum)? - expected).abs() <= ROUND_OFF * expected);
        assert!(sum.sub(&a)?.sub(&b.scale(2.0)?)?.norm()? <= ROUND_OFF * b.norm()?);
        assert!((a.cosine_distance(&a.scale(-3.0)?)? - 2.0).abs() <= ROUND_OFF);
        assert!(a.zeros_like()?.cosine_distance(&a).is_err());
    }
    Ok(())
}

#[test]
fn values_are_the_outputs_of_a_sweep() -> Result<()> {
    for case in derivative_cases()? {
        let values = case.network.forward(&case.theta, &case.x)?;
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        let difference = (values - sweep.outputs())?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert_eq!(difference, 0.0, "{}", case.name);
    }
    Ok(())
}
