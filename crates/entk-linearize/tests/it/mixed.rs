//! The mixed derivative against finite differences, its adjoint and itself. Theorem 1 is tested in
//! the `entk` crate, together with the eigenpairs of M^T M.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Tensor};
use entk_linearize::{Jacobian, LinearizeError, MixedDerivative};
use entk_models::{
    Activation, Dense, Flatten, Model, Network, NormMode, Operation, Params, ResNetConfig,
    Result as ModelResult, Sequential, only_tangent,
};
use entk_testing::{networks, normal, normals, test_device};

/// f64 round-off of sums of some thousand terms.
const DOUBLE: f64 = 1e-12;

fn lenet(activation: Activation) -> Network {
    networks::lenet5([2, 8, 8], [12, 8], activation).unwrap()
}

fn resnet(activation: Activation) -> Network {
    let (input, blocks) = ([1, 6, 6], vec![1, 2]);
    let config = ResNetConfig { input, blocks, width: 3, activation, ..ResNetConfig::default() };
    config.network().unwrap()
}

fn mlp(activation: Activation) -> Network {
    networks::mlp([1, 3, 2], &[7, 5], 1, activation).unwrap()
}

/// Random parameters, biases included.
fn theta(network: &Network, seed: u64) -> Params {
    let noise = Params::standard_normal(&network.specs(), seed, DType::F64, test_device()).unwrap();
    network.init(seed, DType::F64, test_device()).unwrap().add_scaled(0.3, &noise).unwrap()
}

fn points(network: &Network, seed: u64, n: usize) -> Tensor {
    normal(&[&[n], network.input_shape()].concat(), seed).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn equals_differences_of_gradients() {
    // Central differences of step h: h^2 of the third derivative, eps / h of round-off.
    let (h, tolerance) = (1e-5, 1e-7);
    let smooth = [Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Square];
    for network in smooth.into_iter().flat_map(|a| [lenet(a), mlp(a), resnet(a)]) {
        let (theta, x) = (theta(&network, 1), points(&network, 2, 3));
        let mixed = MixedDerivative::averaged(&network, &theta, &x).unwrap();
        let u = normals(mixed.dim(), 3);
        let step = Tensor::from_vec(u.clone(), x.get(0).unwrap().shape(), test_device()).unwrap();
        let gradient = |sign: f64| {
            let moved = x.broadcast_add(&(&step * (sign * h)).unwrap()).unwrap();
            Jacobian::new(&network, &theta, &moved).unwrap().vjp(&[1.0 / 3.0; 3]).unwrap()
        };
        let difference = gradient(1.0).sub(&gradient(-1.0)).unwrap().scale(0.5 / h).unwrap();
        let found = mixed.apply(&u).unwrap();
        let error = found.sub(&difference).unwrap().norm().unwrap();
        let size = difference.norm().unwrap();
        assert!(error <= tolerance * size, "{network:?}: {error:e} of {size:e}");
    }
}

#[test]
fn the_two_products_are_adjoint() {
    let (smooth, kinked) = (Activation::Gelu, Activation::Relu);
    for network in [lenet(smooth), mlp(Activation::Tanh), resnet(smooth), lenet(kinked)] {
        let (theta, x) = (theta(&network, 4), points(&network, 5, 4));
        let mixed = MixedDerivative::averaged(&network, &theta, &x).unwrap();
        let u = normals(mixed.dim(), 6);
        let v = Params::standard_normal(&network.specs(), 7, DType::F64, test_device()).unwrap();
        let image = mixed.apply(&u).unwrap();
        let (left, right) = (image.dot(&v).unwrap(), dot(&u, &mixed.apply_transposed(&v).unwrap()));
        let scale = image.norm().unwrap() * v.norm().unwrap();
        assert!((left - right).abs() <= DOUBLE * scale, "{left} {right}");
    }
}

#[test]
fn structured_and_explicit_grams_agree() {
    let networks = [lenet(Activation::Gelu), mlp(Activation::Silu), resnet(Activation::Gelu)];
    for (network, zero_branches) in networks.into_iter().zip([false, false, true]) {
        let x = points(&network, 9, 1);
        // At its initial law the residual network has parameters without gradient, left out on one
        // side.
        let theta = match zero_branches {
            true => network.init(8, DType::F64, test_device()).unwrap(),
            false => theta(&network, 8),
        };
        let active = network.active_parameters(&theta).unwrap();
        assert_eq!(active.count() < active.total(), zero_branches);
        // The mean over two copies of a point is its value, by way of the columns of M.
        let twice = Tensor::cat(&[&x, &x], 0).unwrap();
        let [one, two] = [&x, &twice]
            .map(|x| MixedDerivative::averaged(&network, &theta, x).unwrap().gram().unwrap());
        let largest = one.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        for (a, b) in one.iter().zip(&two) {
            assert!((a - b).abs() <= DOUBLE * largest, "{a:e} {b:e}");
        }
    }
}

#[test]
fn relu_at_zero_has_no_directions() {
    let network = lenet(Activation::Relu);
    let theta = network.init(15, DType::F64, test_device()).unwrap();
    let gram = MixedDerivative::at_zero(&network, &theta).unwrap().gram().unwrap();
    assert!(gram.iter().all(|&x| x == 0.0));
}

/// x / 2, as a user writes an operation: without a rule for mixed derivatives.
#[derive(Debug, Clone)]
struct Halve;

impl Operation for Halve {
    type Cache = ();

    fn output_shape(&self, inputs: &[&[usize]]) -> ModelResult<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> ModelResult<(Tensor, ())> {
        Ok(((inputs[0] * 0.5)?, ()))
    }

    fn jvp(&self, (): &(), tangents: &[Option<&Tensor>]) -> ModelResult<Tensor> {
        Ok((only_tangent(tangents)? * 0.5)?)
    }

    fn vjp(&self, (): &(), dy: &Tensor, _: &[bool]) -> ModelResult<Vec<Option<Tensor>>> {
        Ok(vec![Some((dy * 0.5)?)])
    }
}

#[test]
fn bad_directions_and_operations_without_a_rule_are_errors() {
    let network = mlp(Activation::Gelu);
    let theta = theta(&network, 16);
    let mixed = MixedDerivative::at_zero(&network, &theta).unwrap();
    let short = mixed.apply(&[1.0; 5]);
    assert!(matches!(short, Err(LinearizeError::Length { expected: 6, got: 5, .. })));
    let nan = mixed.apply(&[0.0, f64::NAN, 0.0, 0.0, 0.0, 0.0]);
    assert!(matches!(nan, Err(LinearizeError::NonFinite { index: 1, .. })));
    let none = Tensor::zeros((0, 1, 3, 2), DType::F64, test_device()).unwrap();
    assert!(MixedDerivative::averaged(&network, &theta, &none).is_err());

    let layers = Sequential::new().then(Flatten).then(Halve).then(Dense::new("fc", 6, 1));
    let network = Network::new(&[1, 3, 2], layers).unwrap();
    let theta = network.init(0, DType::F64, test_device()).unwrap();
    let mixed = MixedDerivative::at_zero(&network, &theta).unwrap();
    let refused = mixed.apply_transposed(&theta).unwrap_err().to_string();
    assert!(refused.contains("Halve") && refused.contains("mixed second derivative"), "{refused}");
}

/// M^T M by its definition: inner products of the images of unit directions.
fn of_columns(mixed: &MixedDerivative<'_>) -> Vec<f64> {
    let d = mixed.dim();
    let unit = |j: usize| (0..d).map(|i| f64::from(u8::from(i == j))).collect::<Vec<_>>();
    let flat = |(_, tensor): (&str, &Tensor)| -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    };
    let column = |j| mixed.apply(&unit(j)).unwrap().iter().flat_map(flat).collect::<Vec<_>>();
    let columns: Vec<Vec<f64>> = (0..d).map(column).collect();
    columns.iter().flat_map(|a| columns.iter().map(|b| dot(a, b))).collect()
}

