//! Training of several outputs in weight space.

use candle_core::{DType, Tensor};
use entk_models::{Activation, Dense, Flatten, MlpConfig, Model, Network, Sequential};
use entk_testing::{normals, relative_error, test_device};
use entk_train::{
    Examples, Loss, Metrics, Minibatches, SgdConfig, Targets, TrainError, Trainer, evaluate, fit,
    fit_many, logits,
};

use crate::tasks::{flat, start};

/// A hundred steps of a few roundings each.
const ROUND_OFF: f64 = 1e-12;

const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };

/// Normal inputs (n, 1, 1, 4); class 0 where the first number is the largest, and so on.
fn images(n: usize, seed: u64) -> (Vec<f64>, Tensor) {
    let x = normals(4 * n, seed);
    (x.clone(), Tensor::from_vec(x, (n, 1, 1, 4), test_device()).unwrap())
}

fn ranked(n: usize, seed: u64) -> Examples {
    let (pixels, x) = images(n, seed);
    let largest = |row: &[f64]| (0..3).fold(0, |best, c| if row[c] > row[best] { c } else { best });
    let labels = pixels.chunks(4).map(|row| largest(row) as u32).collect();
    Examples::new(x, Targets::classes(labels, 3).unwrap()).unwrap()
}

fn mlp(outputs: usize) -> Network {
    let config = MlpConfig { input: [1, 1, 4], hidden: vec![20], outputs, ..MlpConfig::default() };
    MlpConfig { activation: Activation::Relu, ..config }.network().unwrap()
}

fn settings() -> SgdConfig {
    SgdConfig { loss: SOFTMAX, batch: 16, epochs: 30, ..SgdConfig::default() }
}

#[test]
fn classes_are_learned() {
    let (train, test) = (ranked(200, 1), ranked(100, 2));
    let network = mlp(3);
    let theta = start(&network, DType::F64);
    let fitted = fit(&network, &theta, &train, Some(&test), &settings()).unwrap();
    let end = fitted.history.last().unwrap();
    assert!(end.train.unwrap().accuracy.unwrap() > 0.95, "{end:?}");
    assert!(end.test.unwrap().accuracy.unwrap() > 0.85, "{end:?}");
    assert!(end.test.unwrap().calibration_error.is_some());
    assert_eq!(end.test.unwrap(), evaluate(&network, &fitted.params, &test, 128).unwrap());
    let z = logits(&network, &fitted.params, test.inputs(), 7).unwrap();
    assert_eq!(z.len(), 300);
    let metrics = Metrics::of(&z, test.targets()).unwrap();
    assert_eq!(metrics.accuracy, end.test.unwrap().accuracy);
}

#[test]
fn real_targets_are_learned() {
    let (pixels, x) = images(200, 1);
    let values = pixels.chunks(4).flat_map(|x| [x[0] - x[1], x[2] + 0.5]).collect();
    let train = Examples::new(x, Targets::values(values, 2).unwrap()).unwrap();
    let network = mlp(2);
    let config = SgdConfig { loss: Loss::Squared, epochs: 40, ..settings() };
    let fitted = fit(&network, &start(&network, DType::F64), &train, None, &config).unwrap();
    let end = fitted.history.last().unwrap().train.unwrap();
    assert!(end.r_squared.unwrap() > 0.95, "{end:?}");
    assert_eq!(end.accuracy, None);
}

/// SGD with momentum on z = W x + b by plain loops, softmax and class weights written out.
fn by_hand(task: &Examples, begin: &[f64], config: &SgdConfig, labels: &[u32]) -> Vec<f64> {
    let x = task.inputs().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let batches = Minibatches::new(task.count(), config.batch, config.seed).unwrap();
    let steps = config.epochs * batches.per_epoch();
    let (mut theta, mut v, mut t) = (begin.to_vec(), vec![0.0; begin.len()], 0);
    for epoch in 1..=config.epochs {
        for batch in batches.epoch(epoch).iter() {
            let weight = |n: &u32| config.class_weights[labels[*n as usize] as usize];
            let total: f64 = batch.iter().map(weight).sum();
            let mut g = vec![0.0; theta.len()];
            for n in batch {
                let row = &x[4 * *n as usize..][..4];
                let z = |c: usize| (0..4).map(|k| theta[4 * c + k] * row[k]).sum::<f64>();
                let e: Vec<f64> = (0..3).map(|c| (z(c) + theta[12 + c]).exp()).collect();
                for c in 0..3 {
                    let hot = if labels[*n as usize] as usize == c { 1.0 } else { 0.0 };
                    let u = weight(n) / total * (e[c] / e.iter().sum::<f64>() - hot);
                    (0..4).for_each(|k| g[4 * c + k] += u * row[k]);
                    g[12 + c] += u;
                }
            }
            let rate = config.learning_rate * config.schedule.factor(t, steps);
            t += 1;
            for k in 0..theta.len() {
                v[k] = config.momentum * v[k] + g[k];
                theta[k] -= rate * v[k];
            }
        }
    }
    theta
}

#[test]
fn a_linear_classifier_is_trained_by_its_definition() {
    let layers = Sequential::new().then(Flatten).then(Dense::new("line", 4, 3));
    let network = Network::new(&[1, 1, 4], layers).unwrap();
    let task = ranked(53, 4);
    let theta = start(&network, DType::F64);
    let names: Vec<_> = theta.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["line.weight", "line.bias"]);
    let Targets::Classes { labels, .. } = task.targets() else { panic!("classes") };
    let config = SgdConfig { class_weights: vec![0.5, 2.0, 1.25], epochs: 10, ..settings() };
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();
    let expected = by_hand(&task, &flat(&theta), &config, labels);
    assert!(relative_error(&flat(&fitted.params), &expected) <= ROUND_OFF);
}

