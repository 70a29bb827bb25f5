//! Several outputs in coefficient space, over the full kernel, against weight space.

use candle_core::{DType, Tensor};
use entk_linearize::Linearized;
use entk_models::{Activation, LeNet5Config, Model, Network, Params};
use entk_spectral::{CrossGram, Gram};
use entk_testing::{networks, normals, relative_error, test_device};
use entk_train::{
    DualFit, DualSgd, Examples, Fit, KernelOutputs, Loss, Optimizer, Schedule, SgdConfig, Targets,
    TrainError, WeightDecay, fit, logits,
};
use proptest::{prelude::*, test_runner::RngSeed};

use super::on_a_gram::Read;
use crate::tasks::{flat, start};

/// Two exact computations in f64: a hundred steps of sums over a few thousand numbers.
const EXACT: f64 = 1e-12;

const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };

/// Training examples, which leave an incomplete minibatch of 16, and test examples.
const TRAIN: usize = 43;
const TEST: usize = 11;

struct Case {
    network: Network,
    theta0: Params,
    /// Training examples and then test examples.
    x: Tensor,
    f0: Vec<f64>,
    /// The gradients of all outputs, row n C + c.
    jacobian: Vec<Vec<f64>>,
}

impl Case {
    fn new(network: Network) -> Self {
        let theta0 = start(&network, DType::F64);
        let shape = [&[TRAIN + TEST], network.input_shape()].concat();
        let x = Tensor::from_vec(normals(shape.iter().product(), 2), shape, test_device()).unwrap();
        let f0 = logits(&network, &theta0, &x, 128).unwrap();
        let c = network.outputs();
        let gradient = |row: usize| {
            let sweep = network.sweep(&theta0, &x.narrow(0, row / c, 1).unwrap()).unwrap();
            let mut u = vec![0.0; c];
            u[row % c] = 1.0;
            flat(&sweep.vjp(&Tensor::from_vec(u, (1, c), test_device()).unwrap()).unwrap())
        };
        let jacobian = (0..(TRAIN + TEST) * c).map(gradient).collect();
        Self { network, theta0, x, f0, jacobian }
    }

    fn lenet() -> Self {
        let config = LeNet5Config {
            input: [1, 8, 8],
            hidden: [16, 12],
            outputs: 10,
            ..LeNet5Config::default()
        };
        Self::new(config.network().unwrap())
    }

    fn outputs(&self) -> KernelOutputs {
        KernelOutputs::Full { outputs: self.network.outputs() }
    }

    fn kernel(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Vec<f64> {
        let c = self.network.outputs();
        let dot = |i: usize, j: usize| {
            self.jacobian[i].iter().zip(&self.jacobian[j]).map(|(a, b)| a * b).sum()
        };
        let columns = columns.start * c..columns.end * c;
        (rows.start * c..rows.end * c)
            .flat_map(|i| columns.clone().map(move |j| dot(i, j)))
            .collect()
    }

    fn gram(&self, count: usize) -> Gram {
        let n = count * self.network.outputs();
        Gram::from_lower_f64(n, self.kernel(0..count, 0..count)).unwrap()
    }

    /// Classes that have nothing to do with the inputs.
    fn classes(&self, task: u32) -> Targets {
        let c = self.network.outputs();
        let label = |n: u32| (n * n + 3 * task * n + n / 7) % c as u32;
        Targets::classes((0..(TRAIN + TEST) as u32).map(label).collect(), c).unwrap()
    }

    fn values(&self) -> Targets {
        let c = self.network.outputs();
        Targets::values(normals((TRAIN + TEST) * c, 6), c).unwrap()
    }

    fn part(&self, targets: &Targets, first: usize, count: usize) -> Examples {
        let x = self.x.narrow(0, first, count).unwrap();
        let indices: Vec<u32> = (first as u32..(first + count) as u32).collect();
        Examples::new(x, targets.select(&indices)).unwrap()
    }

    /// What weight space says: the fit and the logits of all examples after it.
    fn in_weight_space(&self, targets: &Targets, config: &SgdConfig) -> (Fit, Vec<f64>) {
        let linear = Linearized::new(&self.network, self.theta0.clone());
        let (train, test) = (self.part(targets, 0, TRAIN), self.part(targets, TRAIN, TEST));
        let fitted = fit(&linear, &self.theta0, &train, Some(&test), config).unwrap();
        let z = logits(&linear, &fitted.params, &self.x, 128).unwrap();
        (fitted, z)
    }

    /// J^T a.
    fn moved(&self, coefficients: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.theta0.count()];
        for (a, row) in coefficients.iter().zip(&self.jacobian) {
            sum.iter_mut().zip(row).for_each(|(sum, g)| *sum += a * g);
        }
        sum
    }

