//! Random residual stacks with batch norm, in f64: adjoint identity, finite differences, training
//! gradients, mixed derivatives, and the indifference to skipping.

use candle_core::DType;
use entk_models::{
    Activation, BatchNorm2d, Conv2d, Dense, GlobalMean, Model, Network, Params, Residual, Result,
    Sequential,
};
use entk_testing::{moved_statistics, normal, test_device};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, RngSeed},
};

/// f64 round-off of the two sides of an identity, relative to the product of the norms.
const ROUND_OFF: f64 = 1e-12;
/// Central differences with h = 1e-5, relative to the product of the norms: truncation h^2 times
/// third derivatives of up to 1e4 where a norm sees few, nearly equal pixels.
const DIFFERENCES: f64 = 1e-5;
const STEP: f64 = 1e-5;

#[derive(Debug, Clone)]
struct Block {
    filters: usize,
    kernel: usize,
    stride: usize,
    inner: Activation,
    outer: Option<Activation>,
    zero: bool,
}

#[derive(Debug, Clone)]
struct Stack {
    input: [usize; 3],
    batch: usize,
    blocks: Vec<Block>,
    seed: u64,
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::Gelu), Just(Activation::Silu), Just(Activation::Tanh)]
}

fn block() -> impl Strategy<Value = Block> {
    let outer = proptest::option::of(activation());
    (1..5usize, 1..4usize, 1..3usize, activation(), outer, any::<bool>()).prop_map(
        |(filters, kernel, stride, inner, outer, zero)| Block {
            filters,
            kernel,
            stride,
            inner,
            outer,
            zero,
        },
    )
}

fn stack() -> impl Strategy<Value = Stack> {
    let blocks = proptest::collection::vec(block(), 1..4);
    ([1..3usize, 4..8usize, 4..8usize], 3..6usize, blocks, any::<u64>())
        .prop_map(|(input, batch, blocks, seed)| Stack { input, batch, blocks, seed })
}

impl Stack {
    fn network(&self) -> Result<Network> {
        let mut layers = Sequential::new();
        let mut channels = self.input[0];
        for (at, block) in self.blocks.iter().enumerate() {
            layers = layers.then(block.layer(at, channels));
            channels = block.filters;
        }
        Network::new(&self.input, layers.then(GlobalMean).then(Dense::new("fc", channels, 2)))
    }

    /// Every tensor moved from its initial law, but for norm scales that are to be zero.
    fn theta(&self, network: &Network) -> Result<Params> {
        let zero = |name: &str| {
            (self.blocks.iter().enumerate())
                .any(|(at, block)| block.zero && name == format!("{at}.bn2.weight"))
        };
        let specs = network.specs();
        let noise = Params::standard_normal(&specs, self.seed ^ 1, DType::F64, test_device())?;
        let moved = Params::init(&specs, self.seed, DType::F64, test_device())?;
        let moved = moved.add_scaled(0.2, &noise)?;
        let theta = Params::from_fn(&specs, DType::F64, test_device(), |spec| {
            match (zero(&spec.name), moved.get(&spec.name)) {
                (false, Ok(tensor)) => {
                    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f64 on the host")
                }
                _ => vec![0.0; spec.elem_count()],
            }
        })?;
        moved_statistics(&theta, self.seed ^ 2)
    }
}

impl Block {
    fn layer(&self, at: usize, channels: usize) -> Residual {
        let conv = |part: &str, channels, kernel| {
            Conv2d::new(&format!("{at}.{part}"), channels, self.filters, kernel).without_bias()
        };
        let norm = |part: &str| BatchNorm2d::new(&format!("{at}.{part}"), self.filters);
        let branch = Sequential::new()
            .then(conv("conv1", channels, self.kernel).with_stride(self.stride))
            .then(norm("bn1").with_activation(self.inner))
            .then(conv("conv2", self.filters, self.kernel))
            .then(norm("bn2"));
        let residual = match self.outer {
            Some(activation) => Residual::new(branch).with_activation(activation),
            None => Residual::new(branch),
        };
        if self.stride == 1 && channels == self.filters {
            return residual;
        }
        let shortcut = Sequential::new()
            .then(conv("downsample.0", channels, 1).with_stride(self.stride))
            .then(norm("downsample.1"));
        residual.with_shortcut(shortcut)
    }
}

fn config() -> Config {
    Config {
        cases: 256,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(3),
        ..Config::default()
    }
}

