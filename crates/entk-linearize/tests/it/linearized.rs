//! The linearization of a network against its definition.

use candle_core::{DType, Tensor};
use entk_linearize::Linearized;
use entk_models::{Activation, Model, Params};
use entk_testing::{TestResult, networks, normal, tensor_error, test_device};

/// f64 round-off of sums of some hundred terms.
const DOUBLE: f64 = 1e-12;

#[test]
fn outputs_move_along_the_tangent_with_and_without_the_offset() -> TestResult {
    let network = networks::mlp([1, 2, 3], &[5], 2, Activation::Tanh)?;
    let normal_of =
        |seed| Params::standard_normal(&network.specs(), seed, DType::F64, test_device());
    let (theta0, step) = (normal_of(1)?, normal_of(2)?);
    let theta = theta0.add_scaled(3.0, &step)?;
    let x = normal(&[4, 1, 2, 3], 3)?;
    let sweep = network.sweep(&theta0, &x)?;
    let moved = (sweep.jvp(&step)? * 3.0)?;
    let (with, without) = ((sweep.outputs() + &moved)?, moved);
    let linear = Linearized::new(&network, theta0.clone());
    assert!(tensor_error(&linear.forward(&theta, &x)?, &with)? <= DOUBLE);
    assert!(tensor_error(&linear.forward(&theta0, &x)?, sweep.outputs())? <= DOUBLE);
    let bare = linear.clone().without_offset();
    assert!(tensor_error(&bare.forward(&theta, &x)?, &without)? <= DOUBLE);
    let still = bare.forward(&theta0, &x)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert_eq!(still, 0.0);
    assert_eq!(linear.theta0().sub(&theta0)?.norm()?, 0.0);
    Ok(())
}

#[test]
fn derivatives_are_those_at_the_point_of_expansion() -> TestResult {
    let network = networks::mlp([1, 2, 3], &[5], 2, Activation::Tanh)?;
    let normal_of =
        |seed| Params::standard_normal(&network.specs(), seed, DType::F64, test_device());
    let (theta0, theta, v) = (normal_of(1)?, normal_of(4)?, normal_of(5)?);
    let x = normal(&[4, 1, 2, 3], 6)?;
    let u: Tensor = normal(&[4, 2], 7)?;
    let linear = Linearized::new(&network, theta0.clone());
    let (own, at_theta0) = (linear.sweep(&theta, &x)?, network.sweep(&theta0, &x)?);
    assert!(tensor_error(&own.jvp(&v)?, &at_theta0.jvp(&v)?)? <= DOUBLE);
    let expected = at_theta0.vjp(&u)?;
    assert!(own.vjp(&u)?.sub(&expected)?.norm()? <= DOUBLE * expected.norm()?);
    Ok(())
}
