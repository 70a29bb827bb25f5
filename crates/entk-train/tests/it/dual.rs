//! SGD in coefficient space against SGD in weight space, and its own properties.

use std::ops::ControlFlow;

use candle_core::DType;
use entk_linearize::{Jacobian, Linearized};
use entk_models::{Activation, Model, Network, Params};
use entk_spectral::{CrossGram, Entries, Gram, KernelRows, SpectralError};
use entk_train::{
    AdamConfig, DualFit, DualSgd, EpochRecord, Examples, Fit, Loss, Optimizer, Outcome, Schedule,
    SgdConfig, TrainError, WeightDecay, fit, logits,
};

use crate::tasks::{flat, lenet, mlp, relative_error, resnet, separable, start};

/// Equality of two exact computations of a few hundred steps in f64: 1e-10 of the norm is 4e5 units
/// of round-off, room for what 3 epochs of a kernel with entries of size 100 amplify.
const EXACT: f64 = 1e-10;
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

fn settings() -> SgdConfig {
    SgdConfig { batch: 16, epochs: 5, learning_rate: 0.02, ..SgdConfig::default() }
}

/// The labels of the case itself, and two targets that have nothing to do with the inputs.
fn targets(case: &Case) -> Vec<Vec<u8>> {
    let count = TRAIN + TEST;
    let periodic = |period: usize| (0..count).map(|i| u8::from(i % period == 0)).collect();
    vec![case.all.labels().to_vec(), periodic(2), periodic(3)]
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
            close(a.accuracy, b.accuracy);
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
    let (gram, labels) = (case.gram(), case.all.labels());
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

/// With f_0 = -1 everywhere the labels 0 are learnt from the start, and only the other target
/// moves.
#[test]
fn the_target_that_diverges_is_named() {
    let (n, gram) = wide_gram();
    let f0 = vec![-1.0; n];
    let config = SgdConfig { learning_rate: 1e300, loss: Loss::Squared, ..settings() };
    let dual = DualSgd::new(&gram, n, &f0).unwrap();
    assert!(dual.fit(&[vec![0; n]], &config).is_ok());
    let error = dual.fit(&[vec![0; n], vec![1; n]], &config).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { target: Some(1), .. }), "{error:?}");
    assert!(error.to_string().starts_with("training of target 1 diverged"), "{error}");
}

/// On a quadratic the limit is where runs begin to grow.
#[test]
fn the_stability_limit_separates_decay_from_growth() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i % 2 == 0)).collect();
    let dual = DualSgd::new(&gram, n, &f0).unwrap();
    let base = SgdConfig {
        batch: n,
        epochs: 300,
        eval_every: 300,
        loss: Loss::Squared,
        schedule: Schedule::Constant,
        ..settings()
    };
    for optimizer in [Optimizer::HeavyBall, Optimizer::Nesterov] {
        let limit = dual.stability(&SgdConfig { optimizer, ..base.clone() }).unwrap().limit;
        let end = |share: f64| {
            let config = SgdConfig { optimizer, learning_rate: share * limit, ..base.clone() };
            assert_eq!(dual.stability(&config).unwrap().is_stable(), share < 1.0);
            dual.fit(&[&labels], &config).map(|f| f[0].history.epochs[299].minibatch_loss)
        };
        // At rest the loss is 1/2; 300 steps 2 % beyond the limit grow by orders of magnitude.
        let (below, beyond) = (end(0.98).unwrap(), end(1.02));
        assert!(below < 0.5, "{below}");
        assert!(beyond.as_ref().map_or(true, |&loss| loss > 1.0), "{beyond:?}");
    }
}

