//! Leading eigenpairs without a Gram beside those of the assembled one, on random images.
//!
//!     cargo run --release -p entk-benches --example matrix_free -- 4000 100
//!     cargo run --release -p entk-benches --example matrix_free -- 250000 100 1e-10 32 alone
//!
//! Images, pairs, tolerance, columns of a block, and whether the Gram is left out. LeNet5 at its
//! initial weights, f32. A line a way: seconds, products with single columns, the largest residual
//! over lambda_0, lambda_k / lambda_0, and the peak resident memory so far.
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use candle_core::{DType, Device};
use entk::{
    gram::{Accumulate, GramConfig, JacobianOperator, gram},
    models::{LeNet5Config, Model},
    spectral::{CertifiedPairs, EigshConfig, LinearOperator, eigsh, eigsh_row_gram},
};
use entk_benches::{images, peak_megabytes};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let word = |at: usize, default: &str| words.get(at).map_or(default, String::as_str).to_owned();
    let (n, k) = (word(0, "4000").parse()?, word(1, "100").parse()?);
    let (tolerance, block) = (word(2, "1e-10").parse()?, Some(word(3, "32").parse()?));
    let config = EigshConfig { tolerance, block, ..EigshConfig::default() };
    let network = LeNet5Config::default().network()?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let x = images(n, DType::F32)?;

    let begin = Instant::now();
    let jacobian = JacobianOperator::new(&network, &theta, &x, &GramConfig::default())?;
    let free = eigsh_row_gram(&jacobian, k, &config)?;
    println!("{n} x {}:", jacobian.cols());
    report("without a Gram", begin, &free);
    if words.len() > 4 {
        return Ok(());
    }
    let begin = Instant::now();
    let settings = GramConfig { accumulate: Accumulate::F64, ..GramConfig::default() };
    let kernel = gram(&network, &theta, &x, &settings)?;
    let formed = eigsh(&kernel, k, &config)?;
    report("from the Gram", begin, &formed);
    let pairs = free.pairs.values().iter().zip(formed.pairs.values());
    let apart = pairs.fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()));
    println!("largest difference over lambda_0: {:.1e}", apart / formed.pairs.values()[0]);
    Ok(())
}

fn report(way: &str, begin: Instant, found: &CertifiedPairs) {
    let (values, products) = (found.pairs.values(), found.products);
    let worst = found.residuals.iter().fold(0.0, |worst: f64, r| worst.max(*r)) / values[0];
    println!(
        "{way}: {:.1} s, {products} products, residual {worst:.1e}, spectrum to {:.1e}, {} MB",
        begin.elapsed().as_secs_f64(),
        values[values.len() - 1] / values[0],
        peak_megabytes()
    );
}
