//! Networks, inputs and the distance of kernels, for all tests of strategies.
#![allow(dead_code)] // each test uses its part

use candle_core::{DType, Device, Tensor};
use entk_gram::GramError;
use entk_models::{
    Activation, Conv2d, Dense, Flatten, GlobalMean, Initializer, LeNet5Config, MlpConfig, Model,
    Network, ParamSpec, Params, ResNetConfig, Sequential,
};
use entk_spectral::Gram;

/// f64 round-off of sums of a few thousand products, relative to sqrt(K_ii K_jj).
pub const DOUBLE: f64 = 1e-12;
/// The same in f32.
pub const SINGLE: f64 = 1e-5;

pub struct Case {
    pub name: &'static str,
    pub network: Network,
    pub theta: Params,
    pub x: Tensor,
}

pub fn cases() -> Result<Vec<Case>, GramError> {
    let networks = [
        (
            "mlp",
            MlpConfig { input: [1, 4, 5], hidden: vec![30, 20], ..Default::default() }.network()?,
        ),
        (
            "mlp, three outputs",
            MlpConfig { input: [1, 4, 5], hidden: vec![30], outputs: 3, ..Default::default() }
                .network()?,
        ),
        (
            "lenet5",
            LeNet5Config {
                input: [2, 8, 8],
                filters: [3, 4],
                hidden: [12, 8],
                activation: Activation::Gelu,
                ..Default::default()
            }
            .network()?,
        ),
        ("no bias", without_bias()?),
        ("convolutions on few pixels", on_few_pixels()?),
        ("long convolutions", long_convolutions()?),
        (
            "resnet",
            ResNetConfig { input: [2, 8, 8], width: 6, outputs: 2, ..Default::default() }
                .network()?,
        ),
    ];
    (networks.into_iter())
        .map(|(name, network)| {
            let specs = network.specs();
            let noise = Params::standard_normal(&specs, 2, DType::F64, &Device::Cpu)?;
            let theta = network.init(1, DType::F64, &Device::Cpu)?.add_scaled(0.1, &noise)?;
            let shape = [&[83], network.input_shape()].concat();
            Ok(Case { name, x: normal(&shape, 3)?, network, theta })
        })
        .collect()
}

fn without_bias() -> Result<Network, GramError> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv", 1, 3, 3).without_bias())
        .then(Activation::Relu)
        .then(Flatten)
        .then(Dense::new("fc1", 3 * 6 * 6, 10).without_bias())
        .then(Activation::Tanh)
        .then(Dense::new("fc2", 10, 1).without_bias());
    Ok(Network::new(&[1, 6, 6], layers)?)
}

/// Convolutions on so few pixels that pairs of pixels are cheaper than rows.
fn on_few_pixels() -> Result<Network, GramError> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv1", 1, 24, 3).with_stride(2))
        .then(Activation::Gelu)
        .then(Conv2d::new("conv2", 24, 37, 3))
        .then(Activation::Tanh)
        .then(Conv2d::new("conv3", 37, 40, 3).with_stride(2).without_bias())
        .then(Flatten)
        .then(Dense::new("fc", 40, 1));
    Ok(Network::new(&[1, 4, 4], layers)?)
}

/// Convolutions with more parameters than inputs and outputs: their rows are expanded in parts.
fn long_convolutions() -> Result<Network, GramError> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv1", 1, 24, 3))
        .then(Activation::Gelu)
        .then(Conv2d::new("conv2", 24, 37, 3))
        .then(Activation::Tanh)
        .then(Conv2d::new("conv3", 37, 40, 3).with_stride(2).without_bias())
        .then(GlobalMean)
        .then(Dense::new("fc", 40, 1));
    Ok(Network::new(&[1, 7, 6], layers)?)
}

pub fn normal(shape: &[usize], seed: u64) -> Result<Tensor, GramError> {
    let spec = ParamSpec::trainable("x", shape, Initializer::Normal);
    Ok(Tensor::from_vec(Initializer::Normal.draw(&spec, seed), shape, &Device::Cpu)?)
}

/// max |a_ij - b_ij| / sqrt(b_ii b_jj); NaN if either holds one.
pub fn distance(a: &Gram, b: &Gram) -> f64 {
    assert_eq!(a.n(), b.n());
    let d = b.diagonal();
    let pairs = (0..a.n()).flat_map(|i| (0..a.n()).map(move |j| (i, j)));
    let entry = |(i, j): (usize, usize)| (a.get(i, j) - b.get(i, j)).abs() / (d[i] * d[j]).sqrt();
    pairs.map(entry).fold(0.0, |worst, e| if e <= worst { worst } else { e })
}
