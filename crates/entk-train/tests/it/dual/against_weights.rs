//! SGD in coefficient space against SGD in weight space.

use candle_core::DType;
use entk_linearize::{Jacobian, Linearized};
use entk_models::{Activation, Model, Network, Params};
use entk_spectral::{CrossGram, Gram};
use entk_testing::relative_error;
use entk_train::{
    AdamConfig, DualFit, DualSgd, EpochRecord, Examples, Fit, Loss, Optimizer, Schedule, SgdConfig,
    TrainError, WeightDecay, fit, logits,
};

use super::{EXACT, settings};
use crate::tasks::{flat, labels, lenet, mlp, resnet, separable, start};

/// With an f32 kernel and an f32 network: of the scale of the logits.
const SINGLE: f64 = 1e-3;

/// 83 training examples, which leave an incomplete minibatch, and 21 test examples.
const TRAIN: usize = 83;
const TEST: usize = 21;

struct Case {
    network: Network,
    theta0: Params,
    /// Training examples and then test examples.
    all: Examples,
    /// f(theta_0, x) of all.
    f0: Vec<f64>,
    /// Their gradients, one after the other.
    jacobian: Vec<Vec<f64>>,
}

impl Case {
    fn new(network: Network, dtype: DType) -> Self {
        let theta0 = start(&network, dtype);
        let all = separable([TRAIN + TEST, 1, 8, 8], 0.5, dtype, 2);
        let f0 = logits(&network, &theta0, all.inputs(), 128).unwrap();
        let gradient = |i: usize| {
            let sweep = network.sweep(&theta0, &all.inputs().narrow(0, i, 1).unwrap()).unwrap();
            flat(&sweep.vjp(&sweep.outputs().ones_like().unwrap()).unwrap())
        };
        let jacobian = (0..TRAIN + TEST).map(gradient).collect();
        Self { network, theta0, all, f0, jacobian }
    }

