//! SGD in coefficient space beside SGD in weight space, for the same linearization: 5 epochs of
//! 2,000 standard-normal images by the paper's recipe, LeNet5 and a ResNet18 of 8 filters.
//!
//!     cargo run --release -p entk-benches --example dual [classes]
//!
//! One line a network and precision: the largest difference of a logit over the largest logit, the
//! relative difference of the distances from the start, and the seconds of both; those of the Gram
//! are given apart. Then the time of many targets: LeNet5, 10,000 images, 20 targets, 100 epochs in
//! coefficient space, beside one epoch of one target in weight space.
//!
//! Last, and alone with `classes`: ten classes by softmax, LeNet5 of ten outputs in f32, seconds an
//! epoch and target in weight space, over the full kernel and over trace / 10, for one target and
//! for 20 at once. The full kernel of 5,000 images takes 10 GB.
#![allow(clippy::print_stdout)]

use std::{ops::ControlFlow, time::Instant};

use candle_core::{DType, Device};
use entk::{
    gram::{GramConfig, Outputs, gram},
    linearize::Linearized,
    models::{LeNet5Config, Model, Network, Params, ResNetConfig},
    train::{
        DualSgd, Examples, KernelOutputs, Loss, SgdConfig, Targets, fit, fit_observed, logits,
    },
};
use entk_benches::images;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const IMAGES: usize = 2000;
const BATCH: usize = 128;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("classes") {
        return ten_classes();
    }
    for dtype in [DType::F64, DType::F32] {
        compare("LeNet5", &LeNet5Config::default().network()?, dtype)?;
        let narrow = ResNetConfig { width: 8, ..ResNetConfig::default() };
        compare("ResNet18 of 8 filters", &narrow.network()?, dtype)?;
    }
    many_targets(&LeNet5Config::default().network()?)?;
    ten_classes()
}

const CLASSES: usize = 10;

fn ten_classes() -> Result<()> {
    let config = LeNet5Config { outputs: CLASSES, ..LeNet5Config::default() };
    let network = config.network()?;
    for count in [500, 1000, 2000, 5000] {
        classes_of(&network, count)?;
    }
    Ok(())
}

fn classes_of(network: &Network, count: usize) -> Result<()> {
    let x = images(count, DType::F32)?;
    let theta0 = network.init(0, DType::F32, &Device::Cpu)?;
    let f0 = logits(network, &theta0, &x, BATCH)?;
    let classes = |task: usize| {
        let label = |i: usize| ((i + task).wrapping_mul(40_503) % 10) as u32;
        Targets::classes((0..count).map(label).collect(), CLASSES)
    };
    let targets = (0..20).map(classes).collect::<std::result::Result<Vec<_>, _>>()?;
    let loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
    let config =
        SgdConfig { loss, learning_rate: 1e-3, epochs: 5, eval_every: 5, ..SgdConfig::default() };
    let train = Examples::new(x.clone(), &targets[0])?;
    let weights = epoch_in_weight_space(network, &theta0, &train, &config)?;
    println!("{CLASSES} classes, {count} images: {weights:.3} s an epoch in weight space");

    let pseudo = KernelOutputs::Pseudo { outputs: CLASSES, scale: 1.0 / CLASSES as f64 };
    let whole = KernelOutputs::Full { outputs: CLASSES };
    let kinds = [(Outputs::Trace, pseudo), (Outputs::Full, whole)];
    for (kind, outputs) in kinds {
        let begin = Instant::now();
        let kernel =
            gram(network, &theta0, &x, &GramConfig { outputs: kind, ..Default::default() })?;
        let gram_s = begin.elapsed().as_secs_f64();
        let dual = DualSgd::with_outputs(&kernel, outputs, count, &f0)?;
        let seconds = |tasks: &[Targets]| -> Result<f64> {
            let begin = Instant::now();
            dual.fit(tasks, &config)?;
            Ok(begin.elapsed().as_secs_f64() / (config.epochs * tasks.len()) as f64)
        };
        let (one, many) = (seconds(&targets[..1])?, seconds(&targets)?);
        println!(
            "    {kind:?}: {one:.4} s an epoch for one target ({:.1} times as fast), {many:.4} s each \
             for 20 ({:.1}); Gram {gram_s:.2} s",
            weights / one,
            weights / many
        );
    }
    Ok(())
}

