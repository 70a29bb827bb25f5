//! The networks and data of the tests: those of entk-testing, unwrapped.

use candle_core::{DType, Tensor};
use entk_models::{Activation, LeNet5Config, Model, Network, Params};
use entk_testing::{networks, test_device};
use entk_train::{Examples, Targets};

/// N normal images; label 1 where the first pixel is positive, which is then moved out by `margin`.
pub fn separable(shape: [usize; 4], margin: f64, dtype: DType, seed: u64) -> Examples {
    let (x, labels) = entk_testing::separable(shape, margin, dtype, seed).unwrap();
    Examples::new(x, labels).unwrap()
}

pub fn mlp(input: [usize; 3], hidden: &[usize], activation: Activation) -> Network {
    networks::mlp(input, hidden, 1, activation).unwrap()
}

pub fn lenet(input: [usize; 3]) -> Network {
    networks::lenet5(input, [16, 8], Activation::Relu).unwrap()
}

/// LeNet5 of several outputs on 16 x 16 pixels.
pub fn lenet_of(outputs: usize) -> Network {
    let config =
        LeNet5Config { input: [1, 16, 16], hidden: [16, 8], outputs, ..Default::default() };
    config.network().unwrap()
}

/// ResNet18 of 2 filters.
pub fn resnet(input: [usize; 3]) -> Network {
    networks::resnet18(input, 2, 1).unwrap()
}

/// z = w . x + b, with parameters `line.weight` and `line.bias`.
pub fn line(input: [usize; 3]) -> Network {
    networks::line(input).unwrap()
}

pub fn start(model: &dyn Model, dtype: DType) -> Params {
    model.init(5, dtype, test_device()).unwrap()
}

/// All of theta, in f64.
pub fn flat(params: &Params) -> Vec<f64> {
    let host = |t: &Tensor| {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    params.iter().flat_map(|(_, t)| host(t)).collect()
}

/// The labels of a binary task.
pub fn labels(task: &Examples) -> &[u8] {
    match task.targets() {
        Targets::Binary(labels) => labels,
        other => panic!("{other:?}"),
    }
}
