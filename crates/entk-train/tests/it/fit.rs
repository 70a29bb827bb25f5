use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
};

use candle_core::{DType, Tensor};
use entk_models::{
    Activation, Dense, Flatten, Graph, Initializer, Layer, Model, Network, NormMode, Operation,
    ParamSpec, Result as ModelResult, Sequential, Value, only_tangent,
};
use entk_testing::{normals, relative_error, test_device};
use entk_train::{
    Distance, Examples, Fit, Outcome, Schedule, SgdConfig, TrainError, evaluate, fit, fit_many,
    fit_many_observed, fit_observed, logits, sigmoid_cross_entropy_cotangent,
};

use crate::tasks::{flat, labels, lenet, line, mlp, resnet, separable, start};

fn settings(epochs: usize) -> SgdConfig {
    SgdConfig { batch: 16, epochs, ..SgdConfig::default() }
}

#[test]
fn separable_data_are_learned() {
    let networks = [mlp([1, 8, 8], &[20, 20], Activation::Relu), lenet([1, 8, 8])];
    for (network, dtype) in networks.iter().flat_map(|n| [(n, DType::F32), (n, DType::F64)]) {
        let train = separable([96, 1, 8, 8], 1.0, dtype, 2);
        let test = separable([50, 1, 8, 8], 1.0, dtype, 3);
        let theta = start(network, dtype);
        let before = evaluate(network, &theta, &train, 16).unwrap();
        let Fit { params, history } =
            fit(network, &theta, &train, Some(&test), &settings(60)).unwrap();
        let end = history.last().unwrap();
        let (trained, tested) = (end.train.unwrap(), end.test.unwrap());
        assert!(trained.loss < 0.01 * before.loss, "{trained:?}, before {before:?}");
        assert_eq!(trained.accuracy, Some(1.0));
        assert!(tested.accuracy.unwrap() > 0.7, "{tested:?}");
        assert!(history.convergence_epoch(0.01).is_some_and(|epoch| epoch > 1));
        // The record is about the parameters that are returned.
        assert_eq!(trained, evaluate(network, &params, &train, 128).unwrap());
        assert_eq!(end.distance, Distance::between(&theta, &params).unwrap());
        assert!(end.distance.l2 > 0.0 && end.distance.cosine.unwrap() > 0.0);
    }
}