    /// Both spaces agree on logits, parameters and everything that is measured.
    fn check(&self, dual: &DualFit, targets: &Targets, config: &SgdConfig) -> Result<(), String> {
        let (weight, z) = self.in_weight_space(targets, config);
        let moved = flat(&weight.params.sub(&self.theta0).unwrap());
        let errors = [
            relative_error(&dual.logits, &z),
            relative_error(&self.moved(&dual.coefficients), &moved),
        ];
        let near = |a: f64, b: f64| (a - b).abs() <= EXACT * b.abs();
        let same = dual.history.epochs.iter().zip(&weight.history.epochs).all(|(a, b)| {
            let metrics = a.train.iter().zip(&b.train).chain(a.test.iter().zip(&b.test));
            near(a.minibatch_loss, b.minibatch_loss)
                && near(a.distance.l2, b.distance.l2)
                && metrics.clone().count() == 2 * usize::from(b.train.is_some())
                && metrics.clone().all(|(a, b)| near(a.loss, b.loss) && a.accuracy == b.accuracy)
        });
        // An error of NaN fails.
        let exact = errors.iter().all(|error| *error <= EXACT);
        let length = dual.history.epochs.len() == weight.history.epochs.len();
        if exact && same && length {
            Ok(())
        } else {
            Err(format!("{errors:?}, {same}, {config:?}"))
        }
    }
}

fn settings() -> SgdConfig {
    SgdConfig { loss: SOFTMAX, batch: 16, epochs: 5, learning_rate: 0.1, ..SgdConfig::default() }
}

#[test]
fn ten_classes_in_coefficient_space_are_those_in_weight_space() {
    let case = Case::lenet();
    let gram = case.gram(TRAIN + TEST);
    let tasks = [case.classes(0), case.classes(1)];
    let dual = DualSgd::with_outputs(&gram, case.outputs(), TRAIN, &case.f0).unwrap();
    let fits = dual.fit(&tasks, &settings()).unwrap();
    for (fitted, targets) in fits.iter().zip(&tasks) {
        assert_eq!(fitted.coefficients.len(), TRAIN * 10);
        case.check(fitted, targets, &settings()).unwrap();
        let last = fitted.history.last().unwrap();
        assert!(last.distance.l2 > 0.1, "it hardly moved: {last:?}");
        assert!(last.test.unwrap().top5_accuracy.is_some());
    }

    // Each alone, and over rows that are read.
    for (fitted, targets) in fits.iter().zip(&tasks) {
        let alone = dual.fit(&[targets], &settings()).unwrap();
        assert!(relative_error(&alone[0].logits, &fitted.logits) <= EXACT);
        assert!(relative_error(&alone[0].coefficients, &fitted.coefficients) <= EXACT);
    }
    let read = Read(gram.clone());
    let read = DualSgd::with_outputs(&read, case.outputs(), TRAIN, &case.f0).unwrap();
    assert_eq!(read.fit(&tasks, &settings()).unwrap(), fits);
    assert_eq!(read.stability(&settings()).unwrap(), dual.stability(&settings()).unwrap());

    // Test examples from a cross-kernel.
    let (all, train) = (TRAIN + TEST, case.gram(TRAIN));
    let entries = case.kernel(TRAIN..all, 0..TRAIN);
    let cross = CrossGram::from_f64(TEST * 10, TRAIN * 10, entries).unwrap();
    let dual = DualSgd::with_outputs_and_cross(&train, case.outputs(), &cross, &case.f0).unwrap();
    for (a, b) in dual.fit(&tasks, &settings()).unwrap().iter().zip(&fits) {
        assert_eq!(a.coefficients, b.coefficients);
        assert!(relative_error(&a.logits, &b.logits) <= EXACT);
    }
}

#[test]
fn real_targets_in_coefficient_space_are_those_in_weight_space() {
    let case = Case::new(networks::mlp([1, 3, 4], &[9, 7], 3, Activation::Gelu).unwrap());
    let gram = case.gram(TRAIN + TEST);
    let squared = SgdConfig { loss: Loss::Squared, learning_rate: 0.02, ..settings() };
    let config = SgdConfig { epochs: 8, eval_every: 3, ..squared };
    let dual = DualSgd::with_outputs(&gram, case.outputs(), TRAIN, &case.f0).unwrap();
    let fitted = dual.fit(&[case.values()], &config).unwrap().swap_remove(0);
    case.check(&fitted, &case.values(), &config).unwrap();
    let end = fitted.history.last().unwrap().train.unwrap();
    assert!(end.rmse.is_some() && end.r_squared.is_some() && end.accuracy.is_none());
}

