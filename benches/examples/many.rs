//! Many small networks, one after another and side by side: an epoch of 20 networks on 2,000
//! standard-normal images, by the paper's recipe.
//!
//!     cargo run --release -p entk-benches --example many
//!
//! One line a network: seconds of an epoch of all 20 in both ways, medians of three, and whether
//! the parameters at the end are the same bits.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{DType, Device};
use entk::{
    models::{LeNet5Config, MlpConfig, Model, Network, Params},
    train::{Examples, Fit, SgdConfig, fit, fit_many},
};
use entk_benches::images;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const IMAGES: usize = 2000;
const NETWORKS: usize = 20;
const TIMED: usize = 3;

fn main() -> Result<()> {
    compare("LeNet5", &LeNet5Config::default().network()?)?;
    compare("MLP", &MlpConfig::default().network()?)
}

/// Labels without structure.
fn labels(task: usize) -> Vec<u8> {
    (0..IMAGES).map(|i| u8::from((i + task).wrapping_mul(40_503) % 7 < 3)).collect()
}

fn compare(name: &str, network: &Network) -> Result<()> {
    let images = Examples::new(images(IMAGES, DType::F32)?, vec![0; IMAGES])?;
    let tasks = (0..NETWORKS)
        .map(|task| Ok((images.with_targets(labels(task))?, None)))
        .collect::<Result<Vec<_>>>()?;
    let mut seconds = [Vec::new(), Vec::new()];
    let mut same = true;
    for _ in 0..TIMED {
        let mut ends = Vec::new();
        for (side_by_side, seconds) in [false, true].into_iter().zip(&mut seconds) {
            // Three epochs less one: without what is done once, as the evaluation at the end.
            let (one, _) = train(network, &tasks, 1, side_by_side)?;
            let (three, fits) = train(network, &tasks, 3, side_by_side)?;
            seconds.push((three - one) / 2.0);
            ends.push(fits.iter().map(|fit| flat(&fit.params)).collect::<Result<Vec<_>>>()?);
        }
        same &= ends[0] == ends[1];
    }
    let [alone, side_by_side] = seconds.map(median);
    println!(
        "{name}: one after another {alone:.3} s, side by side {side_by_side:.3} s, {:.2} times; same bits: {same}",
        alone / side_by_side
    );
    Ok(())
}

/// Seconds of training a network on each task, and where each ends.
fn train(
    network: &Network,
    tasks: &[(Examples, Option<Examples>)],
    epochs: usize,
    side_by_side: bool,
) -> Result<(f64, Vec<Fit>)> {
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let config =
        SgdConfig { learning_rate: 1e-4, epochs, eval_every: epochs, ..SgdConfig::default() };
    let begin = Instant::now();
    let fits = if side_by_side {
        fit_many(network, &theta, tasks, &config)?
    } else {
        let one =
            |(train, _): &(Examples, Option<Examples>)| fit(network, &theta, train, None, &config);
        tasks.iter().map(one).collect::<std::result::Result<_, _>>()?
    };
    Ok((begin.elapsed().as_secs_f64(), fits))
}

fn flat(params: &Params) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for (_, tensor) in params.iter() {
        all.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(all)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
