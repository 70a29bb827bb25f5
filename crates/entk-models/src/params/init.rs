//! Initial laws: a name, a count and a seed go in, values come out, the same on every platform.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

/// The standard deviation of a standard normal truncated to -2..=2.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// The law from which a tensor is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initializer {
    /// All entries 0.
    Zeros,
    /// All entries 1.
    Ones,
    /// Independent standard normals.
    Normal,
    /// LeCun normal: a normal truncated to two standard deviations, rescaled to variance
    /// 1/fan_in. `fan_in` is k k C_in for a convolution, the input width for a dense layer.
    LecunNormal {
        /// Number of inputs that feed one output.
        fan_in: usize,
    },
}

impl Initializer {
    /// Draws the `count` values of the tensor called `name`, row-major.
    ///
    /// Each tensor has a ChaCha8 stream of its own, seeded by `seed` and its name: adding a layer
    /// changes no other layer's draw, and the values are the same on every platform.
    pub fn draw(self, name: &str, count: usize, seed: u64) -> Vec<f64> {
        let mut rng = stream(seed, name);
        let mut normal = || rng.sample::<f64, _>(StandardNormal);
        match self {
            Self::Zeros => vec![0.0; count],
            Self::Ones => vec![1.0; count],
            Self::Normal => (0..count).map(|_| normal()).collect(),
            Self::LecunNormal { fan_in } => {
                let scale = (fan_in as f64).sqrt().recip() / TRUNCATED_STD;
                (0..count).map(|_| scale * truncated(&mut normal)).collect()
            }
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
