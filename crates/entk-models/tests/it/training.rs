//! Training mode: gradients through the batch statistics against finite differences and candle's
//! autograd, the running statistics, and what is exactly zero, in f64.

use candle_core::{DType, Tensor, Var};
use entk_models::{
    Activation, BatchNorm2d, Flatten, FrozenNorms, Model, Network, NormMode, NormalizeBatch,
    Operation, Params, Result, Sequential,
};
use entk_testing::{
    derivative_cases, moved_statistics, networks::two_stages, normal, tensor_error, test_device,
    with_zero_branches,
};

use crate::autograd::{resnet_autograd, weights};

/// f64 round-off times the growth through a few thousand-term sums.
const ROUND_OFF: f64 = 1e-11;
/// Central differences with h = 1e-7: cancellation eps / h times the growth of the rounding of f,
/// near 1e-8; truncation is far below. A larger step would cross kinks of a ReLU.
const DIFFERENCES: f64 = 1e-6;
const STEP: f64 = 1e-7;

#[test]
fn gradient_equals_central_differences() -> Result<()> {
    for case in derivative_cases()? {
        let u = normal(&[case.x.dim(0)?, case.network.outputs()], 8)?;
        let v = case.direction(4)?;
        let h = STEP;
        let value = |t: f64| -> Result<f64> {
            let theta = case.theta.add_scaled(t, &v)?;
            let sweep = case.network.training_sweep(&theta, &case.x)?;
            Ok((sweep.outputs() * &u)?.sum_all()?.to_scalar()?)
        };
        let differences = (value(h)? - value(-h)?) / (2.0 * h);
        let gradient = case.network.training_sweep(&case.theta, &case.x)?.vjp(&u)?;
        let error = (gradient.dot(&v)? - differences).abs() / (gradient.norm()? * v.norm()?);
        assert!(error <= DIFFERENCES, "{}: {error:e}", case.name);
    }
    Ok(())
}

#[test]
fn gradient_equals_candle_autograd() -> Result<()> {
    let network = two_stages(Activation::Relu).network()?;
    let noise = Params::standard_normal(&network.specs(), 3, DType::F64, test_device())?;
    let theta = network.init(2, DType::F64, test_device())?.add_scaled(0.1, &noise)?;
    let x = normal(&[6, 2, 8, 8], 4)?;
    let vars: Vec<(String, Var)> = (theta.iter())
        .map(|(name, t)| Ok((name.to_string(), Var::from_tensor(t)?)))
        .collect::<Result<_>>()?;
    let var = |name: &str, _: &Tensor| {
        let found = vars.iter().find(|(n, _)| n == name).expect("a variable");
        Ok(found.1.as_tensor().clone())
    };
    let outputs = resnet_autograd(&weights(&theta, var)?, &x, NormMode::Batch)?;
    let u = normal(&[6, 1], 5)?;
    let gradients = (&outputs * &u)?.sum_all()?.backward()?;
    let sweep = network.training_sweep(&theta, &x)?;
    assert!(tensor_error(sweep.outputs(), &outputs)? <= ROUND_OFF);
    let ours = sweep.vjp(&u)?;
    for (name, var) in &vars {
        let theirs = gradients.get(var).expect("a gradient");
        let difference = (ours.get(name)? - theirs)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        assert!(difference <= ROUND_OFF * ours.norm()?, "{name}: {difference:e}");
    }
    Ok(())
}

#[test]
fn running_statistics_move_by_a_tenth_with_the_biased_variance() -> Result<()> {
    let layers = Sequential::new().then(BatchNorm2d::new("n", 2)).then(Flatten);
    let network = Network::new(&[2, 1, 2], layers)?;
    let theta = network.init(0, DType::F64, test_device())?;
    // Channel 0 holds 1, 2, 3, 6 (mean 3, biased variance 3.5), channel 1 holds 5 throughout.
    let x = Tensor::new(&[[1.0, 2.0, 5.0, 5.0], [3.0, 6.0, 5.0, 5.0]], test_device())?;
    let x = x.reshape((2, 2, 1, 2))?;
    let sweep = network.training_sweep(&theta, &x)?;
    for ((name, tensor), (expected, values)) in sweep.statistics().iter().zip([
        ("n.running_mean", [0.1 * 3.0, 0.1 * 5.0]),
        ("n.running_var", [0.9 + 0.1 * 3.5, 0.9]),
    ]) {
        assert_eq!(name, expected);
        for (got, want) in tensor.to_vec1::<f64>()?.iter().zip(values) {
            assert!((got - want).abs() <= 1e-15, "{name}: {got} {want}");
        }
    }
    assert_eq!(sweep.statistics().len(), 2);
    let y = sweep.outputs().flatten_all()?.to_vec1::<f64>()?;
    assert!((y[0] + 2.0 / (3.5f64 + 1e-5).sqrt()).abs() <= 1e-15);
    assert_eq!(&y[2..4], [0.0, 0.0]);
    let frozen = FrozenNorms::new(&network);
    assert!(frozen.training_sweep(&theta, &x)?.statistics().is_empty());
    Ok(())
}

