//! The data, networks and comparisons that the tests share.

use candle_core::{DType, Device, Tensor};
use entk_models::{
    Activation, Dense, Flatten, Initializer, LeNet5Config, MlpConfig, Model, Network, Params,
    ResNetConfig, Sequential,
};
use entk_train::Examples;

/// Independent standard normals, row-major.
pub fn normals(count: usize, seed: u64) -> Vec<f64> {
    Initializer::Normal.draw("x", count, seed)
}

/// N normal images; label 1 where the first pixel is positive, which is then moved out by `margin`.
pub fn separable(shape: [usize; 4], margin: f64, dtype: DType, seed: u64) -> Examples {
    let width = shape[1..].iter().product();
    let mut x = normals(shape.iter().product(), seed);
    let mut labels = Vec::with_capacity(shape[0]);
    for image in x.chunks_exact_mut(width) {
        labels.push(u8::from(image[0] > 0.0));
        image[0] += margin.copysign(image[0]);
    }
    let x = Tensor::from_vec(x, &shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    Examples::new(x, labels).unwrap()
}

pub fn mlp(input: [usize; 3], hidden: &[usize], activation: Activation) -> Network {
    MlpConfig { input, hidden: hidden.to_vec(), outputs: 1, activation }.network().unwrap()
}

pub fn lenet(input: [usize; 3]) -> Network {
    let config = LeNet5Config { input, filters: [3, 4], hidden: [16, 8], ..Default::default() };
    config.network().unwrap()
}

/// ResNet18 of 2 filters.
pub fn resnet(input: [usize; 3]) -> Network {
    ResNetConfig { input, width: 2, ..Default::default() }.network().unwrap()
}

/// z = w . x + b, with parameters `line.weight` and `line.bias`.
pub fn line(input: [usize; 3]) -> Network {
    let dense = Dense::new("line", input.iter().product(), 1);
    Network::new(&input, Sequential::new().then(Flatten).then(dense)).unwrap()
}

pub fn start(model: &dyn Model, dtype: DType) -> Params {
    model.init(5, dtype, &Device::Cpu).unwrap()
}

/// All of theta, in f64.
pub fn flat(params: &Params) -> Vec<f64> {
    let host = |t: &Tensor| {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    params.iter().flat_map(|(_, t)| host(t)).collect()
}

/// ||a - b|| / ||b||; NaN if either holds one.
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(x, y)| x - y)) / norm(&mut b.iter().copied())
}