/// Labels without structure.
fn labels(count: usize, task: usize) -> Vec<u8> {
    (0..count).map(|i| u8::from((i + task).wrapping_mul(40_503) % 7 < 3)).collect()
}

fn many_targets(network: &Network) -> Result<()> {
    const IMAGES: usize = 10_000;
    const TARGETS: usize = 20;
    const EPOCHS: usize = 100;
    let x = images(IMAGES, DType::F32)?;
    let theta0 = network.init(0, DType::F32, &Device::Cpu)?;
    let kernel = gram(network, &theta0, &x, &GramConfig::default())?;
    let f0 = logits(network, &theta0, &x, BATCH)?;
    let targets: Vec<Vec<u8>> = (0..TARGETS).map(|task| labels(IMAGES, task)).collect();
    let config = SgdConfig {
        learning_rate: 0.01,
        epochs: EPOCHS,
        eval_every: EPOCHS,
        ..SgdConfig::default()
    };
    let begin = Instant::now();
    let dual = DualSgd::new(&kernel, IMAGES, &f0)?;
    dual.fit(&targets, &config)?;
    let dual_s = begin.elapsed().as_secs_f64();

    let train = Examples::new(x, targets[0].clone())?;
    // The first one warms up; the last one is evaluated.
    let config = SgdConfig { epochs: 5, eval_every: 5, ..config };
    let epoch = epoch_in_weight_space(network, &theta0, &train, &config)?;
    let share = dual_s / (EPOCHS * TARGETS) as f64;
    println!(
        "LeNet5, {IMAGES} images: {TARGETS} targets for {EPOCHS} epochs {dual_s:.2} s, one target's epoch in weight space \
         {epoch:.3} s: {:.0} times that of one target's in coefficient space",
        epoch / share
    );
    Ok(())
}

/// Seconds of an epoch of the linearization: the median of three, from the second on.
fn epoch_in_weight_space(
    network: &Network,
    params: &Params,
    train: &Examples,
    config: &SgdConfig,
) -> Result<f64> {
    let linear = Linearized::new(network, params.clone());
    let mut seconds = Vec::new();
    let mut begin = Instant::now();
    fit_observed(&linear, params, train, None, config, |_| {
        seconds.push(begin.elapsed().as_secs_f64());
        begin = Instant::now();
        ControlFlow::Continue(())
    })?;
    let mut timed = seconds[1..4].to_vec();
    timed.sort_by(f64::total_cmp);
    Ok(timed[1])
}

fn compare(name: &str, network: &Network, dtype: DType) -> Result<()> {
    let (x, labels) = (images(IMAGES, dtype)?, labels(IMAGES, 0));
    let train = Examples::new(x.clone(), labels.clone())?;
    let theta0 = network.init(0, dtype, &Device::Cpu)?;
    let config = SgdConfig { epochs: 5, learning_rate: 0.01, ..SgdConfig::default() };

    let begin = Instant::now();
    let linear = Linearized::new(network, theta0.clone());
    let weight = fit(&linear, &theta0, &train, None, &config)?;
    let weight_s = begin.elapsed().as_secs_f64();
    let expected = logits(&linear, &weight.params, &x, BATCH)?;

    let begin = Instant::now();
    let kernel = gram(network, &theta0, &x, &GramConfig::default())?;
    let gram_s = begin.elapsed().as_secs_f64();
    let f0 = logits(network, &theta0, &x, BATCH)?;
    let begin = Instant::now();
    let dual = DualSgd::new(&kernel, IMAGES, &f0)?;
    let dual = dual.fit(&[labels], &config)?.swap_remove(0);
    let dual_s = begin.elapsed().as_secs_f64();

    let scale = expected.iter().fold(0.0_f64, |scale, z| scale.max(z.abs()));
    let differences = dual.logits.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let logit = differences.fold(0.0, f64::max) / scale;
    let last = |epochs: &[entk::train::EpochRecord]| epochs.last().map(|epoch| epoch.distance.l2);
    let (a, b) = (last(&dual.history.epochs), last(&weight.history.epochs));
    let distance = a.zip(b).map_or(f64::NAN, |(a, b)| ((a - b) / b).abs());
    println!(
        "{name}, {dtype:?}: logits {logit:.1e}, distance {distance:.1e}, weight space {weight_s:.2} s, \
         coefficients {dual_s:.3} s, Gram {gram_s:.2} s"
    );
    Ok(())
}
