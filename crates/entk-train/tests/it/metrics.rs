use candle_core::{DType, Tensor};
use entk_models::{Activation, Model};
use entk_testing::{relative_error, test_device};
use entk_train::{Distance, Examples, TrainError, evaluate, logits};

use crate::tasks::{flat, labels, lenet, mlp, separable, start};

/// Dot products of at most a few hundred terms, summed in another order.
const ROUND_OFF: f64 = 512.0 * f64::EPSILON;

#[test]
fn evaluation_does_not_depend_on_the_batch() {
    let networks = [mlp([2, 8, 8], &[9, 5], Activation::Relu), lenet([2, 8, 8])];
    let task = separable([23, 2, 8, 8], 0.1, DType::F64, 4);
    for network in networks {
        let theta = start(&network, DType::F64);
        let one_by_one = logits(&network, &theta, task.inputs(), 1).unwrap();
        assert_eq!(one_by_one.len(), 23);
        let expected = evaluate(&network, &theta, &task, 1).unwrap();
        for batch in [2, 5, 22, 23, 24, 1000] {
            let batched = logits(&network, &theta, task.inputs(), batch).unwrap();
            let error = relative_error(&batched, &one_by_one);
            assert!(error <= ROUND_OFF, "batch {batch}: {error}");
            let metrics = evaluate(&network, &theta, &task, batch).unwrap();
            assert_eq!(metrics.accuracy, expected.accuracy);
            assert!((metrics.loss / expected.loss - 1.0).abs() <= ROUND_OFF);
        }
    }
}

#[test]
fn metrics_count_every_example() {
    let network = mlp([1, 2, 2], &[3], Activation::Relu);
    let theta = start(&network, DType::F32);
    let task = separable([9, 1, 2, 2], 0.1, DType::F32, 1);
    let z = logits(&network, &theta, task.inputs(), 4).unwrap();
    let right = z.iter().zip(labels(&task)).filter(|&(&z, &y)| (z > 0.0) == (y == 1)).count();
    let metrics = evaluate(&network, &theta, &task, 4).unwrap();
    assert_eq!(metrics.accuracy, Some(right as f64 / 9.0));
    let flipped =
        task.with_targets(labels(&task).iter().map(|y| 1 - y).collect::<Vec<_>>()).unwrap();
    let metrics = evaluate(&network, &theta, &flipped, 4).unwrap();
    assert_eq!(metrics.accuracy, Some((9 - right) as f64 / 9.0));
}

#[test]
fn a_logit_that_is_not_finite_is_named() {
    let network = mlp([1, 2, 2], &[3], Activation::Square);
    let theta = start(&network, DType::F32).scale(1e30).unwrap();
    let x = Tensor::ones((5, 1, 2, 2), DType::F32, test_device()).unwrap();
    let scale = Tensor::new(&[0f32, 0.0, 0.0, 1.0, 0.0], test_device()).unwrap();
    let x = x.broadcast_mul(&scale.reshape((5, 1, 1, 1)).unwrap()).unwrap();
    let task = Examples::new(x, vec![0; 5]).unwrap();
    let error = evaluate(&network, &theta, &task, 2).unwrap_err();
    assert!(matches!(error, TrainError::NonFiniteLogit { index: 3, .. }), "{error}");
}

#[test]
fn bad_requests_are_refused() {
    let network = mlp([1, 2, 2], &[3], Activation::Relu);
    let theta = start(&network, DType::F32);
    let task = separable([4, 1, 2, 2], 0.1, DType::F32, 1);
    assert!(matches!(
        evaluate(&network, &theta, &task, 0),
        Err(TrainError::Setting { field: "batch", .. })
    ));
    let double = separable([4, 1, 2, 2], 0.1, DType::F64, 1);
    assert!(matches!(evaluate(&network, &theta, &double, 2), Err(TrainError::Model(_))));
    let wide = separable([4, 1, 2, 3], 0.1, DType::F32, 1);
    assert!(matches!(evaluate(&network, &theta, &wide, 2), Err(TrainError::Model(_))));
}

#[test]
fn the_distance_is_that_of_the_flat_vectors() {
    let network = mlp([1, 2, 2], &[3], Activation::Relu);
    let a = start(&network, DType::F64);
    let b = network.init(6, DType::F64, test_device()).unwrap();
    let (x, y) = (flat(&a), flat(&b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let gap: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - x).collect();
    let distance = Distance::between(&a, &b).unwrap();
    assert!((distance.l2 / dot(&gap, &gap).sqrt() - 1.0).abs() <= ROUND_OFF);
    let cosine = 1.0 - dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
    assert!((distance.cosine.unwrap() - cosine).abs() <= ROUND_OFF);

    let opposite = Distance::between(&a, &a.scale(-1.0).unwrap()).unwrap();
    assert!((opposite.cosine.unwrap() - 2.0).abs() <= ROUND_OFF);
    let zero = a.zeros_like().unwrap();
    assert_eq!(Distance::between(&a, &zero).unwrap().cosine, None);
    assert_eq!(Distance::between(&a, &a).unwrap().l2, 0.0);
}
