//! The update against hand computation and against a slow, obvious loop.

use candle_core::{DType, Tensor};
use entk_models::{Activation, Model, Params};
use entk_testing::{normals, relative_error, test_device};
use entk_train::{Examples, Minibatches, Schedule, SgdConfig, fit};

use crate::tasks::{flat, labels, lenet, line, mlp, start};

/// Round-off of a few steps of a well-conditioned recurrence: operations that differ in order.
const ROUND_OFF: f64 = 256.0 * f64::EPSILON;

#[test]
fn one_step_equals_the_hand_computed_update() {
    let network = line([1, 1, 2]);
    let theta = Params::from_fn(&network.specs(), DType::F64, test_device(), |spec| {
        if spec.name == "line.weight" { vec![1.0, -2.0] } else { vec![0.5] }
    })
    .unwrap();
    let x = Tensor::new(&[3.0, 1.0, -1.0, 2.0], test_device()).unwrap();
    let task = Examples::new(x.reshape((2, 1, 1, 2)).unwrap(), vec![0, 1]).unwrap();
    let config = SgdConfig { learning_rate: 0.1, batch: 2, epochs: 1, ..SgdConfig::default() };
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();

    // Logits 1.5 and -4.5; cotangents s(1.5)/2 and -s(4.5)/2.
    let u = 0.5 / (1.0 + (-1.5f64).exp());
    let w = -0.5 / (1.0 + (-4.5f64).exp());
    let expected = [1.0 - 0.1 * (3.0 * u - w), -2.0 - 0.1 * (u + 2.0 * w), 0.5 - 0.1 * (u + w)];
    let error = relative_error(&flat(&fitted.params), &expected);
    assert!(error <= ROUND_OFF, "{error}");
    let loss = 0.5 * ((1.0 + 1.5f64.exp()).ln() + (1.0 + 4.5f64.exp()).ln());
    let error = fitted.history.epochs[0].minibatch_loss / loss - 1.0;
    assert!(error.abs() <= ROUND_OFF, "{error}");
}

/// SGD as the formulas have it: flat vectors, full gradients, one number at a time.
fn oracle(model: &dyn Model, params: &Params, task: &Examples, config: &SgdConfig) -> Vec<f64> {
    let batches = Minibatches::new(task.count(), config.batch, config.seed).unwrap();
    let steps = config.epochs * batches.per_epoch();
    let (mut now, mut velocity) = (flat(params), vec![0.0; params.count()]);
    let mut t = 0;
    for epoch in 1..=config.epochs {
        for indices in batches.epoch(epoch).iter() {
            let gradient = minibatch_gradient(model, params, &now, task, indices);
            let decay = match config.schedule {
                Schedule::Linear => 1.0 - t as f64 / steps as f64,
                _ => 1.0,
            };
            for ((p, v), g) in now.iter_mut().zip(&mut velocity).zip(gradient) {
                *v = g + config.momentum * *v;
                *p -= config.learning_rate * decay * *v;
            }
            t += 1;
        }
    }
    now
}

/// The gradient of the mean loss, example by example.
fn minibatch_gradient(
    model: &dyn Model,
    like: &Params,
    theta: &[f64],
    task: &Examples,
    indices: &[u32],
) -> Vec<f64> {
    let mut rest = theta;
    let params = like
        .map(|t| {
            let (head, tail) = rest.split_at(t.elem_count());
            rest = tail;
            Ok(Tensor::from_slice(head, t.shape(), test_device())?)
        })
        .unwrap();
    let mut gradient = vec![0.0; theta.len()];
    for &index in indices {
        let x = task.inputs().narrow(0, index as usize, 1).unwrap();
        let sweep = model.sweep(&params, &x).unwrap();
        let z = sweep.outputs().flatten_all().unwrap().to_vec1::<f64>().unwrap()[0];
        let y = f64::from(labels(task)[index as usize]);
        let u = (1.0 / (1.0 + (-z).exp()) - y) / indices.len() as f64;
        let part = sweep.vjp(&Tensor::new(&[[u]], test_device()).unwrap()).unwrap();
        gradient.iter_mut().zip(flat(&part)).for_each(|(g, p)| *g += p);
    }
    gradient
}

/// A task of normal images with random labels.
fn noise(shape: [usize; 4]) -> Examples {
    let x = Tensor::from_vec(normals(shape.iter().product(), 1), &shape, test_device()).unwrap();
    let labels: Vec<u8> = normals(shape[0], 2).iter().map(|&v| u8::from(v > 0.0)).collect();
    Examples::new(x, labels).unwrap()
}

#[test]
fn training_equals_the_naive_recurrence() {
    let network = mlp([1, 2, 3], &[7, 5], Activation::Gelu);
    let theta = start(&network, DType::F64);
    let task = noise([11, 1, 2, 3]);
    for schedule in [Schedule::Linear, Schedule::Constant] {
        for momentum in [0.0, 0.9] {
            let config = SgdConfig {
                learning_rate: 0.1,
                momentum,
                batch: 4,
                epochs: 5,
                schedule,
                seed: 9,
                ..SgdConfig::default()
            };
            let fitted = fit(&network, &theta, &task, None, &config).unwrap();
            let slow = oracle(&network, &theta, &task, &config);
            let error = relative_error(&flat(&fitted.params), &slow);
            assert!(error <= ROUND_OFF, "{schedule:?} {momentum}: {error}");
            // The test would not notice a run that did nothing.
            assert!(fitted.history.epochs[4].distance.l2 > 0.01);
        }
    }
}

/// Convolutional networks sweep a minibatch in chunks of 32: 80 examples are two and a half.
#[test]
fn a_minibatch_in_chunks_gives_the_same_step() {
    let network = lenet([1, 16, 16]);
    let theta = start(&network, DType::F64);
    let reuse = network.operations() / (2.0 * theta.count() as f64);
    assert!(reuse >= 4.0, "{reuse}: this network is not swept in chunks");
    let task = noise([80, 1, 16, 16]);
    let config = SgdConfig { batch: 80, epochs: 2, ..SgdConfig::default() };
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();
    let error = relative_error(&flat(&fitted.params), &oracle(&network, &theta, &task, &config));
    assert!(error <= ROUND_OFF, "{error}");
    assert!(fitted.history.epochs[1].distance.l2 > 0.01);
}

#[test]
fn the_recorded_rate_is_that_of_the_first_step() {
    let network = line([1, 1, 2]);
    let x = Tensor::from_vec(normals(20, 3), (10, 1, 1, 2), test_device()).unwrap();
    let task = Examples::new(x, vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).unwrap();
    let config = SgdConfig { batch: 3, epochs: 4, ..SgdConfig::default() };
    let theta = start(&network, DType::F64);
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();
    let rates: Vec<f64> = fitted.history.epochs.iter().map(|e| e.learning_rate).collect();
    assert_eq!(rates, [0.05, 0.05 * 0.75, 0.05 * 0.5, 0.05 * 0.25]);
}
