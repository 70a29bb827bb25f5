//! Random graphs of operations with weights of extreme scales, in both precisions: kernels against
//! the oracle of one gradient at a time, symmetries of the data, and what overflows.

use candle_core::{DType, Tensor};
use entk_gram::{
    Assembly, GramConfig, GramError, Outputs, StoreConfig, Strategy, cross_gram, gram,
};
use entk_models::{
    Activation, Add, Affine, AvgPool2d, Conv2d, Dense, Flatten, Graph, GroupNorm, Initializer,
    LayerNorm, MaxPool2d, Mean, Model, MultiHeadAttention, Multiply, Network, ParamSpec, Params,
    Result, RmsNorm, Value,
};
use entk_spectral::{Gram, SpectralError, eigh};
use entk_testing::{Case, TestResult, kernel_cases, normal, test_device};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::common::{DOUBLE, SINGLE};

/// Random networks among the tests of every day; `ENTK_STRESS_CASES` says another number.
const CASES: u64 = 60;
/// Operations of a network, and examples.
const MOST: usize = 18;
const N: usize = 7;
struct Stress {
    network: Network,
    theta: Params,
    x: Tensor,
    config: GramConfig,
    /// What it is, for messages.
    name: String,
}

impl Stress {
    fn new(seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = network(&mut rng)?;
        let dtype = if rng.random() { DType::F64 } else { DType::F32 };
        let reach = if dtype == DType::F64 { 30.0 } else { 4.0 };
        let [weights, inputs] = [0, 1].map(|_| 10f64.powf(rng.random_range(-reach..reach) / 3.0));
        let noise = Params::standard_normal(&network.specs(), seed, dtype, test_device())?;
        let theta = network.init(seed, dtype, test_device())?.add_scaled(0.1, &noise)?;
        let x = normal(&[&[N], network.input_shape()].concat(), seed + 1)?;
        let outputs = [Outputs::Trace, Outputs::Full, Outputs::SumOfLogits];
        let config = GramConfig {
            outputs: outputs[rng.random_range(0..3)],
            micro_batch: Some(rng.random_range(1..=N)),
            ..GramConfig::default()
        };
        Ok(Self {
            name: format!("seed {seed}, {dtype:?}, weights {weights:.0e}, inputs {inputs:.0e}"),
            theta: theta.scale(weights)?,
            x: (x * inputs)?.to_dtype(dtype)?,
            network,
            config,
        })
    }

    fn tolerance(&self) -> f64 {
        if self.theta.dtype() == DType::F64 { DOUBLE } else { SINGLE }
    }

    fn kernel(&self, x: &Tensor) -> std::result::Result<Gram, GramError> {
        gram(&self.network, &self.theta, x, &self.config)
    }

    /// Rows of the kernel an example.
    fn rows(&self) -> usize {
        if self.config.outputs == Outputs::Full { self.network.outputs() } else { 1 }
    }
}

/// A network of at most [`MOST`] operations on images, tokens or vectors.
fn network(rng: &mut ChaCha8Rng) -> Result<Network> {
    let mut graph = Graph::new();
    let size = |rng: &mut ChaCha8Rng, most: usize| rng.random_range(1..=most);
    let input = match rng.random_range(0..3) {
        0 => vec![size(rng, 3), 1 + size(rng, 6), 1 + size(rng, 6)],
        1 => vec![size(rng, 5), size(rng, 7)],
        _ => vec![size(rng, 9)],
    };
    let mut value = graph.input(&input);
    for at in 0..rng.random_range(1..=MOST - 2) {
        value = step(&mut graph, value, &format!("l{at}"), rng)?;
    }
    value = graph.apply(Flatten, &[value])?;
    let width = graph.shape(value)?[0];
    let output = graph.add(&Dense::new("head", width, rng.random_range(1..=3)), value)?;
    graph.network(output)
}

