//! Wall seconds of one training epoch by the paper's recipe (batches of 128, momentum) on
//! standard-normal images with random labels; the network's, or with `linearized` that of its
//! linearization. Batch norms train.
//!
//!     cargo run --release -p entk-benches --example epoch -- lenet5 2000
//!     cargo run --release -p entk-benches --example epoch -- resnet18 2000 linearized
//!
//! One epoch warms up; the next ones are lines.
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use candle_core::{DType, Device};
use entk::{
    linearize::Linearized,
    models::{LeNet5Config, MlpConfig, Model, ResNetConfig},
    train::{Examples, SgdConfig, Trainer},
};
use entk_benches::images;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Epochs that are timed.
const TIMED: usize = 3;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let network = match words.first().map(String::as_str) {
        Some("mlp") => MlpConfig::default().network()?,
        Some("lenet5") => LeNet5Config::default().network()?,
        Some("resnet18") => ResNetConfig::default().network()?,
        _ => {
            return Err(
                "say mlp, lenet5 or resnet18, how many images, and linearized or not".into()
            );
        }
    };
    let n = words.get(1).map(|word| word.parse()).transpose()?.unwrap_or(2000);
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    if words.get(2).is_some_and(|word| word == "linearized") {
        return epochs(&Linearized::new(&network, theta), n);
    }
    epochs(&network, n)
}

fn epochs(model: &dyn Model, n: usize) -> Result<()> {
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i.wrapping_mul(2_654_435_761) % 7 < 3)).collect();
    let train = Examples::new(images(n, DType::F32)?, labels)?;
    // Small steps: random labels are not learned, and the time does not depend on the rate. The
    // evaluation comes after the last epoch, which is not timed.
    let config = SgdConfig {
        learning_rate: 1e-4,
        epochs: TIMED + 2,
        eval_every: TIMED + 2,
        ..SgdConfig::default()
    };
    let start = model.init(0, DType::F32, &Device::Cpu)?;
    let mut trainer = Trainer::new(model, &start, &train, None, &config)?;
    trainer.step_epoch()?;
    for _ in 0..TIMED {
        let start = Instant::now();
        trainer.step_epoch()?;
        println!("epoch: {:.3} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
