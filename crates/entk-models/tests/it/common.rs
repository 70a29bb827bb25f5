//! The one list of networks that every derivative test runs.

#![allow(dead_code)]

use candle_core::{DType, Device, Tensor};
use entk_models::{
    Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, GlobalMean, Initializer,
    LeNet5Config, MlpConfig, Model, Network, Padding, ParamSpec, Params, ResNetConfig, Residual,
    Result, Sequential,
};

use crate::autograd::{Autograd, lenet_autograd, mlp_autograd, resnet_autograd, strided_autograd};

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
        let theta = moved_statistics(&theta.add_scaled(0.1, &noise)?, 14)?;
        let shape = [&[batch], network.input_shape()].concat();
        Ok(Self { name, network, theta, x: standard_normal(&shape, 13)?, autograd })
    }

    /// The same network at other parameters.
    fn at(self, f: impl FnOnce(&Params) -> Result<Params>) -> Result<Self> {
        Ok(Self { theta: f(&self.theta)?, ..self })
    }

    pub fn direction(&self, seed: u64) -> Result<Params> {
        Params::standard_normal(&self.network.specs(), seed, DType::F64, &Device::Cpu)
    }
}

/// The same theta with running means of size 0.3 and running variances between 0.5 and 1.5.
pub fn moved_statistics(theta: &Params, seed: u64) -> Result<Params> {
    let moved = (theta.statistics())
        .map(|(name, tensor)| {
            let noise = (standard_normal(tensor.dims(), seed)? * 0.3)?;
            let moved = match name.ends_with("running_var") {
                true => ((noise.tanh()? * 0.5)? + 1.0)?,
                false => noise,
            };
            Ok((name.to_string(), moved))
        })
        .collect::<Result<_>>()?;
    theta.with_statistics(moved)
}

/// The same theta with every scale called `*bn2.weight` exactly zero.
pub fn with_zero_branches(theta: &Params) -> Result<Params> {
    let zeroed = (theta.iter())
        .map(|(name, tensor)| match name.ends_with("bn2.weight") {
            true => Ok((name.to_string(), tensor.zeros_like()?)),
            false => Ok((name.to_string(), tensor.clone())),
        })
        .collect::<Result<_>>()?;
    let statistics = theta.statistics().map(|(n, t)| (n.to_string(), t.clone())).collect();
    Params::new(zeroed, statistics)
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
        Case::new("resnet relu", resnet(Activation::Relu).network()?, 5, Some(resnet_autograd))?,
        Case::new("resnet gelu, two blocks, symmetric", wide_resnet().network()?, 4, None)?,
        Case::new("resnet, zero branches", resnet(Activation::Gelu).network()?, 5, None)?
            .at(with_zero_branches)?,
        Case::new("norms and activations apart", apart()?, 4, None)?,
    ])
}

/// Two stages of one block on 8 x 8 pixels.
pub fn resnet(activation: Activation) -> ResNetConfig {
    ResNetConfig {
        input: [2, 8, 8],
        blocks: vec![1, 1],
        width: 3,
        activation,
        ..Default::default()
    }
}

/// Odd sides, two outputs, two blocks a stage, padding as in torchvision.
fn wide_resnet() -> ResNetConfig {
    ResNetConfig {
        input: [1, 7, 5],
        blocks: vec![2, 2],
        width: 2,
        outputs: 2,
        activation: Activation::Gelu,
        symmetric_padding: true,
        zero_init_residual: false,
    }
}

/// A residual without activation whose shortcut ends in a norm, and layers that could be fused.
fn apart() -> Result<Network> {
    let branch = Sequential::new()
        .then(BatchNorm2d::new("n1", 3).with_activation(Activation::Tanh))
        .then(Conv2d::new("c1", 3, 4, 3));
    let shortcut =
        Sequential::new().then(Conv2d::new("s", 3, 4, 1)).then(BatchNorm2d::new("n2", 4));
    let layers = Sequential::new()
        .then(Conv2d::new("a", 2, 3, 3))
        .then(BatchNorm2d::new("n0", 3))
        .then(Activation::Silu)
        .then(Residual::new(branch).with_shortcut(shortcut))
        .then(GlobalMean)
        .then(Dense::new("head", 4, 1));
    Network::new(&[2, 5, 3], layers)
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
