//! Times of ResNet18 at full width on random images.
//!
//!     cargo run --release -p entk-benches --example resnet -- step 64 5
//!     cargo run --release -p entk-benches --example resnet -- gram 1000
//!     cargo run --release -p entk-benches --example resnet -- gram-moved 256
//!     cargo run --release -p entk-benches --example resnet -- forward 64 5
//!     cargo run --release -p entk-benches --example resnet -- skipping 64
//!
//! One line a repetition: wall seconds, CPU seconds over the number of threads (what a machine
//! that does nothing else would need) and the peak resident memory so far.
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use candle_core::{DType, Device, Tensor};
use entk::{
    gram::{GramConfig, gram},
    models::{Activation, Model, Params, ResNetConfig},
    train::Sgd,
};
use entk_benches::{cpu_seconds, images, peak_megabytes};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: usize| -> Result<usize> {
        Ok(words.get(at).map(|word| word.parse()).transpose()?.unwrap_or(default))
    };
    let count = number(1, 64)?;
    match words.first().map(String::as_str) {
        Some("step") => step(Activation::Relu, count, number(2, 5)?),
        Some("step-gelu") => step(Activation::Gelu, count, number(2, 5)?),
        Some("forward") => forward(count, number(2, 5)?),
        Some("gram") => kernel(count, false),
        Some("gram-moved") => kernel(count, true),
        Some("skipping") => skipping(count),
        _ => Err("say step, step-gelu, forward, gram, gram-moved or skipping, and how many images"
            .into()),
    }
}

/// Training steps: forward, gradient through the batch statistics, SGD with momentum.
fn step(activation: Activation, batch: usize, reps: usize) -> Result<()> {
    let network = ResNetConfig { activation, ..ResNetConfig::default() }.network()?;
    let mut theta = moved(&network, DType::F32)?;
    let x = images(batch, DType::F32)?;
    let u = Tensor::full(1.0 / batch as f32, (batch, 1), &Device::Cpu)?;
    let mut sgd = Sgd::new(0.9)?;
    for _ in 0..=reps {
        theta = timed("step", || {
            let sweep = network.training_sweep(&theta, &x)?;
            let gradient = sweep.vjp(&u)?;
            let next = sgd.step(&theta, &gradient, 1e-4)?;
            Ok(next.with_statistics(sweep.statistics().to_vec())?)
        })?;
    }
    Ok(())
}

fn forward(batch: usize, reps: usize) -> Result<()> {
    let network = ResNetConfig::default().network()?;
    let (theta, x) = (moved(&network, DType::F32)?, images(batch, DType::F32)?);
    for _ in 0..=reps {
        timed("forward", || Ok(network.forward(&theta, &x)?))?;
    }
    Ok(())
}

/// The Gram at the paper's initialisation, or at weights where every parameter is active.
fn kernel(n: usize, all: bool) -> Result<()> {
    let network = ResNetConfig::default().network()?;
    let theta = match all {
        true => moved(&network, DType::F32)?,
        false => network.init(0, DType::F32, &Device::Cpu)?,
    };
    let x = images(n, DType::F32)?;
    let kernel = timed("gram", || Ok(gram(&network, &theta, &x, &GramConfig::default())?))?;
    println!("trace {}", kernel.trace()?);
    Ok(())
}

/// The Gram with and without leaving out what is exactly zero, in f64.
fn skipping(n: usize) -> Result<()> {
    let network = ResNetConfig::default().network()?;
    let theta = network.init(0, DType::F64, &Device::Cpu)?;
    let x = images(n, DType::F64)?;
    println!("active {}", network.verify_active_parameters(&theta, &x.narrow(0, 0, 2)?)?.count());
    let config = GramConfig { micro_batch: Some(16), ..GramConfig::default() };
    let skipped = timed("skipped", || Ok(gram(&network, &theta, &x, &config)?))?;
    let entered = network.without_skipping();
    let full = timed("entered", || Ok(gram(&entered, &theta, &x, &config)?))?;
    let mut worst = 0f64;
    for i in 0..n {
        for j in 0..=i {
            let scale = (full.get(i, i) * full.get(j, j)).sqrt();
            worst = worst.max((full.get(i, j) - skipped.get(i, j)).abs() / scale);
        }
    }
    println!("largest difference {worst:e}");
    Ok(())
}

/// The initial weights with every scale away from zero.
fn moved(network: &dyn Model, dtype: DType) -> Result<Params> {
    let noise = Params::standard_normal(&network.specs(), 1, dtype, &Device::Cpu)?;
    Ok(network.init(0, dtype, &Device::Cpu)?.add_scaled(0.01, &noise)?)
}

fn timed<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let result = run()?;
    let threads = std::thread::available_parallelism()?.get() as f64;
    println!(
        "{what}: wall {:.3} s, cpu/{threads} {:.3} s, peak {} MB",
        wall.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) / threads,
        peak_megabytes(),
    );
    Ok(result)
}
