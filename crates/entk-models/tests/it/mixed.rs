//! Every network's mixed second derivatives against finite differences of its gradients and against
//! each other, in f64.

use candle_core::Tensor;
use entk_models::{Model, Params, Result};
use entk_testing::{Case, derivative_cases, normal, tensor_error};

/// f64 round-off times the growth through a few thousand-term sums.
const ROUND_OFF: f64 = 1e-11;
/// Central differences of gradients with h = 1e-6: truncation h^2 times fourth derivatives, and
/// cancellation eps / h times the growth of the rounding of a gradient, near 1e-8. A much larger
/// step would cross kinks of a ReLU.
const DIFFERENCES: f64 = 1e-6;
const STEP: f64 = 1e-6;

/// The gradient of the sum of all outputs, theta moved by t v and the inputs by t u.
fn gradient(case: &Case, t: f64, v: Option<&Params>, u: Option<&Tensor>) -> Result<Params> {
    let theta = match v {
        Some(v) => case.theta.add_scaled(t, v)?,
        None => case.theta.clone(),
    };
    let x = match u {
        Some(u) => (&case.x + (u * t)?)?,
        None => case.x.clone(),
    };
    let sweep = case.network.sweep(&theta, &x)?;
    sweep.vjp(&sweep.outputs().ones_like()?)
}

#[test]
fn gradients_move_as_their_differences() -> Result<()> {
    for case in derivative_cases()? {
        let (v, u) = (case.direction(21)?, normal(case.x.dims(), 22)?);
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        for (v, u) in [(Some(&v), None), (None, Some(&u)), (Some(&v), Some(&u))] {
            let ahead = gradient(&case, STEP, v, u)?;
            let behind = gradient(&case, -STEP, v, u)?;
            let differences = ahead.sub(&behind)?.scale(0.5 / STEP)?;
            let error = sweep.mixed(v, u)?.gradient()?.sub(&differences)?.norm()?;
            let size = differences.norm()?;
            assert!(error <= DIFFERENCES * size, "{}: {error:e} of {size:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn the_two_sides_are_adjoint() -> Result<()> {
    for case in derivative_cases()? {
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        for seed in 0..4 {
            let (v, u) = (case.direction(seed)?, normal(case.x.dims(), 30 + seed)?);
            let image = sweep.mixed(None, Some(&u))?.gradient()?;
            let other = sweep.mixed(Some(&v), None)?.input_gradient()?;
            let right = (other * &u)?.sum_all()?.to_scalar::<f64>()?;
            let (left, scale) = (image.dot(&v)?, image.norm()? * v.norm()?);
            assert!((left - right).abs() <= ROUND_OFF * scale, "{}: {left} {right}", case.name);
        }
    }
    Ok(())
}

/// d/dt of (J(x + t u) v) at t = 0 on both sides of the input: M^T v is a gradient in x.
#[test]
fn input_gradients_are_slopes_of_the_jvp() -> Result<()> {
    for case in derivative_cases()? {
        let (v, u) = (case.direction(41)?, normal(case.x.dims(), 42)?);
        let jvp = |t: f64| -> Result<f64> {
            let x = (&case.x + (&u * t)?)?;
            let sum = case.network.sweep(&case.theta, &x)?.jvp(&v)?.sum_all()?;
            Ok(sum.to_scalar()?)
        };
        let slope = (jvp(STEP)? - jvp(-STEP)?) / (2.0 * STEP);
        let sweep = case.network.sweep(&case.theta, &case.x)?;
        let found = sweep.mixed(Some(&v), None)?.input_gradient()?;
        let size = found.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        let found = (found * &u)?.sum_all()?.to_scalar::<f64>()?;
        let scale = size * u.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        assert!((found - slope).abs() <= DIFFERENCES * scale, "{}: {found} {slope}", case.name);
    }
    Ok(())
}

#[test]
fn rows_of_moved_factors_sum_to_the_gradient() -> Result<()> {
    for case in derivative_cases()? {
        let (v, u) = (case.direction(51)?, normal(case.x.dims(), 52)?);
        let mixed = case.network.sweep(&case.theta, &case.x)?.mixed(Some(&v), Some(&u))?;
        let gradient = mixed.gradient()?;
        mixed.for_each_factor(&mut |factor| {
            let parts: Vec<Tensor> = (factor.cotangents.names().iter())
                .map(|name| Ok(gradient.get(name)?.flatten_all()?))
                .collect::<Result<_>>()?;
            let (rows, sum) = (factor.rows()?.sum(0)?, Tensor::cat(&parts, 0)?);
            let all_zero = sum.abs()?.max_all()?.to_scalar::<f64>()? == 0.0;
            let error = if all_zero {
                rows.abs()?.max_all()?.to_scalar::<f64>()?
            } else {
                tensor_error(&rows, &sum)?
            };
            assert!(error <= ROUND_OFF, "{}: {error:e}", case.name);
            Ok(())
        })?;
    }
    Ok(())
}
