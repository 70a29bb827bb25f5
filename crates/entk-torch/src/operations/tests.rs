//! Every operation of this crate through the whole check of derivatives.

use candle_core::{DType, Device, Tensor};
use entk_models::{
    Initializer, NormMode, Operation,
    check::{self, Input},
};

use crate::operations::{
    choose::{Choose, Replace},
    compare::{Compare, Comparison},
    gather::{Gather, ScatterAdd},
    ids::FromIds,
    steps::{PlaceOfMax, Step, Stepwise},
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn numbers(name: &str, shape: &[usize]) -> candle_core::Result<Tensor> {
    let count = shape.iter().product();
    Tensor::from_vec(Initializer::Normal.draw(name, count, 0), shape, &Device::Cpu)
}

/// 1 and 0, without a pattern; of a type that does not move.
fn truth(shape: &[usize]) -> candle_core::Result<Tensor> {
    numbers("truth", shape)?.gt(0.0)?.to_dtype(DType::U32)
}

/// Whole numbers below `most`.
fn whole(most: usize, shape: &[usize]) -> candle_core::Result<Tensor> {
    let large = (numbers("whole", shape)?.abs()? * 7.0)?.floor()?;
    let rounds = ((&large / most as f64)?.floor()? * most as f64)?;
    (large - rounds)?.to_dtype(DType::U32)
}

#[test]
fn choices_have_their_derivatives() -> TestResult {
    let [a, b] = [numbers("a", &[4, 3, 5])?, numbers("b", &[4, 5])?];
    let condition = Input::Each(truth(&[4, 3, 1])?);
    check::operation(Choose, &[condition.clone(), Input::Each(a.clone()), Input::Each(b)])?
        .ensure()?;
    check::operation(Replace { with: -2.0 }, &[Input::Each(a), condition])?.ensure()?;
    Ok(())
}

#[test]
fn chosen_entries_have_their_derivatives() -> TestResult {
    let x = Input::Each(numbers("x", &[4, 5, 3])?);
    let places = Input::Each(whole(5, &[4, 2, 3])?);
    check::operation(Gather { axis: 0 }, &[x, places])?.ensure()?;
    let x = Input::Each(numbers("x", &[4, 5, 3])?);
    let places = Input::Each(whole(4, &[4, 5, 3])?);
    check::operation(ScatterAdd { axis: 0, length: 4 }, &[x, places])?.ensure()?;
    Ok(())
}

fn forward(
    operation: impl Operation,
    inputs: &[&Tensor],
) -> Result<Vec<f64>, entk_models::ModelError> {
    let (y, _) = operation.forward(inputs, NormMode::Frozen)?;
    Ok(y.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

#[test]
fn steps_are_those_of_pytorch() -> TestResult {
    let x = Tensor::new(&[[-2.5f64, -1.5, -0.5, 0.5, 1.5, 2.5, 1.2, -1.7]], &Device::Cpu)?;
    for (step, expected) in [
        (Step::Floor, [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 1.0, -2.0]),
        (Step::Ceil, [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 2.0, -1.0]),
        (Step::Round, [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 1.0, -2.0]),
        (Step::Truncate, [-2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 1.0, -1.0]),
        (Step::Sign, [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0]),
    ] {
        assert_eq!(forward(Stepwise(step), &[&x])?, expected, "{step:?}");
    }
    let x = Tensor::new(&[[1.0f64, 3.0, 3.0, 2.0]], &Device::Cpu)?;
    assert_eq!(forward(PlaceOfMax { axis: 0 }, &[&x])?, [1.0]);
    Ok(())
}

#[test]
fn comparisons_broadcast() -> TestResult {
    let a = Tensor::new(&[[[1.0f64], [2.0]]], &Device::Cpu)?;
    let b = Tensor::new(&[[1.0f64, 2.0, 3.0]], &Device::Cpu)?;
    for (comparison, expected) in [
        (Comparison::Equal, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (Comparison::Differ, [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]),
        (Comparison::Less, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        (Comparison::AtMost, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
        (Comparison::Greater, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (Comparison::AtLeast, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
    ] {
        assert_eq!(forward(Compare(comparison), &[&a, &b])?, expected, "{comparison:?}");
    }
    Ok(())
}

#[test]
fn ids_are_numbers() -> TestResult {
    let ids = Tensor::new(&[[3u32, 0, 7]], &Device::Cpu)?;
    let like = Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?;
    assert_eq!(forward(FromIds, &[&ids, &like])?, [3.0, 0.0, 7.0]);
    Ok(())
}
