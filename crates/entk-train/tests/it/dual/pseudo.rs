//! One kernel for all outputs: where it is exact, and against the full kernel that it stands for.

use candle_core::{DType, Tensor};
use entk_models::{Dense, Flatten, Network, Sequential};
use entk_spectral::{CrossGram, Gram};
use entk_testing::{normals, relative_error, test_device};
use entk_train::{
    DualSgd, Examples, KernelOutputs, Loss, Optimizer, Schedule, SgdConfig, Targets, WeightDecay,
    fit, logits,
};

use super::on_a_gram::Read;
use crate::tasks::start;

/// A hundred steps of a few roundings each.
const EXACT: f64 = 1e-12;

const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
const C: usize = 3;
const TRAIN: usize = 43;
const ALL: usize = 54;

/// `1 + x . x'` for normal inputs of width 4, times `factor`.
fn kernel(rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, factor: f64) -> Vec<f64> {
    let x = normals(4 * ALL, 3);
    let dot = |i: usize, j: usize| -> f64 {
        (0..4).map(|k| x[4 * i + k] * x[4 * j + k]).sum::<f64>() + 1.0
    };
    rows.flat_map(|i| columns.clone().map(move |j| (i, j)))
        .map(|(i, j)| factor * dot(i, j))
        .collect()
}

fn gram(factor: f64) -> Gram {
    Gram::from_lower_f64(ALL, kernel(0..ALL, 0..ALL, factor)).unwrap()
}

/// scale K (x) I_C.
fn full(gram: &Gram, scale: f64) -> Gram {
    let n = gram.n() * C;
    let entry = |i: usize, j: usize| {
        if i % C == j % C { scale * gram.get(i / C, j / C) } else { 0.0 }
    };
    let entries = (0..n).flat_map(|i| (0..n).map(move |j| entry(i, j))).collect();
    Gram::from_lower_f64(n, entries).unwrap()
}

fn classes(task: u32) -> Targets {
    let label = |n: u32| (n * n + task * n) % C as u32;
    Targets::classes((0..ALL as u32).map(label).collect(), C).unwrap()
}

fn settings() -> SgdConfig {
    SgdConfig { loss: SOFTMAX, batch: 16, epochs: 5, ..SgdConfig::default() }
}

/// The kernel of z = W x + b is K (x) I_C: the trace and the sum of logits are C times one class.
#[test]
fn it_is_exact_for_a_dense_layer() {
    let layers = Sequential::new().then(Flatten).then(Dense::new("line", 4, C));
    let network = Network::new(&[1, 1, 4], layers).unwrap();
    let theta = start(&network, DType::F64);
    let x = Tensor::from_vec(normals(4 * ALL, 3), (ALL, 1, 1, 4), test_device()).unwrap();
    let f0 = logits(&network, &theta, &x, ALL).unwrap();
    let train = Examples::new(
        x.narrow(0, 0, TRAIN).unwrap(),
        classes(1).select(&(0..TRAIN as u32).collect::<Vec<_>>()),
    )
    .unwrap();
    let weight = fit(&network, &theta, &train, None, &settings()).unwrap();
    let z = logits(&network, &weight.params, &x, ALL).unwrap();
    for (factor, scale) in [(C as f64, 1.0 / C as f64), (1.0, 1.0)] {
        let gram = gram(factor);
        let outputs = KernelOutputs::Pseudo { outputs: C, scale };
        let dual = DualSgd::with_outputs(&gram, outputs, TRAIN, &f0).unwrap();
        let fitted = dual.fit(&[classes(1)], &settings()).unwrap().swap_remove(0);
        assert!(relative_error(&fitted.logits, &z) <= EXACT);
        let (a, b) = (fitted.history.last().unwrap(), weight.history.last().unwrap());
        assert!((a.distance.l2 - b.distance.l2).abs() <= EXACT * b.distance.l2);
        assert!((a.train.unwrap().loss - b.train.unwrap().loss).abs() <= EXACT);
    }
}

