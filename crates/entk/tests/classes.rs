//! Ten classes through the crates: kernels of several outputs, in memory and stored, and training
//! over them in coefficient space, against training in weight space.

use candle_core::DType;
use entk::{
    gram::{Assembly, GramConfig, Outputs, StoreConfig, cross_gram, gram},
    linearize::{Jacobian, Linearized},
    models::{LeNet5Config, Model},
    spectral::KernelRows,
    train::{DualSgd, Examples, KernelOutputs, Loss, SgdConfig, Targets, fit, logits},
};
use entk_testing::{TestResult, normal, relative_error, test_device};

/// Two exact computations in f64: a few dozen steps of sums over a few thousand numbers.
const EXACT: f64 = 1e-12;

const TRAIN: usize = 40;
const TEST: usize = 9;
const CLASSES: usize = 10;

fn classes() -> Result<Targets, entk::train::TrainError> {
    let label = |n: u32| (n * n + n / 7) % CLASSES as u32;
    Targets::classes((0..(TRAIN + TEST) as u32).map(label).collect(), CLASSES)
}

fn settings() -> SgdConfig {
    let loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
    SgdConfig { loss, batch: 16, epochs: 5, learning_rate: 0.01, ..SgdConfig::default() }
}

#[test]
fn the_full_kernel_trains_as_the_linearization_does() -> TestResult {
    let lenet = LeNet5Config { input: [1, 8, 8], outputs: CLASSES, ..LeNet5Config::default() };
    let network = lenet.network()?;
    let theta = network.init(3, DType::F64, test_device())?;
    let x = normal(&[TRAIN + TEST, 1, 8, 8], 4)?;
    let (train, test) = (x.narrow(0, 0, TRAIN)?, x.narrow(0, TRAIN, TEST)?);
    let f0 = logits(&network, &theta, &x, 16)?;

    let first: Vec<u32> = (0..TRAIN as u32).collect();
    let task = Examples::new(train.clone(), classes()?.select(&first))?;
    let linear = Linearized::new(&network, theta.clone());
    let weight = fit(&linear, &theta, &task, None, &settings())?;
    let z = logits(&linear, &weight.params, &x, 16)?;

    let config = GramConfig { outputs: Outputs::Full, ..GramConfig::default() };
    let full = KernelOutputs::Full { outputs: CLASSES };
    let joint = gram(&network, &theta, &x, &config)?;
    let in_memory = DualSgd::with_outputs(&joint, full, TRAIN, &f0)?;
    let fits = in_memory.fit(&[classes()?], &settings())?;
    assert!(relative_error(&fits[0].logits, &z) <= EXACT);

    // The coefficients are those of the parameters.
    let jacobian = Jacobian::new(&network, &theta, &train)?;
    let moved = jacobian.vjp(&fits[0].coefficients)?;
    let error = moved.sub(&weight.params.sub(&theta)?)?.norm()? / moved.norm()?;
    assert!(error <= EXACT, "{error}");

    // Rows of a store, and test examples through a cross-kernel.
    let folder = tempfile::tempdir()?;
    let store = StoreConfig { edge: 64, ..StoreConfig::default() };
    let stored = Assembly::new(&network, &theta, &x, &config)?.store(folder.path(), &store)?.store;
    let rows = stored.rows()?;
    assert_eq!(rows.n(), (TRAIN + TEST) * CLASSES);
    let over_store = DualSgd::with_outputs(&rows, full, TRAIN, &f0)?;
    assert!(relative_error(&over_store.fit(&[classes()?], &settings())?[0].logits, &z) <= EXACT);
    let own = gram(&network, &theta, &train, &config)?;
    let cross = cross_gram(&network, &theta, &test, &train, &config)?;
    let crossed = DualSgd::with_outputs_and_cross(&own, full, &cross, &f0)?;
    assert!(relative_error(&crossed.fit(&[classes()?], &settings())?[0].logits, &z) <= EXACT);
    Ok(())
}

/// Of all K (x) I_C the trace over C is nearest to the full kernel: the mean of its blocks.
#[test]
fn pseudo_kernels_are_made_of_the_blocks_of_the_full_one() -> TestResult {
    let lenet = LeNet5Config { input: [1, 8, 8], outputs: 3, ..LeNet5Config::default() };
    let network = lenet.network()?;
    let theta = network.init(3, DType::F64, test_device())?;
    let x = normal(&[TRAIN, 1, 8, 8], 4)?;
    let of = |outputs| gram(&network, &theta, &x, &GramConfig { outputs, ..GramConfig::default() });
    let (full, trace, one) = (of(Outputs::Full)?, of(Outputs::Trace)?, of(Outputs::One(2))?);
    let distance = |scale: f64, kernel: &entk::spectral::Gram| {
        let pairs = (0..3 * TRAIN).flat_map(|i| (0..3 * TRAIN).map(move |j| (i, j)));
        let entry = |(i, j): (usize, usize)| {
            let pseudo = if i % 3 == j % 3 { scale * kernel.get(i / 3, j / 3) } else { 0.0 };
            (full.get(i, j) - pseudo).powi(2)
        };
        pairs.map(entry).sum::<f64>().sqrt()
    };
    let nearest = distance(1.0 / 3.0, &trace);
    for (scale, kernel) in [(0.33, &trace), (0.34, &trace), (1.0, &one)] {
        assert!(nearest < distance(scale, kernel));
    }
    let blocks = (0..TRAIN).flat_map(|i| (0..TRAIN).map(move |j| (i, j)));
    for (i, j) in blocks {
        let sum: f64 = (0..3).map(|c| full.get(3 * i + c, 3 * j + c)).sum();
        assert!((sum - trace.get(i, j)).abs() <= EXACT * full.max_abs());
    }
    Ok(())
}
