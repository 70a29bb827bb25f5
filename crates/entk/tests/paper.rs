//! The paper's alignment, Lemma 1 and Theorem 1 as properties of random networks, in f64.

use std::cell::Cell;

use candle_core::{DType, Device, Tensor};
use entk::{
    gram::{GramConfig, gram},
    linearize::{Jacobian, MixedDerivative},
    models::{
        Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, GlobalMean, MlpConfig, Model,
        Network, Params, ResNetConfig, Residual, Sequential,
    },
    spectral::{Gram, alignment, eigh, inverse_quadratic},
};
use entk_testing::normals;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// f64 round-off of some hundred operations, relative to the sizes that enter them.
const ROUND_OFF: f64 = 1e-13;

fn config() -> Config {
    Config {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x6e74_6b5f),
        ..Config::default()
    }
}

fn fails(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A network with parameters of size `spread` about their initial law.
struct Subject {
    network: Network,
    theta: Params,
}

impl Subject {
    fn new(network: Network, spread: f64, seed: u64) -> Result<Self> {
        let specs = network.specs();
        let noise = Params::standard_normal(&specs, seed ^ 1, DType::F64, &Device::Cpu)?;
        let theta = network.init(seed, DType::F64, &Device::Cpu)?.add_scaled(spread, &noise)?;
        Ok(Self { network, theta })
    }

    fn dim(&self) -> usize {
        self.network.input_shape().iter().product()
    }

    /// Points given one after the other.
    fn batch(&self, flat: Vec<f64>) -> Result<Tensor> {
        let n = flat.len() / self.dim();
        let shape = [&[n], self.network.input_shape()].concat();
        Ok(Tensor::from_vec(flat, shape, &Device::Cpu)?)
    }

    fn jacobian<'a>(&'a self, x: &'a Tensor) -> Result<Jacobian<'a>> {
        Ok(Jacobian::new(&self.network, &self.theta, x)?)
    }
}

/// An MLP or a small ResNet.
fn any_network() -> impl Strategy<Value = (bool, usize, Activation)> {
    let activation = prop_oneof![
        Just(Activation::Relu),
        Just(Activation::Gelu),
        Just(Activation::Silu),
        Just(Activation::Tanh)
    ];
    (any::<bool>(), 2..6_usize, activation)
}

fn build(
    (residual, width, activation): (bool, usize, Activation),
    side: usize,
    spread: f64,
    seed: u64,
) -> Result<Subject> {
    let input = [1, side, side];
    let network = match residual {
        true => {
            let blocks = vec![1, 1];
            ResNetConfig { input, blocks, width, activation, ..Default::default() }.network()
        }
        false => {
            let hidden = vec![2 * width, width];
            MlpConfig { input, hidden, activation, ..Default::default() }.network()
        }
    };
    Subject::new(network?, spread, seed)
}

/// alpha(f) = f^T K f / m^2 from the Gram, ||E[f grad f]||^2 without it and one example at a
/// time, and a bound on each of their terms: E[|f| ||grad f||]^2.
fn alignments(subject: &Subject, n: usize, seed: u64) -> Result<[f64; 4]> {
    let (x, f) = (subject.batch(normals(n * subject.dim(), seed))?, normals(n, seed ^ 2));
    let kernel = gram(&subject.network, &subject.theta, &x, &GramConfig::default())?;
    let (mut mean, mut bound) = (subject.theta.zeros_like()?, 0.0);
    for (i, f) in f.iter().enumerate() {
        let gradient = subject.jacobian(&x.narrow(0, i, 1)?)?.vjp(&[1.0])?;
        mean = mean.add_scaled(f / n as f64, &gradient)?;
        bound += f.abs() / n as f64 * gradient.norm()?;
    }
    let streamed = subject.jacobian(&x)?.alignment(&f)?;
    Ok([alignment(&kernel, &f)?, streamed, mean.dot(&mean)?, bound * bound])
}

/// (f^T K^-1 f)(f^T K f) / (f^T f)^2, and its round-off: that of the inverse form grows with the
/// condition number.
fn lemma_one(kernel: &Gram, f: &[f64]) -> Result<[f64; 2]> {
    let m = kernel.n() as f64;
    let inverse = inverse_quadratic(&eigh(kernel)?, f)?;
    let ratio = inverse.value * alignment(kernel, f)? * m * m / dot(f, f).powi(2);
    Ok([ratio, 100.0 * m * f64::EPSILON * inverse.condition])
}

/// The kernel of a network on a sample, with a ridge of 1e-6 of its mean diagonal: a sample where
/// two inputs have nearly the same gradient is then no less conditioned than the others.
fn definite_kernel(subject: &Subject, n: usize, seed: u64) -> Result<Gram> {
    let x = subject.batch(normals(n * subject.dim(), seed))?;
    let kernel = gram(&subject.network, &subject.theta, &x, &GramConfig::default())?;
    let mut entries = kernel.entries().to_f64_vec();
    let ridge = 1e-6 * kernel.trace()? / n as f64;
    entries.iter_mut().step_by(n + 1).for_each(|x| *x += ridge);
    Ok(Gram::from_lower_f64(n, entries)?)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn alignment_is_the_norm_of_the_mean_gradient(
        network in any_network(), n in 1..9_usize, seed in any::<u64>(),
    ) {
        let subject = build(network, 4, 0.2, seed).map_err(fails)?;
        let [kernel, streamed, mean, bound] = alignments(&subject, n, seed).map_err(fails)?;
        prop_assert!((kernel - mean).abs() <= ROUND_OFF * bound, "{kernel:e} {mean:e}");
        prop_assert!((streamed - mean).abs() <= ROUND_OFF * bound, "{streamed:e} {mean:e}");
    }

    #[test]
    fn lemma_one_holds_with_equality_at_eigenvectors(
        network in any_network(), n in 1..9_usize, seed in any::<u64>(),
    ) {
        let subject = build(network, 4, 0.2, seed).map_err(fails)?;
        let kernel = definite_kernel(&subject, n, seed).map_err(fails)?;
        let [ratio, tolerance] = lemma_one(&kernel, &normals(n, seed ^ 3)).map_err(fails)?;
        prop_assert!(ratio >= 1.0 - tolerance, "{ratio}");
        for (_, phi) in eigh(&kernel).map_err(fails)?.iter() {
            let [ratio, tolerance] = lemma_one(&kernel, phi).map_err(fails)?;
            prop_assert!((ratio - 1.0).abs() <= tolerance, "{ratio} {tolerance:e}");
        }
    }

    #[test]
    fn theorem_one_is_exact_for_gradients_of_degree_two(
        kind in 0..4_usize, width in 1..5_usize, s in 0.3..3.0, seed in any::<u64>(),
    ) {
        let subject = quadratic(kind, width, seed).map_err(fails)?;
        theorem_one(&subject, s, &normals(subject.dim(), seed ^ 4)).map_err(fails)?;
    }

    #[test]
    fn directions_have_the_alignments_they_predict(
        kind in 0..4_usize, width in 1..5_usize, s in 0.3..3.0, seed in any::<u64>(),
    ) {
        let subject = quadratic(kind, width, seed).map_err(fails)?;
        let [found, predicted, largest] = predictions(&subject, s).map_err(fails)?;
        for ((found, predicted), bound) in found.iter().zip(predicted).zip(largest) {
            prop_assert!((found - predicted).abs() <= bound, "{found:e} {predicted:e} {bound:e}");
        }
    }
}

/// A network that is a polynomial of degree 2 in x, and so is its gradient: of dense layers, of a
/// convolution and pooling, with a frozen norm, or residual.
fn quadratic(kind: usize, width: usize, seed: u64) -> Result<Subject> {
    let square = Activation::Square;
    let (input, layers) = match kind {
        0 => (
            [1, 1, 3],
            Sequential::new().then(Flatten).then(Dense::new("fc1", 3, width)).then(square),
        ),
        1 => {
            let conv = Conv2d::new("conv", 1, width, 3);
            let layers = Sequential::new().then(conv).then(square).then(AvgPool2d::new(2));
            ([1, 2, 2], layers.then(Flatten))
        }
        2 => {
            let norm = BatchNorm2d::new("norm", width).with_activation(square);
            let layers = Sequential::new().then(Conv2d::new("conv", 2, width, 3)).then(norm);
            ([2, 1, 2], layers.then(GlobalMean))
        }
        _ => {
            let branch = Sequential::new()
                .then(BatchNorm2d::new("norm", width))
                .then(square)
                .then(Conv2d::new("conv2", width, width, 3));
            let layers = Sequential::new().then(Conv2d::new("conv1", 1, width, 2));
            ([1, 2, 2], layers.then(Residual::new(branch)).then(GlobalMean))
        }
    };
    Subject::new(Network::new(&input, layers.then(Dense::new("head", width, 1)))?, 0.5, seed)
}

/// E[(u . x) grad f(x)] for x ~ N(0, s^2 I), by Gauss and Hermite's three nodes on each axis,
/// exact for polynomials of degree 5: (u . x) grad f has degree 3. With it
/// E[|u . x| ||grad f(x)||], the size of its terms.
fn quadrature(subject: &Subject, u: &[f64], s: f64) -> Result<(Params, f64)> {
    let nodes = [(-3.0_f64.sqrt(), 1.0 / 6.0), (0.0, 2.0 / 3.0), (3.0_f64.sqrt(), 1.0 / 6.0)];
    let (mut mean, mut size) = (subject.theta.zeros_like()?, 0.0);
    for at in 0..3_usize.pow(subject.dim() as u32) {
        let digits = (0..subject.dim() as u32).map(|axis| nodes[at / 3_usize.pow(axis) % 3]);
        let (x, weights): (Vec<f64>, Vec<f64>) = digits.map(|(x, w)| (s * x, w)).unzip();
        let weight = weights.iter().product::<f64>() * dot(u, &x);
        let gradient = subject.jacobian(&subject.batch(x)?)?.vjp(&[1.0])?;
        mean = mean.add_scaled(weight, &gradient)?;
        size += weight.abs() * gradient.norm()?;
    }
    Ok((mean, size))
}

/// Theorem 1 for the target u . x: the mean gradient is s^2 M u, and its squared norm, the
/// alignment, s^4 ||M u||^2 = s^4 u^T (M^T M) u.
fn theorem_one(subject: &Subject, s: f64, u: &[f64]) -> Result<()> {
    let (mean, size) = quadrature(subject, u, s)?;
    let mixed = MixedDerivative::at_zero(&subject.network, &subject.theta)?;
    let image = mixed.apply(u)?;
    let error = mean.add_scaled(-s * s, &image)?.norm()?;
    ensure(error <= ROUND_OFF * size, "mean gradient", error, size)?;

    let rows: Vec<f64> = mixed.gram()?.chunks_exact(u.len()).map(|row| dot(row, u)).collect();
    let (alignment, predicted) = (mean.dot(&mean)?, s.powi(4) * dot(&rows, u));
    let error = (alignment - predicted).abs();
    ensure(error <= ROUND_OFF * size * size, "alignment", alignment, predicted)
}

fn ensure(holds: bool, what: &str, left: f64, right: f64) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("{what}: {left:e} {right:e}").into()) }
}