/// Convolutional networks sweep a minibatch in chunks of 32, whose loss has one divisor.
#[test]
fn chunks_share_the_weights_of_a_minibatch() {
    let network = crate::tasks::lenet_of(3);
    let theta = start(&network, DType::F64);
    let reuse = network.operations() / (2.0 * theta.count() as f64);
    assert!(reuse >= 4.0, "{reuse}: this network is not swept in chunks");
    let x = Tensor::from_vec(normals(48 * 256, 1), (48, 1, 16, 16), test_device()).unwrap();
    // The classes of the second chunk are not those of the first.
    let labels = (0..48).map(|n| if n < 32 { n % 2 } else { 2 }).collect();
    let task = Examples::new(x, Targets::classes(labels, 3).unwrap()).unwrap();
    let weights = vec![1.0, 3.0, 0.25];
    let config = SgdConfig { class_weights: weights, batch: 48, epochs: 1, ..settings() };
    let fitted = fit(&network, &theta, &task, None, &config).unwrap();
    let z = logits(&network, &theta, task.inputs(), 48).unwrap();
    let u = config.objective().cotangent(&z, task.targets()).unwrap();
    let sweep = network.sweep(&theta, task.inputs()).unwrap();
    let g = sweep.vjp(&Tensor::from_vec(u, (48, 3), test_device()).unwrap()).unwrap();
    let expected = flat(&theta.add_scaled(-config.learning_rate, &g).unwrap());
    assert!(relative_error(&flat(&fitted.params), &expected) <= ROUND_OFF);
}

#[test]
fn many_networks_and_checkpoints_have_the_bits_of_one_run() {
    let network = mlp(3);
    let theta = start(&network, DType::F32);
    let task = |seed| {
        let task = ranked(60, seed);
        let x = task.inputs().to_dtype(DType::F32).unwrap();
        Examples::new(x, task.targets()).unwrap()
    };
    let tasks = [1, 2].map(|seed| (task(seed), Some(task(3))));
    let config = SgdConfig { class_weights: vec![1.0, 2.0, 3.0], epochs: 3, ..settings() };
    let many = fit_many(&network, &theta, &tasks, &config).unwrap();
    for ((train, test), fitted) in tasks.iter().zip(&many) {
        let folder = tempfile::tempdir().unwrap();
        let mut epochs = 0;
        // Interrupted after every epoch.
        let end = loop {
            let test = test.as_ref();
            let mut trainer = Trainer::new(&network, &theta, train, test, &config).unwrap();
            assert_eq!(trainer.resume(&folder).unwrap(), epochs > 0);
            if trainer.step_epoch().unwrap().is_none() {
                break trainer.into_fit();
            }
            trainer.save(&folder).unwrap();
            epochs += 1;
        };
        assert_eq!(epochs, 3);
        assert_eq!(flat(&end.params), flat(&fitted.params));
        assert_eq!(end.history, fitted.history);
        // Another number of classes is another task, though the labels are the same.
        let other = task_of_more_classes(train);
        let wide = mlp(4);
        let params = start(&wide, DType::F32);
        let config = SgdConfig { class_weights: vec![], ..config.clone() };
        let trainer = Trainer::new(&wide, &params, &other, None, &config);
        assert!(matches!(trainer.unwrap().resume(&folder), Err(TrainError::OtherRun { .. })));
    }
}

fn task_of_more_classes(task: &Examples) -> Examples {
    let Targets::Classes { labels, .. } = task.targets() else { panic!("classes") };
    task.with_targets(Targets::classes(labels.clone(), 4).unwrap()).unwrap()
}

#[test]
fn what_does_not_fit_names_the_remedy() {
    let (network, train) = (mlp(3), ranked(40, 1));
    let theta = start(&network, DType::F64);
    let run = |task: &Examples, test: Option<&Examples>, config: &SgdConfig| {
        fit(&network, &theta, task, test, config).unwrap_err().to_string()
    };
    let message = run(&train, None, &SgdConfig { loss: Loss::default(), ..settings() });
    assert!(message.contains("set the loss to SoftmaxCrossEntropy"), "{message}");
    let binary = train.with_targets(vec![0; 40]).unwrap();
    let message = run(&binary, None, &settings());
    assert!(message.contains("set the loss to SigmoidCrossEntropy"), "{message}");
    let message = run(&train, Some(&binary), &settings());
    assert!(message.contains("set the loss to SigmoidCrossEntropy"), "{message}");
    let four = task_of_more_classes(&train);
    for message in [run(&four, None, &settings()), run(&train, Some(&four), &settings())] {
        assert!(message.contains("has 3 outputs and its targets need 4"), "{message}");
        assert!(message.contains("build the model with 4"), "{message}");
    }
    let message = run(&train, None, &SgdConfig { class_weights: vec![1.0; 4], ..settings() });
    assert!(message.contains("4 class weights; expected 3"), "{message}");
    let error = evaluate(&network, &theta, &four, 8).unwrap_err();
    assert!(matches!(error, TrainError::Outputs { found: 3, expected: 4 }));
    let error = train.with_targets(Targets::values(vec![0.0; 81], 3).unwrap()).unwrap_err();
    assert!(matches!(error, TrainError::Count { expected: 40, found: 27, .. }), "{error}");
}