/// The loss of a linear model is convex, and on these data it has a minimum: the gradient over all
/// examples vanishes there and nowhere else.
#[test]
fn a_linear_model_converges_to_the_optimum() {
    let network = line([1, 1, 3]);
    let x = Tensor::from_vec(normals(120, 8), (40, 1, 1, 3), test_device()).unwrap();
    let y: Vec<u8> = normals(40, 9).iter().map(|&v| u8::from(v > 0.0)).collect();
    let task = Examples::new(x, y).unwrap();
    let config = SgdConfig {
        learning_rate: 0.5,
        batch: 40,
        epochs: 1000,
        schedule: Schedule::Constant,
        eval_every: 100,
        ..SgdConfig::default()
    };
    let fitted = fit(&network, &start(&network, DType::F64), &task, None, &config).unwrap();
    let z = logits(&network, &fitted.params, task.inputs(), 40).unwrap();
    let u = sigmoid_cross_entropy_cotangent(&z, labels(&task)).unwrap();
    let u = Tensor::from_vec(u, (40, 1), test_device()).unwrap();
    let sweep = network.sweep(&fitted.params, task.inputs()).unwrap();
    let gradient = sweep.vjp(&u).unwrap().norm().unwrap();
    // A sum of 40 terms of size at most |x|/40: a few roundings of numbers of size 1.
    assert!(gradient <= 64.0 * f64::EPSILON, "{gradient}");
    let losses: Vec<f64> =
        fitted.history.epochs.iter().filter_map(|e| e.train).map(|m| m.loss).collect();
    assert!(losses.windows(2).all(|w| w[1] <= w[0] + 4.0 * f64::EPSILON), "{losses:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let network = lenet([1, 8, 8]);
    for dtype in [DType::F32, DType::F64] {
        let train = separable([60, 1, 8, 8], 0.5, dtype, 2);
        let theta = start(&network, dtype);
        let before = flat(&theta);
        let run = |seed| {
            let config = SgdConfig { seed, ..settings(3) };
            fit(&network, &theta, &train, Some(&train), &config).unwrap()
        };
        let (one, two, other) = (run(1), run(1), run(2));
        assert_eq!(flat(&one.params), flat(&two.params));
        assert_eq!(one.history, two.history);
        assert_ne!(flat(&one.params), flat(&other.params));
        assert_eq!(flat(&theta), before, "the parameters given were changed");
    }
}

#[test]
fn networks_side_by_side_are_those_trained_alone() {
    for network in [lenet([1, 16, 16]), resnet([1, 8, 8])] {
        let shape = [&[48], network.input_shape()].concat().try_into().unwrap();
        let train = separable(shape, 0.5, DType::F32, 2);
        let theta = start(&network, DType::F32);
        let labels = |task: usize| {
            let label = |at: usize| u8::from((at / (task + 1)).is_multiple_of(2));
            (0..48).map(label).collect::<Vec<_>>()
        };
        let tasks: Vec<_> = (0..3)
            .map(|task| (train.with_targets(labels(task)).unwrap(), Some(train.clone())))
            .collect();
        let calls = AtomicUsize::new(0);
        let many = fit_many_observed(&network, &theta, &tasks, &settings(2), |task, record| {
            assert!(task < 3);
            calls.fetch_add(record.epoch, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((many.len(), calls.into_inner()), (3, 9));
        for ((train, test), side_by_side) in tasks.iter().zip(&many) {
            let alone = fit(&network, &theta, train, test.as_ref(), &settings(2)).unwrap();
            assert_eq!(flat(&side_by_side.params), flat(&alone.params));
            assert_eq!(side_by_side.history, alone.history);
        }
    }
}

#[test]
fn of_networks_that_diverge_the_first_is_named() {
    let network = line([1, 2, 2]);
    let noise = |task: usize| {
        let labels: Vec<u8> = (0..32).map(|at| u8::from((at + task).is_multiple_of(3))).collect();
        (separable([32, 1, 2, 2], 0.5, DType::F64, 2).with_targets(labels).unwrap(), None)
    };
    let config = SgdConfig { learning_rate: 1e12, ..settings(4) };
    let theta = start(&network, DType::F64);
    let tasks = [0, 1, 2].map(noise);
    let error = fit_many(&network, &theta, &tasks, &config);
    assert!(matches!(error, Err(TrainError::Diverged { target: Some(0), .. })), "{error:?}");
}

#[test]
fn the_callback_sees_every_epoch_and_may_stop() {
    let network = line([1, 2, 2]);
    let train = separable([32, 1, 2, 2], 0.5, DType::F64, 2);
    let theta = start(&network, DType::F64);
    let mut seen = Vec::new();
    let stopped = fit_observed(&network, &theta, &train, None, &settings(10), |record| {
        seen.push(record.clone());
        if record.epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(stopped.history.outcome, Outcome::Stopped);
    assert_eq!(stopped.history.epochs, seen);
    assert_eq!(seen.iter().map(|e| e.epoch).collect::<Vec<_>>(), [1, 2, 3]);

    let whole = fit(&network, &theta, &train, None, &settings(10)).unwrap();
    assert_eq!(whole.history.outcome, Outcome::Completed);
    assert_eq!(whole.history.epochs.len(), 10);
    assert_eq!(whole.history.epochs[..3], seen);
}

#[test]
fn evaluation_is_as_frequent_as_asked() {
    let network = line([1, 2, 2]);
    let train = separable([32, 1, 2, 2], 0.5, DType::F64, 2);
    let theta = start(&network, DType::F64);
    let config = SgdConfig { eval_every: 3, ..settings(8) };
    let run = |test: Option<&Examples>| fit(&network, &theta, &train, test, &config).unwrap();
    let (with, without) = (run(Some(&train)).history, run(None).history);
    let evaluated = |epochs: &[entk_train::EpochRecord]| {
        epochs.iter().filter(|e| e.train.is_some()).map(|e| e.epoch).collect::<Vec<_>>()
    };
    assert_eq!(evaluated(&with.epochs), [3, 6, 8]);
    assert_eq!(evaluated(&without.epochs), [3, 6, 8]);
    assert!(with.epochs.iter().all(|e| e.test == e.train));
    assert!(without.epochs.iter().all(|e| e.test.is_none()));
    assert!(with.epochs.iter().all(|e| e.minibatch_loss.is_finite() && e.distance.l2 > 0.0));
    // Measuring does not change training.
    let every = fit(&network, &theta, &train, None, &settings(8)).unwrap();
    assert_eq!(flat(&every.params), flat(&run(None).params));
    // The first evaluated epoch at or below the threshold; a NaN threshold is never reached.
    let losses: Vec<f64> = every.history.epochs.iter().map(|e| e.train.unwrap().loss).collect();
    assert_eq!(every.history.convergence_epoch(losses[3]), Some(4));
    assert_eq!(with.convergence_epoch(losses[3]), Some(6));
    assert_eq!(with.convergence_epoch(0.0), None);
    assert_eq!(with.convergence_epoch(f64::NAN), None);
}

/// The identity, with a statistic that counts the examples of training passes.
#[derive(Debug)]
struct Count;

impl Operation for Count {
    /// Examples, and how many were seen before.
    type Cache = (usize, Tensor);

    fn output_shape(&self, inputs: &[&[usize]]) -> ModelResult<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> ModelResult<(Tensor, Self::Cache)> {
        Ok((inputs[0].clone(), (inputs[0].dim(0)?, inputs[1].clone())))
    }

    fn jvp(&self, _: &Self::Cache, tangents: &[Option<&Tensor>]) -> ModelResult<Tensor> {
        Ok(only_tangent(tangents)?.clone())
    }

    fn vjp(&self, _: &Self::Cache, dy: &Tensor, _: &[bool]) -> ModelResult<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.clone()), None])
    }

    fn takes_shared(&self, input: usize) -> bool {
        input == 1
    }

    fn new_statistics(&self, (batch, seen): &Self::Cache) -> ModelResult<Vec<(usize, Tensor)>> {
        Ok(vec![(1, (seen + *batch as f64)?)])
    }
}

/// Writes a [`Count`].
#[derive(Debug)]
struct Counter;

impl Layer for Counter {
    fn add_to(&self, graph: &mut Graph, x: Value) -> ModelResult<Value> {
        let seen = graph.parameter(ParamSpec::statistic("seen", &[1], Initializer::Zeros))?;
        graph.apply(Count, &[x, seen])
    }
}

#[test]
fn statistics_follow_the_training_passes_alone() {
    let layers = Sequential::new().then(Counter).then(Flatten).then(Dense::new("line", 4, 1));
    let counting = Network::new(&[1, 2, 2], layers).unwrap();
    let plain = line([1, 2, 2]);
    let train = separable([40, 1, 2, 2], 0.5, DType::F64, 2);
    let run = |network: &Network| {
        fit(network, &start(network, DType::F64), &train, Some(&train), &settings(3))
            .unwrap()
            .params
    };
    let trained = run(&counting);
    let seen = trained.statistic("seen").unwrap().to_vec1::<f64>().unwrap();
    // Three epochs of two minibatches of 16; evaluation adds nothing.
    assert_eq!(seen, [96.0]);
    assert_eq!(flat(&trained), flat(&run(&plain)));
}

/// The step of a network with batch norms is that of all 48 examples at once, more than others are
/// swept in.
#[test]
fn batch_norms_see_the_whole_minibatch() {
    let network = resnet([1, 8, 8]);
    let theta = start(&network, DType::F64);
    let task = separable([48, 1, 8, 8], 0.1, DType::F64, 4);
    let config = SgdConfig { batch: 48, epochs: 1, momentum: 0.0, ..SgdConfig::default() };
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();
    let sweep = network.training_sweep(&theta, task.inputs()).unwrap();
    let z = sweep.outputs().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let u =
        z.iter().zip(labels(&task)).map(|(z, y)| (1.0 / (1.0 + (-z).exp()) - f64::from(*y)) / 48.0);
    let u = Tensor::from_vec(u.collect::<Vec<_>>(), (48, 1), test_device()).unwrap();
    let expected = sweep.vjp(&u).unwrap().scale(-config.learning_rate).unwrap();
    let moved = fitted.params.sub(&theta).unwrap();
    // Sums of 48 examples in another order, through 18 layers.
    let error = relative_error(&flat(&moved), &flat(&expected));
    assert!(error <= 1e-9, "{error:e}");
}