#[test]
fn it_is_the_full_kernel_that_it_stands_for() {
    let gram = gram(1.0);
    let whole = full(&gram, 0.5);
    let f0 = normals(ALL * C, 8);
    let pseudo = KernelOutputs::Pseudo { outputs: C, scale: 0.5 };
    let dual = DualSgd::with_outputs(&gram, pseudo, TRAIN, &f0).unwrap();
    let exact =
        DualSgd::with_outputs(&whole, KernelOutputs::Full { outputs: C }, TRAIN, &f0).unwrap();
    let nesterov = SgdConfig {
        optimizer: Optimizer::Nesterov,
        decay: WeightDecay::FromStart(0.2),
        schedule: Schedule::Cosine,
        class_weights: vec![0.5, 1.0, 3.0],
        loss: Loss::SoftmaxCrossEntropy { label_smoothing: 0.2 },
        ..settings()
    };
    let squared = SgdConfig { loss: Loss::Squared, learning_rate: 0.01, ..settings() };
    let tasks: Vec<Targets> = (0..5).map(classes).collect();
    let read = Read(gram.clone());
    let read = DualSgd::with_outputs(&read, pseudo, TRAIN, &f0).unwrap();
    for config in [settings(), nesterov, squared] {
        let fits = dual.fit(&tasks, &config).unwrap();
        for (a, b) in fits.iter().zip(exact.fit(&tasks, &config).unwrap()) {
            assert!(relative_error(&a.coefficients, &b.coefficients) <= EXACT);
            assert!(relative_error(&a.logits, &b.logits) <= EXACT);
            let (a, b) = (a.history.last().unwrap(), b.history.last().unwrap());
            assert!((a.distance.l2 - b.distance.l2).abs() <= EXACT * b.distance.l2);
            assert_eq!(a.test.unwrap().accuracy, b.test.unwrap().accuracy);
        }
        assert_eq!(read.fit(&tasks, &config).unwrap(), fits);
        let (a, b) = (dual.stability(&config).unwrap(), exact.stability(&config).unwrap());
        // Power iteration ends where its estimate grows by less than 1e-6.
        assert!((a.limit / b.limit - 1.0).abs() <= 1e-4, "{a:?}, {b:?}");
    }

    let train = Gram::from_lower_f64(TRAIN, kernel(0..TRAIN, 0..TRAIN, 1.0)).unwrap();
    let entries = kernel(TRAIN..ALL, 0..TRAIN, 1.0);
    let cross = CrossGram::from_f64(ALL - TRAIN, TRAIN, entries).unwrap();
    let crossed = DualSgd::with_outputs_and_cross(&train, pseudo, &cross, &f0).unwrap();
    let fits = dual.fit(&tasks, &settings()).unwrap();
    for (a, b) in crossed.fit(&tasks, &settings()).unwrap().iter().zip(&fits) {
        assert_eq!(a.coefficients, b.coefficients);
        assert!(relative_error(&a.logits, &b.logits) <= EXACT);
    }
}

/// Two equal logits: the Hessian of the softmax has the eigenvalue 1/2, and 2 (1 + 0.9) / (8/2) is
/// the limit on a kernel of 8.
#[test]
fn the_curvature_of_the_softmax_is_a_half() {
    let gram = Gram::from_lower_f64(1, vec![8.0]).unwrap();
    let outputs = KernelOutputs::Pseudo { outputs: 2, scale: 1.0 };
    let dual = DualSgd::with_outputs(&gram, outputs, 1, &[0.0; 2]).unwrap();
    let config = SgdConfig { batch: 1, ..settings() };
    let stability = dual.stability(&config).unwrap();
    assert!((stability.limit - 0.95).abs() <= EXACT, "{stability:?}");
    // Outputs of half the size: half the kernel of each.
    let halved = KernelOutputs::Pseudo { outputs: 2, scale: 0.5 };
    let halved = DualSgd::with_outputs(&gram, halved, 1, &[0.0; 2]).unwrap();
    let twice = halved.stability(&config).unwrap().limit;
    assert!((twice / stability.limit - 2.0).abs() <= EXACT, "{twice}");
    let targets = Targets::classes(vec![0], 2).unwrap();
    let h = 1e-5;
    let slope = |z: f64| SOFTMAX.cotangent(&[z, -z], &targets).unwrap()[0];
    // Along (1, -1) / 2^(1/2) the second derivative is the difference of the first entry.
    let curvature = (slope(h) - slope(-h)) / (2.0 * h);
    assert!((curvature - 0.5).abs() <= h, "{curvature}");
    let weighted = SgdConfig { class_weights: vec![1.0, 4.0], ..config };
    let bound = dual.stability(&weighted).unwrap();
    assert!((stability.limit / bound.limit - 4.0).abs() <= EXACT);
}