    fn kernel(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Vec<f64> {
        let dot = |i: usize, j: usize| {
            self.jacobian[i].iter().zip(&self.jacobian[j]).map(|(a, b)| a * b).sum()
        };
        rows.flat_map(|i| cols.clone().map(move |j| dot(i, j))).collect()
    }

    fn gram(&self) -> Gram {
        Gram::from_lower_f64(TRAIN + TEST, self.kernel(0..TRAIN + TEST, 0..TRAIN + TEST)).unwrap()
    }

    fn gram_f32(&self) -> Gram {
        let entries = self.kernel(0..TRAIN + TEST, 0..TRAIN + TEST);
        Gram::from_lower_f32(TRAIN + TEST, entries.iter().map(|&k| k as f32).collect()).unwrap()
    }

    fn part(&self, labels: &[u8], first: usize, count: usize) -> Examples {
        let x = self.all.inputs().narrow(0, first, count).unwrap();
        Examples::new(x, labels[first..first + count].to_vec()).unwrap()
    }

    /// What weight space says: the fit and the logits of all examples after it.
    fn in_weight_space(&self, labels: &[u8], offset: bool, config: &SgdConfig) -> (Fit, Vec<f64>) {
        let linear = Linearized::new(&self.network, self.theta0.clone());
        let linear = if offset { linear } else { linear.without_offset() };
        let (train, test) = (self.part(labels, 0, TRAIN), self.part(labels, TRAIN, TEST));
        let fitted = fit(&linear, &self.theta0, &train, Some(&test), config).unwrap();
        let z = logits(&linear, &fitted.params, self.all.inputs(), 128).unwrap();
        (fitted, z)
    }
}

/// The labels of the case itself, and two targets that have nothing to do with the inputs.
fn targets(case: &Case) -> Vec<Vec<u8>> {
    let count = TRAIN + TEST;
    let periodic = |period: usize| (0..count).map(|i| u8::from(i % period == 0)).collect();
    vec![labels(&case.all).to_vec(), periodic(2), periodic(3)]
}

fn networks() -> [Network; 3] {
    [mlp([1, 8, 8], &[12, 10], Activation::Relu), lenet([1, 8, 8]), resnet([1, 8, 8])]
}

fn assert_same_history(dual: &DualFit, weight: &Fit, tolerance: f64) {
    let (a, b) = (&dual.history.epochs, &weight.history.epochs);
    assert_eq!(a.len(), b.len());
    let close = |x: f64, y: f64| assert!((x - y).abs() <= tolerance * y.abs(), "{x}, {y}");
    for (a, b) in a.iter().zip(b) {
        assert_eq!((a.epoch, a.learning_rate), (b.epoch, b.learning_rate));
        close(a.minibatch_loss, b.minibatch_loss);
        close(a.distance.l2, b.distance.l2);
        assert_eq!(a.distance.cosine, None);
        assert_eq!((a.train.is_some(), a.test.is_some()), (b.train.is_some(), b.test.is_some()));
        for (a, b) in a.train.iter().zip(&b.train).chain(a.test.iter().zip(&b.test)) {
            close(a.loss, b.loss);
            assert_eq!(a.accuracy, b.accuracy);
        }
    }
}

#[test]
fn coefficient_space_is_weight_space() {
    for (network, offset) in networks().into_iter().zip([true, false, true]) {
        let case = Case::new(network, DType::F64);
        let f0 = if offset { case.f0.clone() } else { vec![0.0; TRAIN + TEST] };
        let (gram, targets) = (case.gram(), targets(&case));
        let config = SgdConfig { eval_every: 2, ..settings() };
        let fits = DualSgd::new(&gram, TRAIN, &f0).unwrap().fit(&targets, &config).unwrap();
        for (dual, labels) in fits.iter().zip(&targets) {
            let (weight, z) = case.in_weight_space(labels, offset, &config);
            assert!(relative_error(&dual.logits, &z) <= EXACT);
            assert_same_history(dual, &weight, EXACT);

            let x = case.all.inputs().narrow(0, 0, TRAIN).unwrap();
            let jacobian = Jacobian::new(&case.network, &case.theta0, &x).unwrap();
            let moved = jacobian.vjp(&dual.coefficients).unwrap();
            let expected = weight.params.sub(&case.theta0).unwrap();
            assert!(relative_error(&flat(&moved), &flat(&expected)) <= EXACT);
        }
    }
}

/// Nesterov, decay from the start and the squared loss, in both spaces.
#[test]
fn every_linear_rule_is_the_same_in_both_spaces() {
    let case = Case::new(lenet([1, 8, 8]), DType::F64);
    let (gram, labels) = (case.gram(), labels(&case.all));
    let dual = DualSgd::new(&gram, TRAIN, &case.f0).unwrap();
    let nesterov = SgdConfig { optimizer: Optimizer::Nesterov, learning_rate: 0.01, ..settings() };
    let decay = SgdConfig { decay: WeightDecay::FromStart(0.3), ..settings() };
    let squared = SgdConfig { loss: Loss::Squared, learning_rate: 0.002, ..settings() };
    let all = SgdConfig {
        optimizer: Optimizer::Nesterov,
        decay: WeightDecay::FromStart(0.3),
        schedule: Schedule::Cosine,
        ..squared.clone()
    };
    for config in [nesterov, decay, squared, all] {
        let fits = dual.fit(&[labels], &config).unwrap();
        let (weight, z) = case.in_weight_space(labels, true, &config);
        let error = relative_error(&fits[0].logits, &z);
        assert!(error <= EXACT, "{config:?}: {error:e}");
        assert_same_history(&fits[0], &weight, EXACT);
    }
    let adam = SgdConfig { optimizer: Optimizer::Adam(AdamConfig::default()), ..settings() };
    let weights = SgdConfig { decay: WeightDecay::Weights(0.1), ..settings() };
    for config in [adam, weights] {
        assert!(matches!(dual.fit(&[labels], &config), Err(TrainError::NotDual { .. })));
        assert!(matches!(dual.stability(&config), Err(TrainError::NotDual { .. })));
    }
}

#[test]
fn an_f32_kernel_follows_an_f32_network() {
    for network in networks() {
        let case = Case::new(network, DType::F32);
        let gram = case.gram_f32();
        let labels = labels(&case.all);
        let dual = DualSgd::new(&gram, TRAIN, &case.f0).unwrap();
        let fits = dual.fit(&[labels], &settings()).unwrap();
        let (weight, z) = case.in_weight_space(labels, true, &settings());
        let scale = z.iter().fold(0f64, |s, z| s.max(z.abs()));
        for (a, b) in fits[0].logits.iter().zip(&z) {
            assert!((a - b).abs() <= SINGLE * scale, "{a}, {b}, scale {scale}");
        }
        let l2 = |epochs: &[EpochRecord]| epochs.last().unwrap().distance.l2;
        let (a, b) = (l2(&fits[0].history.epochs), l2(&weight.history.epochs));
        assert!((a - b).abs() <= SINGLE * b, "{a}, {b}");
    }
}

#[test]
fn a_cross_kernel_is_part_of_a_joint_one() {
    let case = Case::new(lenet([1, 8, 8]), DType::F64);
    let (joint, targets) = (case.gram(), targets(&case));
    let train = Gram::from_lower_f64(TRAIN, case.kernel(0..TRAIN, 0..TRAIN)).unwrap();
    let all = 0..TRAIN + TEST;
    let cross = CrossGram::from_f64(TEST, TRAIN, case.kernel(TRAIN..all.end, 0..TRAIN)).unwrap();
    let run = |dual: DualSgd<'_>| dual.fit(&targets, &settings()).unwrap();
    let a = run(DualSgd::new(&joint, TRAIN, &case.f0).unwrap());
    let b = run(DualSgd::with_cross(&train, &cross, &case.f0).unwrap());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.coefficients, b.coefficients);
        assert!(relative_error(&a.logits, &b.logits) <= EXACT);
    }
    // Without test examples training is the same.
    let labels: Vec<_> = targets.iter().map(|labels| labels[..TRAIN].to_vec()).collect();
    let alone = DualSgd::new(&train, TRAIN, &case.f0[..TRAIN]).unwrap();
    let alone = alone.fit(&labels, &settings()).unwrap();
    for (a, b) in a.iter().zip(&alone) {
        assert_eq!(a.coefficients, b.coefficients);
        assert_eq!(a.logits[..TRAIN], b.logits);
        assert!(b.history.epochs.iter().all(|epoch| epoch.test.is_none()));
    }
}