#[test]
fn many_targets_stop_once_all_have_converged() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let targets: Vec<Vec<u8>> =
        [1, 40].iter().map(|p| (0..n).map(|i| u8::from(i / p % 2 == 0)).collect()).collect();
    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let whole = dual.fit(&targets, &settings()).unwrap();
    let loss = |k: usize, epoch: usize| whole[k].history.epochs[epoch].train.unwrap().loss;
    let config = SgdConfig { stop_at_loss: Some(loss(0, 2).max(loss(1, 2))), ..settings() };
    let fits = dual.fit(&targets, &config).unwrap();
    assert!(fits.iter().all(|fit| fit.history.outcome == Outcome::Converged));
    assert!(fits.iter().all(|fit| fit.history.epochs.len() <= 3));
}

#[test]
fn an_f32_kernel_follows_an_f32_network() {
    for network in networks() {
        let case = Case::new(network, DType::F32);
        let gram = case.gram_f32();
        let labels = case.all.labels();
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

/// Random features of 700 samples, so that there are several panels and tiles.
fn wide_gram() -> (usize, Gram) {
    let (n, width) = (700, 5);
    let x = crate::tasks::normals(n * width, 4);
    let x: Vec<&[f64]> = x.chunks(width).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    let entries = x.iter().flat_map(|a| x.iter().map(move |b| dot(a, b))).collect();
    (n, Gram::from_lower_f64(n, entries).unwrap())
}

/// The recurrence as its documentation states it, with dense coefficients and products.
fn by_definition(gram: &Gram, n: usize, labels: &[u8], config: &SgdConfig) -> Vec<f64> {
    let batches = entk_train::Minibatches::new(n, config.batch, config.seed).unwrap();
    let steps = config.epochs * batches.per_epoch();
    let (mut a, mut b) = (vec![0.0; gram.n()], vec![0.0; gram.n()]);
    let mut t = 0;
    for epoch in 1..=config.epochs {
        for batch in batches.epoch(epoch).iter() {
            let z = gram.matvec(&a).unwrap();
            b.iter_mut().for_each(|b| *b *= config.momentum);
            for &i in batch {
                let i = i as usize;
                let s = 1.0 / (1.0 + (-z[i]).exp());
                b[i] += (s - f64::from(labels[i])) / batch.len() as f64;
            }
            let rate = config.learning_rate * config.schedule.factor(t, steps);
            a.iter_mut().zip(&b).for_each(|(a, b)| *a -= rate * b);
            t += 1;
        }
    }
    a
}

#[test]
fn any_number_of_targets_is_trained_as_each_alone() {
    let (n, gram) = wide_gram();
    let (train, config) = (600, SgdConfig { batch: 150, epochs: 4, ..settings() });
    let targets: Vec<Vec<u8>> =
        (1..=19).map(|period| (0..n).map(|i| u8::from(i / period % 2 == 0)).collect()).collect();
    let f0 = vec![0.0; n];
    let dual = DualSgd::new(&gram, train, &f0).unwrap();
    for count in [1, 2, 7, 8, 19] {
        let fits = dual.fit(&targets[..count], &config).unwrap();
        for (fit, labels) in fits.iter().zip(&targets) {
            let mut expected = by_definition(&gram, train, labels, &config);
            let z = gram.matvec(&expected).unwrap();
            expected.truncate(train);
            assert!(relative_error(&fit.coefficients, &expected) <= EXACT);
            assert!(relative_error(&fit.logits, &z) <= EXACT);
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let (n, gram) = wide_gram();
    let labels: Vec<Vec<u8>> =
        (1..=9).map(|period| (0..n).map(|i| u8::from(i / period % 2 == 0)).collect()).collect();
    let f0 = vec![0.0; n];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dual = DualSgd::new(&gram, 600, &f0).unwrap();
        pool.install(|| dual.fit(&labels, &settings()).unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

/// A kernel that has to read its rows.
#[derive(Debug)]
struct Read(Gram);

impl KernelRows for Read {
    fn n(&self) -> usize {
        self.0.n()
    }

    fn rows<'a>(
        &'a self,
        indices: &[u32],
        buffer: &'a mut Vec<f64>,
    ) -> Result<Vec<Entries<'a>>, SpectralError> {
        let row = |&index: &u32| self.0.row(index as usize).to_f64_vec();
        *buffer = indices.iter().flat_map(row).collect();
        Ok(buffer.chunks_exact(self.0.n()).map(Entries::F64).collect())
    }
}

/// Cannot be read at all.
#[derive(Debug)]
struct Unreadable(usize);

impl KernelRows for Unreadable {
    fn n(&self) -> usize {
        self.0
    }

    fn rows<'a>(
        &'a self,
        _: &[u32],
        _: &'a mut Vec<f64>,
    ) -> Result<Vec<Entries<'a>>, SpectralError> {
        Err(SpectralError::Operator { reason: "the disk is gone".into() })
    }
}

#[test]
fn a_kernel_read_row_by_row_gives_the_same_bits() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let targets: Vec<Vec<u8>> =
        (0..2).map(|t| (0..n).map(|i| u8::from((i + t).is_multiple_of(3))).collect()).collect();
    let read = Read(gram.clone());
    for train in [600, n] {
        let run = |kernel: &dyn KernelRows| {
            let dual = DualSgd::new(kernel, train, &f0).unwrap();
            let stability = dual.stability(&settings()).unwrap();
            (dual.fit(&targets, &settings()).unwrap(), stability)
        };
        assert_eq!(run(&gram), run(&read));
    }
    let lost = Unreadable(n);
    let dual = DualSgd::new(&lost, 600, &f0).unwrap();
    for error in [
        dual.fit(&targets, &settings()).map(|_| ()).unwrap_err(),
        dual.stability(&settings()).map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
}

#[test]
fn the_callback_sees_all_targets_and_may_stop() {
    let (n, gram) = wide_gram();
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i % 2 == 0)).collect();
    let f0 = vec![0.0; n];
    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let mut seen = 0;
    let fits = dual
        .fit_observed(&[&labels, &labels], &settings(), |records| {
            seen += records.len();
            if records[0].epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, 6);
    assert_eq!(fits[0], fits[1]);
    assert_eq!((fits[0].history.epochs.len(), fits[0].history.outcome), (3, Outcome::Stopped));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let labels = vec![0; n];
    let cross = CrossGram::from_f64(1, 2, vec![1.0, 2.0]).unwrap();
    assert!(matches!(DualSgd::new(&gram, 0, &f0), Err(TrainError::Setting { .. })));
    assert!(matches!(DualSgd::new(&gram, n + 1, &f0), Err(TrainError::Setting { .. })));
    assert!(matches!(DualSgd::new(&gram, n, &f0[1..]), Err(TrainError::Count { .. })));
    assert!(matches!(DualSgd::with_cross(&gram, &cross, &f0), Err(TrainError::Count { .. })));
    let mut broken = f0.clone();
    broken[3] = f64::NAN;
    let refused = DualSgd::new(&gram, n, &broken);
    assert!(matches!(refused, Err(TrainError::NonFiniteLogit { index: 3, .. })));

    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let run = |targets: &[&[u8]], config: &SgdConfig| dual.fit(targets, config);
    assert!(matches!(run(&[], &settings()), Err(TrainError::Setting { field: "targets", .. })));
    let short = run(&[&labels, &labels[1..]], &settings());
    assert!(matches!(short, Err(TrainError::Count { what: "labels", .. })));
    let two = vec![2; n];
    assert!(matches!(run(&[&two], &settings()), Err(TrainError::Label { index: 0, value: 2 })));
    let large = SgdConfig { batch: 601, ..settings() };
    assert!(matches!(run(&[&labels], &large), Err(TrainError::TooFewExamples { .. })));
    let fast = SgdConfig { learning_rate: 1e300, ..settings() };
    assert!(matches!(run(&[&labels], &fast), Err(TrainError::Diverged { .. })));
}