fn fails(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// The relative errors of the adjoint identity, of the JVP against central differences, and of
/// the training gradient against central differences.
fn errors(stack: &Stack) -> Result<[f64; 3]> {
    let network = stack.network()?;
    let theta = stack.theta(&network)?;
    let x = normal(&[&[stack.batch][..], &stack.input].concat(), stack.seed ^ 3)?;
    let u = normal(&[stack.batch, 2], stack.seed ^ 4)?;
    let v = Params::standard_normal(&network.specs(), stack.seed ^ 5, DType::F64, test_device())?;
    let along = |outputs: &candle_core::Tensor| -> Result<f64> {
        Ok((outputs * &u)?.sum_all()?.to_scalar()?)
    };
    let at = |t: f64| theta.add_scaled(t, &v);

    let sweep = network.sweep(&theta, &x)?;
    let (jvp, gradient) = (along(&sweep.jvp(&v)?)?, sweep.vjp(&u)?);
    let frozen = |t: f64| along(&network.forward(&at(t)?, &x)?);
    let slope = (frozen(STEP)? - frozen(-STEP)?) / (2.0 * STEP);

    let trained = network.training_sweep(&theta, &x)?.vjp(&u)?;
    let batch = |t: f64| along(network.training_sweep(&at(t)?, &x)?.outputs());
    let training_slope = (batch(STEP)? - batch(-STEP)?) / (2.0 * STEP);

    let scale = gradient.norm()? * v.norm()?;
    Ok([
        (jvp - gradient.dot(&v)?).abs() / scale,
        (jvp - slope).abs() / scale,
        (trained.dot(&v)? - training_slope).abs() / (trained.norm()? * v.norm()?),
    ])
}

/// Whether skipping changes a bit of a JVP, a VJP, or a training gradient, and whether the
/// prediction of zeros holds.
fn skipping_shows(stack: &Stack) -> Result<bool> {
    let network = stack.network()?;
    let theta = stack.theta(&network)?;
    let x = normal(&[&[stack.batch][..], &stack.input].concat(), stack.seed ^ 3)?;
    let u = normal(&[stack.batch, 2], stack.seed ^ 4)?;
    let v = Params::standard_normal(&network.specs(), stack.seed ^ 5, DType::F64, test_device())?;
    network.verify_active_parameters(&theta, &x)?;
    let entered = network.clone().without_skipping();
    let (a, b) = (network.sweep(&theta, &x)?, entered.sweep(&theta, &x)?);
    let tangents = (a.jvp(&v)? - b.jvp(&v)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
    let gradients = a.vjp(&u)?.sub(&b.vjp(&u)?)?.norm()?;
    let (a, b) = (network.training_sweep(&theta, &x)?, entered.training_sweep(&theta, &x)?);
    let trained = a.vjp(&u)?.sub(&b.vjp(&u)?)?.norm()?;
    Ok(tangents != 0.0 || gradients != 0.0 || trained != 0.0)
}

/// The relative error of the adjoint identity of the mixed derivative, and that of the gradient's
/// move along parameters and inputs against central differences.
fn mixed_errors(stack: &Stack) -> Result<[f64; 2]> {
    let network = stack.network()?;
    let theta = stack.theta(&network)?;
    let shape = [&[stack.batch][..], &stack.input].concat();
    let [x, u] = [3, 6].map(|salt| normal(&shape, stack.seed ^ salt));
    let (x, u) = (x?, u?);
    let v = Params::standard_normal(&network.specs(), stack.seed ^ 5, DType::F64, test_device())?;
    let sweep = network.sweep(&theta, &x)?;
    let image = sweep.mixed(None, Some(&u))?.gradient()?;
    let back = (sweep.mixed(Some(&v), None)?.input_gradient()? * &u)?.sum_all()?;
    let adjoint = (image.dot(&v)? - back.to_scalar::<f64>()?).abs();

    let gradient = |t: f64| {
        let (theta, x) = (theta.add_scaled(t, &v)?, (&x + (&u * t)?)?);
        let sweep = network.sweep(&theta, &x)?;
        sweep.vjp(&sweep.outputs().ones_like()?)
    };
    let slope = gradient(STEP)?.sub(&gradient(-STEP)?)?.scale(0.5 / STEP)?;
    let moved = sweep.mixed(Some(&v), Some(&u))?.gradient()?;
    Ok([adjoint / (image.norm()? * v.norm()?), moved.sub(&slope)?.norm()? / moved.norm()?])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mixed_derivatives_are_adjoint_and_equal_differences(stack in stack()) {
        let [adjoint, moved] = mixed_errors(&stack).map_err(fails)?;
        prop_assert!(adjoint <= ROUND_OFF, "adjoint {adjoint:e}");
        prop_assert!(moved <= DIFFERENCES, "moved {moved:e}");
    }

    #[test]
    fn derivatives_are_adjoint_and_equal_differences(stack in stack()) {
        let [adjoint, jvp, training] = errors(&stack).map_err(fails)?;
        prop_assert!(adjoint <= ROUND_OFF, "adjoint {adjoint:e}");
        prop_assert!(jvp <= DIFFERENCES, "jvp {jvp:e}");
        prop_assert!(training <= DIFFERENCES, "training {training:e}");
    }

    #[test]
    fn skipping_changes_no_bit(stack in stack()) {
        prop_assert!(!skipping_shows(&stack).map_err(fails)?);
    }
}