#[test]
fn a_norm_is_adjoint_to_itself_in_both_modes() -> Result<()> {
    for activation in [None, Some(Activation::Gelu), Some(Activation::Relu)] {
        let norm = NormalizeBatch { activation };
        let x = normal(&[4, 3, 3, 7], 3)?;
        let of_channels = |seed| normal(&[1, 3], seed);
        let variance = ((of_channels(10)?.tanh()? * 0.5)? + 1.0)?;
        let inputs = [x, of_channels(7)?, of_channels(8)?, of_channels(9)?, variance];
        let (dx, dy) = (normal(&[4, 3, 3, 7], 4)?, normal(&[4, 3, 3, 7], 5)?);
        let (dweight, dbias) = (of_channels(11)?, of_channels(12)?);
        for mode in [NormMode::Frozen, NormMode::Batch] {
            let cache = norm.forward(&inputs.iter().collect::<Vec<_>>(), mode)?.1;
            let tangents = [Some(&dx), Some(&dweight), Some(&dbias), None, None];
            let moved = norm.jvp(&cache, &tangents)?;
            let back = norm.vjp(&cache, &dy, &[true, true, true, false, false])?;
            let mut right = 0.0;
            for (cotangent, tangent) in back.into_iter().flatten().zip([&dx, &dweight, &dbias]) {
                let product = cotangent.broadcast_mul(tangent)?;
                right += product.sum_all()?.to_scalar::<f64>()?;
            }
            let left = (moved * &dy)?.sum_all()?.to_scalar::<f64>()?;
            assert!((left - right).abs() <= ROUND_OFF * left.abs().max(1.0), "{mode:?}");
        }
    }
    Ok(())
}

#[test]
fn skipping_zero_branches_changes_no_bit_of_a_training_step() -> Result<()> {
    let network = two_stages(Activation::Gelu).network()?;
    let noise = Params::standard_normal(&network.specs(), 3, DType::F64, test_device())?;
    let theta = network.init(2, DType::F64, test_device())?.add_scaled(0.1, &noise)?;
    let theta = with_zero_branches(&theta)?;
    let entered = network.clone().without_skipping();
    let x = normal(&[6, 2, 8, 8], 4)?;
    let u = normal(&[6, 1], 5)?;
    let (skipped, full) =
        (network.training_sweep(&theta, &x)?, entered.training_sweep(&theta, &x)?);
    let (ours, theirs) = (skipped.vjp(&u)?, full.vjp(&u)?);
    assert_eq!(ours.sub(&theirs)?.norm()?, 0.0);
    let active = network.active_parameters(&theta)?;
    for (name, tensor) in theirs.iter() {
        let norm = tensor.sqr()?.sum_all()?.to_scalar::<f64>()?;
        assert_eq!(norm > 0.0, active.contains(name), "{name}");
    }
    Ok(())
}

#[test]
fn frozen_training_follows_the_stored_statistics() -> Result<()> {
    let network = two_stages(Activation::Tanh).network()?;
    let noise = Params::standard_normal(&network.specs(), 3, DType::F64, test_device())?;
    let theta = network.init(2, DType::F64, test_device())?.add_scaled(0.1, &noise)?;
    let theta = moved_statistics(&theta, 4)?;
    let (x, u) = (normal(&[6, 2, 8, 8], 4)?, normal(&[6, 1], 5)?);
    let frozen = FrozenNorms::new(&network);
    let sweep = frozen.training_sweep(&theta, &x)?;
    let expected = network.sweep(&theta, &x)?;
    assert!(sweep.statistics().is_empty());
    assert_eq!(tensor_error(sweep.outputs(), expected.outputs())?, 0.0);
    assert_eq!(sweep.vjp(&u)?.sub(&expected.vjp(&u)?)?.norm()?, 0.0);
    assert_eq!(frozen.active_parameters(&theta)?, network.active_parameters(&theta)?);
    Ok(())
}