/// One more operation on what there is.
fn step(graph: &mut Graph, value: Value, name: &str, rng: &mut ChaCha8Rng) -> Result<Value> {
    if rng.random_range(0..3) == 0 {
        let all = [
            Activation::Relu,
            Activation::Gelu,
            Activation::Silu,
            Activation::Tanh,
            Activation::Square,
        ];
        return graph.apply(all[rng.random_range(0..all.len())], &[value]);
    }
    if rng.random_range(0..6) == 0 {
        let gate = graph.apply(Activation::Tanh, &[value])?;
        return match rng.random() {
            true => graph.apply(Multiply, &[value, gate]),
            false => graph.apply(Add, &[value, gate]),
        };
    }
    let shape = graph.shape(value)?.to_vec();
    match *shape.as_slice() {
        [c, h, w] => on_images(graph, value, name, [c, h, w], rng),
        [_, d] => on_tokens(graph, value, name, d, rng),
        [d] => on_vectors(graph, value, name, d, rng),
        _ => graph.apply(Flatten, &[value]),
    }
}

fn on_images(
    graph: &mut Graph,
    value: Value,
    name: &str,
    [c, h, w]: [usize; 3],
    rng: &mut ChaCha8Rng,
) -> Result<Value> {
    let filters = rng.random_range(1..=6);
    match rng.random_range(0..6) {
        0 if h > 1 && w > 1 => graph.add(&AvgPool2d::new(2), value),
        1 if h > 1 && w > 1 => graph.add(&MaxPool2d::new(2), value),
        2 => graph.add(&GroupNorm::new(name, 1, c), value),
        3 => {
            // A residual block of one convolution.
            let branch = graph.add(&Conv2d::new(name, c, c, 3), value)?;
            graph.apply(Add, &[value, branch])
        }
        4 => graph.add(&Conv2d::new(name, c, filters, 1).with_stride(2), value),
        _ => graph.add(&Conv2d::new(name, c, filters, 3), value),
    }
}

