//! Leading eigenpairs without a Gram beside those of the assembled one.
//!
//!     cargo run --release -p entk-benches --example matrix_free -- 4000 100
//!     cargo run --release -p entk-benches --example matrix_free -- 250000 100 1e-10 32 DIR
//!
//! Images, pairs, tolerance, columns of a block, and, in place of random images and the Gram, a
//! folder of CIFAR-10, whose training images are augmented to so many. LeNet5 at its initial
//! weights, f32. A line a way: seconds, CPU seconds, products with single columns, the largest
//! residual over lambda_0, lambda_k / lambda_0, and the peak resident memory so far.
#![allow(clippy::print_stdout)]

use std::{env, path::Path, time::Instant};

use candle_core::{DType, Device};
use entk::{
    data::{AugmentedImages, DataSource, load},
    gram::{Accumulate, GramConfig, InputSource, JacobianOperator, gram},
    models::{LeNet5Config, Model, Network, Params},
    spectral::{CertifiedPairs, EigshConfig, LinearOperator, eigsh, eigsh_row_gram},
};
use entk_benches::{cpu_seconds, images, peak_megabytes};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let word = |at: usize, default: &str| words.get(at).map_or(default, String::as_str).to_owned();
    let (n, k) = (word(0, "4000").parse()?, word(1, "100").parse()?);
    let (tolerance, block) = (word(2, "1e-10").parse()?, Some(word(3, "32").parse()?));
    let config = EigshConfig { tolerance, block, ..EigshConfig::default() };
    let network = LeNet5Config::default().network()?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    if let Some(folder) = words.get(4) {
        let loaded = load(DataSource::Cifar10, Some(Path::new(folder)))?;
        let (split, _) = loaded.split.standardized()?;
        let source = AugmentedImages::new(split.train.images().clone(), n, 4, 0)?;
        without_a_gram(&network, &theta, &source, k, &config)?;
        return Ok(());
    }
    let x = images(n, DType::F32)?;
    let free = without_a_gram(&network, &theta, &x, k, &config)?;
    let begin = (Instant::now(), cpu_seconds());
    let settings = GramConfig { accumulate: Accumulate::F64, ..GramConfig::default() };
    let kernel = gram(&network, &theta, &x, &settings)?;
    let formed = eigsh(&kernel, k, &config)?;
    report("from the Gram", begin, &formed);
    let pairs = free.pairs.values().iter().zip(formed.pairs.values());
    let apart = pairs.fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()));
    println!("largest difference over lambda_0: {:.1e}", apart / formed.pairs.values()[0]);
    Ok(())
}

fn without_a_gram(
    network: &Network,
    params: &Params,
    source: &dyn InputSource,
    k: usize,
    config: &EigshConfig,
) -> Result<CertifiedPairs> {
    let begin = (Instant::now(), cpu_seconds());
    let jacobian = JacobianOperator::new(network, params, source, &GramConfig::default())?;
    println!("{} x {}:", jacobian.rows(), jacobian.cols());
    let pairs = eigsh_row_gram(&jacobian, k, config)?;
    report("without a Gram", begin, &pairs);
    Ok(pairs)
}

fn report(way: &str, (wall, cpu): (Instant, f64), found: &CertifiedPairs) {
    let (values, products) = (found.pairs.values(), found.products);
    let worst = found.residuals.iter().fold(0.0, |worst: f64, r| worst.max(*r)) / values[0];
    println!(
        "{way}: {:.1} s, {:.1} CPU s, {products} products, residual {worst:.1e}, spectrum to {:.1e}, {} MB",
        wall.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        values[values.len() - 1] / values[0],
        peak_megabytes()
    );
}