/// Of every right singular vector v of M: the alignment of v . x, the prediction s^4 sigma^2, and
/// the round-off between them.
fn predictions(subject: &Subject, s: f64) -> Result<[Vec<f64>; 3]> {
    let mixed = MixedDerivative::at_zero(&subject.network, &subject.theta)?;
    let pairs = eigh(&Gram::from_lower_f64(subject.dim(), mixed.gram()?)?)?;
    let mut columns = [const { Vec::new() }; 3];
    for (value, v) in pairs.iter() {
        let (mean, size) = quadrature(subject, v, s)?;
        let solver = 100.0 * f64::EPSILON * pairs.values()[0] * s.powi(4);
        columns[0].push(mean.dot(&mean)?);
        columns[1].push(value * s.powi(4));
        columns[2].push(ROUND_OFF * size * size + solver);
    }
    Ok(columns)
}

/// Mean and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Theorem 1 tested along the parameter direction v = M(0) u, by Stein's identity for
/// x ~ N(0, I): E[(u . x) J(x) v] = E[u^T M(x)^T v]. The mean of the right side, that of the
/// difference, and the standard error of the latter.
fn stein(subject: &Subject, seed: u64) -> Result<[f64; 3]> {
    let (d, n) = (subject.dim(), 400);
    let (flat, u) = (normals(n * d, seed ^ 5), normals(d, seed ^ 6));
    let v = MixedDerivative::at_zero(&subject.network, &subject.theta)?.apply(&u)?;
    let x = subject.batch(flat.clone())?;
    let tangents = subject.jacobian(&x)?.jvp(&v)?;
    let sweep = subject.network.sweep(&subject.theta, &x)?;
    let moved = sweep.mixed(Some(&v), None)?.input_gradient()?.flatten_all()?.to_vec1::<f64>()?;
    let sides: Vec<f64> = moved.chunks_exact(d).map(|moved| dot(&u, moved)).collect();
    let differences: Vec<f64> = (flat.chunks_exact(d).zip(&sides).zip(&tangents))
        .map(|((x, side), jv)| dot(&u, x) * jv - side)
        .collect();
    let (mean, sigma) = mean_and_error(&differences);
    Ok([mean_and_error(&sides).0, mean, sigma])
}

#[test]
fn theorem_one_holds_within_four_sigma_for_gelu_networks() {
    let certain = Cell::new(0);
    let case = (any::<bool>(), 2..6_usize, any::<u64>());
    let outcome = TestRunner::new(config()).run(&case, |(residual, width, seed)| {
        // Parameters of size 1, so that the curvature of the activation has a mean of its own.
        let subject = build((residual, width, Activation::Gelu), 2, 1.0, seed).map_err(fails)?;
        let [side, difference, sigma] = stein(&subject, seed).map_err(fails)?;
        prop_assert!(difference.abs() <= 4.0 * sigma, "{difference} against sigma {sigma}");
        certain.set(certain.get() + usize::from(side.abs() > 8.0 * sigma));
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    // The test has power: either side alone is often far from zero.
    assert!(certain.get() >= 64, "{} of 256", certain.get());
}