fn on_tokens(
    graph: &mut Graph,
    value: Value,
    name: &str,
    d: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Value> {
    match rng.random_range(0..5) {
        0 => graph.add(&LayerNorm::new(name, &[d]), value),
        1 => graph.add(&MultiHeadAttention::new(name, d, 1), value),
        2 => graph.add(&Mean::over(&[0]), value),
        3 => graph.apply(Flatten, &[value]),
        _ => graph.add(&Dense::new(name, d, rng.random_range(1..=9)), value),
    }
}

fn on_vectors(
    graph: &mut Graph,
    value: Value,
    name: &str,
    d: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Value> {
    match rng.random_range(0..4) {
        0 => graph.add(&RmsNorm::new(name, d), value),
        1 => {
            // One weight, used twice.
            let law = Initializer::LecunNormal { fan_in: d };
            let spec = ParamSpec::trainable(format!("{name}.weight"), &[d, d], law);
            let weight = graph.parameter(spec)?;
            let once = graph.apply(Affine, &[value, weight])?;
            let bent = graph.apply(Activation::Gelu, &[once])?;
            graph.apply(Affine, &[bent, weight])
        }
        _ => graph.add(&Dense::new(name, d, rng.random_range(1..=12)), value),
    }
}

/// Whether |a - b| <= tolerance sqrt(aa bb), false on NaN.
fn near(a: f64, b: f64, squares: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * squares.sqrt()
}

/// Compares entry (i, j) of a kernel with that of another at `place`.
fn assert_near(
    stress: &Stress,
    what: &str,
    n: usize,
    got: impl Fn(usize, usize) -> f64,
    expected: &Gram,
    place: impl Fn(usize) -> usize,
) {
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let (to, from) = (place(i), place(j));
        let squares = expected.get(to, to) * expected.get(from, from);
        let (a, b) = (got(i, j), expected.get(to, from));
        let is_near = near(a, b, squares, stress.tolerance());
        assert!(is_near, "{}, {what} ({i}, {j}): {a:e} and {b:e} of {squares:e}", stress.name);
    }
}

/// Whether the message of a kernel that is not finite names the remedy.
fn is_reported(error: &GramError) -> bool {
    let text = error.to_string();
    text.contains("scale inputs or weights down, or use f64")
}

fn check(stress: &Stress) -> TestResult {
    let (rows, kernel) = match (stress.rows(), stress.kernel(&stress.x)) {
        (rows, Ok(kernel)) => (rows, kernel),
        (_, Err(error)) => {
            assert!(is_reported(&error), "{}: {error}", stress.name);
            return Ok(());
        }
    };
    let n = kernel.n();
    assert_eq!(n, N * rows, "{}", stress.name);

    let config = GramConfig { strategy: Strategy::PerExample, ..stress.config.clone() };
    let oracle = gram(&stress.network, &stress.theta, &stress.x, &config)?;
    assert_near(stress, "oracle", n, |i, j| kernel.get(i, j), &oracle, |i| i);

    // The examples in another order are the rows and columns in that order.
    let order: Vec<u32> = (0..N as u32).map(|at| (3 * at + 2) % N as u32).collect();
    let moved = Tensor::new(order.as_slice(), stress.x.device())?;
    let permuted = stress.kernel(&stress.x.index_select(&moved, 0)?)?;
    let place = |row: usize| order[row / rows] as usize * rows + row % rows;
    assert_near(stress, "permuted", n, |i, j| permuted.get(i, j), &kernel, place);

    // Two halves of the inputs have the blocks of the whole.
    let (first, second) = (stress.x.narrow(0, 0, 3)?, stress.x.narrow(0, 3, N - 3)?);
    let half = stress.kernel(&first)?;
    assert_near(stress, "first part", 3 * rows, |i, j| half.get(i, j), &kernel, |i| i);
    let cross = cross_gram(&stress.network, &stress.theta, &first, &second, &stress.config)?;
    for (i, j) in (0..3 * rows).flat_map(|i| (0..(N - 3) * rows).map(move |j| (i, j))) {
        let to = 3 * rows + j;
        let squares = kernel.get(i, i) * kernel.get(to, to);
        let (a, b) = (cross.get(i, j), kernel.get(i, to));
        assert!(near(a, b, squares, stress.tolerance()), "{} cross: {a:e} {b:e}", stress.name);
    }
    is_positive(stress, &kernel)
}

/// No eigenvalue is below zero by more than round-off of the largest.
fn is_positive(stress: &Stress, kernel: &Gram) -> TestResult {
    match eigh(kernel) {
        Ok(pairs) => {
            let values = pairs.values();
            let floor = -stress.tolerance() * values.first().copied().unwrap_or(0.0);
            let least = values.last().copied().unwrap_or(0.0);
            assert!(least >= floor, "{}: {least:e} below {floor:e}", stress.name);
        }
        Err(SpectralError::Overflow { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[test]
fn random_networks_of_any_scale() -> TestResult {
    let cases = std::env::var("ENTK_STRESS_CASES").ok().and_then(|text| text.parse().ok());
    for seed in 0..cases.unwrap_or(CASES) {
        check(&Stress::new(seed)?)?;
    }
    Ok(())
}

/// Sides of equal length are still two sets, in every form of a factor and in tiles beside the
/// diagonal.
#[test]
fn two_sets_of_equal_size_are_not_taken_for_one() -> TestResult {
    for Case { name, network, theta, x } in kernel_cases()? {
        let config = GramConfig::default();
        let whole = gram(&network, &theta, &x, &config)?;
        let (left, right) = (x.narrow(0, 0, 40)?, x.narrow(0, 40, 40)?);
        let cross = cross_gram(&network, &theta, &left, &right, &config)?;
        let folder = tempfile::tempdir()?;
        let tiled = StoreConfig { edge: 40, ..StoreConfig::default() };
        let assembly = Assembly::new(&network, &theta, &x, &config)?;
        let stored = assembly.store(folder.path(), &tiled)?.store.gram()?;
        for (i, j) in (0..40).flat_map(|i| (0..40).map(move |j| (i, j))) {
            let (expected, to) = (whole.get(i, 40 + j), 40 + j);
            let squares = whole.get(i, i) * whole.get(to, to);
            for (what, got) in [("cross", cross.get(i, j)), ("store", stored.get(to, i))] {
                let is_near = near(got, expected, squares, DOUBLE);
                assert!(is_near, "{name}, {what} ({i}, {j}): {got:e} and {expected:e}");
            }
        }
    }
    Ok(())
}
