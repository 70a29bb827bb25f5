//! Initial laws: a name, a count and a seed go in, values come out, the same on every platform.
//! Layers choose an [`InitialLaw`]; specifications of tensors hold an [`Initializer`].

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

/// The standard deviation of a standard normal truncated to -2..=2.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// The law from which a tensor is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Initializer {
    /// All entries 0.
    Zeros,
    /// All entries 1.
    Ones,
    /// All entries this number.
    Constant(f64),
    /// Independent standard normals.
    Normal,
    /// Independent normals of mean 0.
    ScaledNormal {
        /// Their standard deviation.
        std: f64,
    },
    /// Uniform on `-bound..bound`.
    Uniform {
        /// The largest absolute value.
        bound: f64,
    },
    /// LeCun normal: a normal truncated to two standard deviations, rescaled to variance
    /// 1/fan_in. `fan_in` is k k C_in for a convolution, the input width for a dense layer.
    LecunNormal {
        /// Number of inputs that feed one output.
        fan_in: usize,
    },
    /// No law: values come with the network, as from an archive. Drawing gives NaN, which
    /// [`Params`](crate::Params) refuse.
    Given,
}

impl Initializer {
    /// He's law for ReLU (`kaiming_normal_`): normals of variance 2/fan, not truncated.
    pub fn he_normal(fan: usize) -> Self {
        Self::ScaledNormal { std: (2.0 / fan as f64).sqrt() }
    }

    /// Xavier's law (`xavier_uniform_`): uniform of variance 2/(fan_in + fan_out).
    pub fn xavier_uniform(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() }
    }

    /// PyTorch's default for weights and biases of dense layers and convolutions: uniform of
    /// variance 1/(3 fan_in), `kaiming_uniform_(a=sqrt(5))`.
    pub fn torch_default(fan_in: usize) -> Self {
        Self::Uniform { bound: (fan_in as f64).sqrt().recip() }
    }

    /// Draws the `count` values of the tensor called `name`, row-major.
    ///
    /// Each tensor has a ChaCha8 stream of its own, seeded by `seed` and its name: adding a layer
    /// changes no other layer's draw, and the values are the same on every platform.
    pub fn draw(self, name: &str, count: usize, seed: u64) -> Vec<f64> {
        self.stream(name, seed).take(count).collect()
    }

    /// The values one by one, for whoever keeps them in another type.
    pub(crate) fn stream(self, name: &str, seed: u64) -> impl Iterator<Item = f64> {
        let mut rng = stream(seed, name);
        std::iter::repeat_with(move || {
            let mut normal = || rng.sample::<f64, _>(StandardNormal);
            match self {
                Self::Zeros => 0.0,
                Self::Ones => 1.0,
                Self::Constant(value) => value,
                Self::Given => f64::NAN,
                Self::Normal => normal(),
                Self::ScaledNormal { std } => std * normal(),
                Self::Uniform { bound } => bound * (2.0 * rng.random::<f64>() - 1.0),
                Self::LecunNormal { fan_in } => {
                    let scale = (fan_in as f64).sqrt().recip() / TRUNCATED_STD;
                    scale * truncated(&mut normal)
                }
            }
        })
    }
}

/// The initial law of a dense layer or a convolution, weight and bias.
///
/// `fan_in` is the number of inputs that feed one output, `fan_out` that of the outputs that one
/// input feeds; for a convolution both count the taps of the kernel, and as in PyTorch `fan_out`
/// counts the filters of all groups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum InitialLaw {
    /// Truncated normals of variance 1/fan_in; the paper's law.
    #[default]
    Lecun,
    /// Normals of variance 2/fan_in.
    He,
    /// Normals of variance 2/fan_out: what torchvision draws convolutions from.
    HeFanOut,
    /// Uniform of variance 2/(fan_in + fan_out).
    Xavier,
    /// PyTorch's defaults: weight and bias uniform of variance 1/(3 fan_in).
    Torch,
    /// Normals of this standard deviation.
    Normal {
        /// The standard deviation of the weights.
        std: f64,
    },
    /// The NTK parametrisation: the layer computes `y = weight / sqrt(fan_in) W x + bias b` with W
    /// and b standard normal. The scales are operations of the network, so that its tangent kernel
    /// converges as the width grows.
    Ntk {
        /// The standard deviation of an output at inputs of mean square 1, without bias.
        weight: f64,
        /// The scale of the bias.
        bias: f64,
    },
}

impl InitialLaw {
    /// The law of a weight.
    pub fn weight(self, fan_in: usize, fan_out: usize) -> Initializer {
        match self {
            Self::Lecun => Initializer::LecunNormal { fan_in },
            Self::He => Initializer::he_normal(fan_in),
            Self::HeFanOut => Initializer::he_normal(fan_out),
            Self::Xavier => Initializer::xavier_uniform(fan_in, fan_out),
            Self::Torch => Initializer::torch_default(fan_in),
            Self::Normal { std } => Initializer::ScaledNormal { std },
            Self::Ntk { .. } => Initializer::Normal,
        }
    }

    /// The law of a bias.
    pub fn bias(self, fan_in: usize) -> Initializer {
        match self {
            Self::Torch => Initializer::torch_default(fan_in),
            Self::Ntk { .. } => Initializer::Normal,
            _ => Initializer::Zeros,
        }
    }

    /// What the network multiplies a layer's inputs and its bias by, where it does.
    pub fn scales(self, fan_in: usize) -> Option<[f64; 2]> {
        match self {
            Self::Ntk { weight, bias } => Some([weight / (fan_in as f64).sqrt(), bias]),
            _ => None,
        }
    }
}

/// A normal conditioned on -2..=2, by rejection (4.6 % of draws are refused).
fn truncated(normal: &mut impl FnMut() -> f64) -> f64 {
    loop {
        let z = normal();
        if z.abs() <= 2.0 {
            return z;
        }
    }
}

/// The random stream called `name` under `seed`.
fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a(name.as_bytes()).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// The 64-bit FNV-1a hash: a fixed, published function, so that streams never change.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means and mean squares of this many draws are off by less than six standard errors.
    const DRAWS: usize = 40_000;

    #[test]
    fn weights_have_the_variance_of_their_law() {
        let (fan_in, fan_out) = (18, 50);
        for (law, variance) in [
            (InitialLaw::Lecun, 1f64 / 18.0),
            (InitialLaw::He, 2.0 / 18.0),
            (InitialLaw::HeFanOut, 2.0 / 50.0),
            (InitialLaw::Xavier, 2.0 / 68.0),
            (InitialLaw::Torch, 1.0 / 54.0),
            (InitialLaw::Normal { std: 0.02 }, 0.0004),
            (InitialLaw::Ntk { weight: 1.5, bias: 0.1 }, 1.0),
        ] {
            let values = law.weight(fan_in, fan_out).draw("w", DRAWS, 3);
            let mean = values.iter().sum::<f64>() / DRAWS as f64;
            let square = values.iter().map(|v| v * v).sum::<f64>() / DRAWS as f64;
            let error = 6.0 / (DRAWS as f64).sqrt();
            assert!(mean.abs() <= error * variance.sqrt(), "{law:?}: mean {mean}");
            let off = (square / variance - 1.0).abs();
            assert!(off <= 2f64.sqrt() * error, "{law:?}: mean square {square}");
        }
    }
}
