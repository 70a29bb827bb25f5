//! What `verify` works on: the paper's networks with their parameters, and images made on the
//! device. Called by `verify` and `time`.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use entk::models::{LeNet5Config, MlpConfig, Model, Network, Params, ResNetConfig};

/// Number of images of which all others are combinations.
const BASE: usize = 256;
/// Length of the steps away from the initial parameters, relative to standard normal ones.
const MOVE: f64 = 0.02;

/// A network with the parameters at which it is checked.
pub struct Case {
    pub name: &'static str,
    pub network: Network,
    /// The parameters, in f64 on the CPU.
    pub theta: Params,
    /// Numbers of images whose Gram is timed.
    pub grams: Vec<usize>,
}

/// The paper's networks, at their size or small ones with all their layers.
pub fn cases(quick: bool) -> Result<Vec<Case>> {
    let resnet = |width: usize| ResNetConfig { width, ..ResNetConfig::default() }.network();
    let width = if quick { 8 } else { 64 };
    let sizes = |small: [usize; 2], large: [usize; 3]| {
        if quick { small.to_vec() } else { large.to_vec() }
    };
    let all = [4_000, 16_000, 60_000];
    [
        ("MLP", MlpConfig::default().network()?, MOVE, sizes([64, 128], all)),
        ("LeNet5", LeNet5Config::default().network()?, MOVE, sizes([64, 128], all)),
        ("ResNet18, initial", resnet(width)?, 0.0, sizes([16, 32], all)),
        ("ResNet18, moved", resnet(width)?, MOVE, sizes([8, 16], [2_000, 12_000, 60_000])),
    ]
    .into_iter()
    .map(|(name, network, step, grams)| {
        let specs = network.specs();
        let noise = Params::standard_normal(&specs, 1, DType::F64, &Device::Cpu)?;
        let theta = network.init(0, DType::F64, &Device::Cpu)?.add_scaled(step, &noise)?;
        Ok(Case { name, network, theta, grams })
    })
    .collect()
}

/// n images of unit variance, made on the device: combinations of a few, the same at every run.
pub fn images(network: &Network, n: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = network.input_shape();
    let pixels: usize = shape.iter().product();
    let wave = |rows: usize, cols: usize, step: f64| -> Result<Tensor> {
        let index = |count: usize| Tensor::arange(1u32, count as u32 + 1, device);
        let index = |count: usize| index(count)?.to_dtype(DType::F64);
        let phase =
            (index(rows)?.unsqueeze(1)?.broadcast_mul(&index(cols)?.unsqueeze(0)?)? * step)?;
        Ok(phase.cos()?.to_dtype(dtype)?)
    };
    // Steps without a common period; sqrt(2) for unit variance of both factors.
    let base = wave(BASE, pixels, 2f64.sqrt())?;
    let rows = (0..n).step_by(BASE).map(|start| {
        let count = BASE.min(n - start);
        let weights = wave(count, BASE, 3f64.sqrt() + start as f64 * 1e-3)?;
        Ok((weights.matmul(&base)? * (2.0 / (BASE as f64).sqrt()))?)
    });
    let images = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?;
    Ok(images.reshape([&[n], shape].concat())?)
}