fn optimizer() -> impl Strategy<Value = Optimizer> {
    prop_oneof![Just(Optimizer::HeavyBall), Just(Optimizer::Nesterov)]
}

fn decay() -> impl Strategy<Value = WeightDecay> {
    prop_oneof![Just(WeightDecay::None), (0.0..0.5f64).prop_map(WeightDecay::FromStart)]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Squared),
        (0.0..0.5f64).prop_map(|label_smoothing| Loss::SoftmaxCrossEntropy { label_smoothing }),
    ]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![Just(Schedule::Linear), Just(Schedule::Cosine), Just(Schedule::Constant)]
}

prop_compose! {
    fn any_settings()(
        optimizer in optimizer(), decay in decay(), loss in loss(), schedule in schedule(),
        weights in prop::collection::vec(0.2..4.0f64, 3), weighted: bool,
        momentum in 0.0..0.95f64, batch in 1usize..=TRAIN, seed: u64,
    ) -> SgdConfig {
        let class_weights = if weighted { weights } else { vec![] };
        SgdConfig {
            optimizer, decay, loss, schedule, class_weights, momentum, batch, seed,
            epochs: 3, learning_rate: 1e-2, ..SgdConfig::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(17),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_rule_and_loss_is_the_same_in_both_spaces(config in any_settings()) {
        let case = Case::new(networks::mlp([1, 3, 4], &[9, 7], 3, Activation::Gelu).unwrap());
        let gram = case.gram(TRAIN + TEST);
        let dual = DualSgd::with_outputs(&gram, case.outputs(), TRAIN, &case.f0).unwrap();
        let fits = dual.fit(&[case.classes(2)], &config).unwrap();
        prop_assert_eq!(case.check(&fits[0], &case.classes(2), &config), Ok(()));
    }
}

#[test]
fn kernels_and_targets_that_do_not_fit_name_the_remedy() {
    let gram = Gram::from_lower_f64(6, (0..36).map(|at| f64::from(at % 7 == 0)).collect()).unwrap();
    let full = |outputs| KernelOutputs::Full { outputs };
    let refused = |outputs, train, f0: &[f64]| {
        DualSgd::with_outputs(&gram, outputs, train, f0).map(|_| ()).unwrap_err()
    };
    let error = refused(full(4), 1, &[0.0; 6]);
    assert!(matches!(error, TrainError::KernelRows { rows: 6, outputs: 4, .. }), "{error}");
    assert!(error.to_string().contains("give the full kernel"), "{error}");
    assert!(matches!(refused(full(3), 3, &[0.0; 6]), TrainError::Setting { field: "train", .. }));
    assert!(matches!(refused(full(3), 2, &[0.0; 2]), TrainError::Count { expected: 6, .. }));
    assert!(matches!(refused(full(0), 2, &[0.0; 6]), TrainError::Setting { .. }));
    for scale in [0.0, f64::NAN, f64::INFINITY] {
        let pseudo = KernelOutputs::Pseudo { outputs: 2, scale };
        let error = refused(pseudo, 6, &[0.0; 12]);
        assert!(matches!(error, TrainError::Setting { field: "scale", .. }), "{error}");
    }
    let cross = CrossGram::from_f64(4, 6, vec![0.0; 24]).unwrap();
    let error = DualSgd::with_outputs_and_cross(&gram, full(3), &cross, &[0.0; 10]).unwrap_err();
    assert!(error.to_string().contains("cross-Gram has 4 rows"), "{error}");

    let dual = DualSgd::with_outputs(&gram, full(3), 2, &[0.0; 6]).unwrap();
    let config = SgdConfig { batch: 1, ..settings() };
    let classes = |c| Targets::classes(vec![0, 1], c).unwrap();
    let error = dual.fit(&[classes(3), classes(4)], &config).unwrap_err();
    assert!(matches!(error, TrainError::KernelTargets { task: 1, found: 4, expected: 3 }));
    assert!(dual.fit(&[vec![0, 1]], &config).is_err());
    let one_logit = SgdConfig { loss: Loss::SigmoidCrossEntropy, ..config.clone() };
    let error = dual.fit(&[classes(3)], &one_logit).unwrap_err();
    assert!(error.to_string().contains("SoftmaxCrossEntropy"), "{error}");
    let weights = SgdConfig { class_weights: vec![1.0; 2], ..config.clone() };
    let error = dual.fit(&[classes(3)], &weights).unwrap_err();
    assert!(matches!(error, TrainError::ClassWeights { found: 2, expected: 3 }));
    assert!(dual.fit(&[classes(3)], &config).is_ok());
}