/// 17 x 17 pixels are more directions than one sweep carries.
fn many_pixels() -> Network {
    networks::mlp([1, 17, 17], &[4, 3], 1, Activation::Tanh).unwrap()
}

fn without_biases() -> Network {
    let layers = Sequential::new()
        .then(Flatten)
        .then(Dense::new("fc", 6, 5).without_bias())
        .then(Activation::Gelu)
        .then(Dense::new("head", 5, 2).without_bias());
    Network::new(&[1, 3, 2], layers).unwrap()
}

#[test]
fn every_entry_of_a_gram_is_an_inner_product_of_columns() {
    let small = [mlp(Activation::Silu), without_biases(), lenet(Activation::Gelu)];
    let cases = small.into_iter().flat_map(|network| [(network.clone(), 1), (network, 3)]);
    for (network, n) in cases.chain([(many_pixels(), 1)]) {
        let (theta, x) = (theta(&network, 17), points(&network, 18, n));
        let mixed = MixedDerivative::averaged(&network, &theta, &x).unwrap();
        let (found, expected) = (mixed.gram().unwrap(), of_columns(&mixed));
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= DOUBLE * largest, "{network:?}, {n}: {at}: {a:e} for {b:e}");
        }
        let d = mixed.dim();
        assert!((0..d * d).all(|at| found[at] == found[at % d * d + at / d]));
    }
}

#[test]
fn memory_is_what_is_kept_for_all_directions() {
    let squares = |d: usize| 8 * d * d;
    let bytes = |kept: usize, largest: usize, d: usize, swept: usize, network: &Network| {
        8 * ((kept + largest) * d + squares(d) + 4 * swept * network.summary().values()) as u64
    };
    // At one point: inputs and cotangents of a dense layer, and how both move.
    let network = mlp(Activation::Gelu);
    let theta_ = theta(&network, 19);
    let [one, three] = [1, 3].map(|n| points(&network, 20, n));
    let mixed = MixedDerivative::averaged(&network, &theta_, &one).unwrap();
    let layers = [2 * (6 + 7), 2 * (7 + 5), 2 * (5 + 1)];
    let kept = layers.iter().sum();
    assert_eq!(mixed.gram_bytes().unwrap(), bytes(kept, layers[0], 6, 6, &network));
    // At several: the columns of M, and one of them once more.
    let mixed = MixedDerivative::averaged(&network, &theta_, &three).unwrap();
    let parameters = theta_.count();
    assert_eq!(mixed.gram_bytes().unwrap(), bytes(parameters, parameters, 6, 3, &network));
    // No more than 256 directions at a time.
    let network = many_pixels();
    let theta_ = theta(&network, 21);
    let one = points(&network, 22, 1);
    let mixed = MixedDerivative::averaged(&network, &theta_, &one).unwrap();
    let layers = [2 * (289 + 4), 2 * (4 + 3), 2 * (3 + 1)];
    let kept = layers.iter().sum();
    assert_eq!(mixed.gram_bytes().unwrap(), bytes(kept, layers[0], 289, 256, &network));
}
