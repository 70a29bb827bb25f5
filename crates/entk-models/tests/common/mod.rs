//! The one list of networks that every derivative test runs.

#![allow(dead_code)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use entk_models::{
    Activation, AvgPool2d, Conv2d, Dense, Flatten, Initializer, LeNet5Config, MlpConfig, Model,
    Network, Padding, ParamSpec, Params, Result, Sequential,
};

/// The forward pass in candle's own operations, for those it differentiates correctly.
pub type Autograd = fn(&Weights, &Tensor) -> candle_core::Result<Tensor>;

/// Parameters by name.
pub type Weights = HashMap<String, Tensor>;

pub struct Case {
    pub name: &'static str,
    pub network: Network,
    pub theta: Params,
    pub x: Tensor,
    pub autograd: Option<Autograd>,
}

impl Case {
    fn new(
        name: &'static str,
        network: Network,
        batch: usize,
        autograd: Option<Autograd>,
    ) -> Result<Self> {
        let specs = network.specs();
        let theta = Params::init(&specs, 11, DType::F64, &Device::Cpu)?;
        // Biases away from zero, so that their derivatives show.
        let noise = Params::standard_normal(&specs, 12, DType::F64, &Device::Cpu)?;
        let theta = theta.add_scaled(0.1, &noise)?;
        let shape = [&[batch], network.input_shape()].concat();
        Ok(Self { name, network, theta, x: standard_normal(&shape, 13)?, autograd })
    }

    pub fn direction(&self, seed: u64) -> Result<Params> {
        Params::standard_normal(&self.network.specs(), seed, DType::F64, &Device::Cpu)
    }
}

pub fn standard_normal(shape: &[usize], seed: u64) -> Result<Tensor> {
    let spec = ParamSpec::trainable("x", shape, Initializer::Normal);
    Ok(Tensor::from_vec(Initializer::Normal.draw(&spec, seed), shape, &Device::Cpu)?)
}

/// ||a - b|| / ||b||; NaN if either holds one.
pub fn relative_error(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.dims(), b.dims());
    let norm = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f64>();
    Ok((norm(&(a - b)?)? / norm(b)?).sqrt())
}

pub fn cases() -> Result<Vec<Case>> {
    let small = |activation| LeNet5Config {
        input: [2, 8, 12],
        filters: [3, 4],
        hidden: [7, 5],
        outputs: 1,
        activation,
    };
    let mlp = |activation, outputs| MlpConfig {
        input: [1, 3, 4],
        hidden: vec![9, 7],
        outputs,
        activation,
    };
    Ok(vec![
        Case::new("mlp relu", mlp(Activation::Relu, 1).network()?, 5, Some(mlp_autograd))?,
        Case::new("mlp gelu, three outputs", mlp(Activation::Gelu, 3).network()?, 4, None)?,
        Case::new("mlp silu", mlp(Activation::Silu, 1).network()?, 5, None)?,
        Case::new("mlp tanh", mlp(Activation::Tanh, 1).network()?, 70, None)?,
        Case::new("mlp square", mlp(Activation::Square, 1).network()?, 5, None)?,
        Case::new("lenet5 relu", small(Activation::Relu).network()?, 6, Some(lenet_autograd))?,
        Case::new("lenet5 gelu", small(Activation::Gelu).network()?, 6, None)?,
        Case::new("strided convolutions", strided()?, 3, Some(strided_autograd))?,
        Case::new("large filters", large_filters()?, 3, None)?,
    ])
}

/// Odd sizes, stride 2, no bias, asymmetric and absent padding.
fn strided() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 2, 3, 3).with_stride(2).without_bias())
        .then(Activation::Tanh)
        .then(Conv2d::new("b", 3, 4, 3).with_padding(Padding::Valid))
        .then(Activation::Tanh)
        .then(Conv2d::new("c", 4, 2, 1).with_stride(2))
        .then(Flatten)
        .then(Dense::new("head", 2 * 2 * 2, 1).without_bias());
    Network::new(&[2, 10, 10], layers)
}

/// Enough weights for the task split by filters, and several images in one block.
fn large_filters() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 1, 64, 3))
        .then(Activation::Relu)
        .then(Conv2d::new("b", 64, 80, 3).with_stride(2))
        .then(AvgPool2d::new(2))
        .then(Flatten)
        .then(Dense::new("head", 80, 1));
    Network::new(&[1, 4, 4], layers)
}

fn dense(w: &Weights, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
    let linear = candle_nn::Linear::new(
        w[&format!("{name}.weight")].clone(),
        Some(w[&format!("{name}.bias")].clone()),
    );
    candle_nn::Module::forward(&linear, x)
}

fn conv(w: &Weights, name: &str, x: &Tensor, padding: usize) -> candle_core::Result<Tensor> {
    let bias = w[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
    x.conv2d(&w[&format!("{name}.weight")], padding, 1, 1, 1)?.broadcast_add(&bias)
}

fn mlp_autograd(w: &Weights, x: &Tensor) -> candle_core::Result<Tensor> {
    let x = dense(w, "fc1", &x.flatten_from(1)?)?.relu()?;
    let x = dense(w, "fc2", &x)?.relu()?;
    dense(w, "fc3", &x)
}

fn lenet_autograd(w: &Weights, x: &Tensor) -> candle_core::Result<Tensor> {
    let x = conv(w, "conv1", x, 2)?.relu()?.avg_pool2d(2)?;
    let x = conv(w, "conv2", &x, 2)?.relu()?.avg_pool2d(2)?;
    let x = dense(w, "fc1", &x.flatten_from(1)?)?.relu()?;
    let x = dense(w, "fc2", &x)?.relu()?;
    dense(w, "fc3", &x)
}

fn strided_autograd(w: &Weights, x: &Tensor) -> candle_core::Result<Tensor> {
    // SAME at stride 2 on 10 pixels: one zero row and column, after.
    let x = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
    let x = x.conv2d(&w["a.weight"], 0, 2, 1, 1)?.tanh()?;
    let x = conv(w, "b", &x, 0)?.tanh()?;
    let bias = w["c.bias"].reshape((1, (), 1, 1))?;
    let x = x.conv2d(&w["c.weight"], 0, 2, 1, 1)?.broadcast_add(&bias)?;
    x.flatten_from(1)?.matmul(&w["head.weight"].t()?)
}
