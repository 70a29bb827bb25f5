//! Neural anisotropy directions (NADs): a network at its start comes in, the eigenvectors of M^T M
//! of its mixed derivative M go out, and for each direction an experiment on data that it
//! separates. Called by `fig04`, `fig10` and `train`.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use entk::{
    data::{SeparableConfig, linearly_separable},
    device::memory::ensure,
    gram::Outputs,
    linearize::MixedDerivative,
    models::{Activation, Network, Params},
    spectral::{Eigenpairs, Gram, eigh, eigh_bytes},
};

use crate::{
    cli::{flags::CommonFlags, model_flags::ModelFlags},
    experiment::{
        Experiment,
        kernel::{decode_pairs, encode_pairs, kernel_identity},
        network_source::NetworkSource,
    },
    run::{Run, cache::Key},
};

/// Pixels in a row and in a column; one channel, as in the paper.
pub const SIDE: usize = 32;

/// The NADs of a network at its start, with GELU: in a ReLU network the mixed derivative at x = 0
/// is 0. The network of an archive keeps the activations that it has.
#[derive(Debug)]
pub struct Directions {
    /// The network, on one channel.
    pub network: Network,
    /// Its parameters.
    pub theta0: Params,
    /// Directions, as eigenvectors of M^T M; the eigenvalues are the alignments that Theorem 1
    /// predicts.
    pub pairs: Eigenpairs,
}

impl Directions {
    /// All directions of the network that the flags name, on `device`, from the cache if they are
    /// there; `seed` is that of its parameters.
    ///
    /// # Errors
    /// When the derivative or [`eigh`] fails, or the cache cannot be written.
    pub fn find(run: &Run, flags: &ModelFlags, device: &Device, seed: u64) -> Result<Self> {
        let networks = NetworkSource::open(run, flags, DType::F32, device)?;
        let is_archive = networks.input_shape().is_some();
        let activation = if is_archive { Activation::Relu } else { Activation::Gelu };
        let network = networks.binary_network(&[1, SIDE, SIDE], activation)?;
        let theta0 = networks.start(&network, seed)?;
        let d = SIDE * SIDE;
        let square = 8 * (d * d) as u64;
        let needed = eigh_bytes(d).saturating_add(4 * square);
        ensure(&format!("all directions of {d} pixels"), needed, None, "free some memory")?;
        let zero = Tensor::zeros((1, 1, SIDE, SIDE), DType::F32, device)?;
        let identity = kernel_identity(&network, &theta0, &zero, Outputs::Trace)?;
        let key = Key::new("directions").with("kernel", &identity)?;
        let pairs = run.stage("directions", 1, |_| {
            let bytes = run.cache().bytes(&key, || {
                let gram = MixedDerivative::at_zero(&network, &theta0)?.gram()?;
                Ok(encode_pairs(&eigh(&Gram::from_lower_f64(d, gram)?)?))
            })?;
            decode_pairs(&bytes, d, entk::spectral::EntryType::F64)
        })?;
        Ok(Self { network, theta0, pairs })
    }

    /// Data that direction `index`, from 1, separates, for the network to be trained on.
    ///
    /// # Errors
    /// An index beyond the directions, or images that do not fit the memory.
    pub fn experiment(&self, flags: &CommonFlags, index: usize) -> Result<Experiment> {
        let direction = self.pairs.pair(index - 1)?.1;
        let examples = flags.train.saturating_add(flags.test) as u64;
        // Both parts, and the two joined.
        let needed = examples.saturating_mul((2 * 4 * SIDE * SIDE) as u64);
        let what = format!("{examples} images along a direction");
        ensure(&what, needed, None, "use fewer (--train, --test)")?;
        let part = |count: usize, seed: u64| {
            let config = SeparableConfig { count, seed, ..SeparableConfig::default() };
            linearly_separable(direction, &config)
        };
        // Two streams for each seed; the seeds from 2^63 on have those of the first ones,
        // exchanged.
        let stream = flags.seed.rotate_left(1);
        let (train, test) = (part(flags.train, stream)?, part(flags.test, stream ^ 1)?);
        let sample = train.concat(&test)?;
        Ok(Experiment {
            images: sample.images().tensor().to_device(self.theta0.device())?,
            train: flags.train,
            labels: sample.labels().to_vec(),
            network: self.network.clone(),
            theta0: self.theta0.clone(),
            of_classes: None,
        })
    }
}

/// The magnitude of the discrete Fourier transform of a square image, row by row, frequency 0 in
/// the middle.
///
/// Computed by the definition, in side^3 operations for each of two passes: small images need no
/// fast transform.
///
/// ```
/// use entk_cli::fourier_magnitude;
///
/// // A constant has frequency 0 only, at row 2 and column 2 of 4 x 4.
/// let magnitude = fourier_magnitude(&[1.0; 16], 4);
/// assert!((magnitude[2 * 4 + 2] - 16.0).abs() < 1e-12);
/// assert!(magnitude.iter().sum::<f64>() - 16.0 < 1e-12);
/// ```
pub fn fourier_magnitude(image: &[f64], side: usize) -> Vec<f64> {
    let zero = vec![0.0; image.len()];
    let (re, im) = transform_rows(image, &zero, side);
    let (re, im) = transform_rows(&transposed(&re, side), &transposed(&im, side), side);
    let (re, im) = (transposed(&re, side), transposed(&im, side));
    let centred = |at: usize| (at + side - side / 2) % side;
    let place = |at: usize| centred(at / side) * side + centred(at % side);
    (0..image.len()).map(|at| re[place(at)].hypot(im[place(at)])).collect()
}

/// The transform of each row.
fn transform_rows(re: &[f64], im: &[f64], side: usize) -> (Vec<f64>, Vec<f64>) {
    let turn = std::f64::consts::TAU / side as f64;
    let entry = |at: usize| {
        let (row, frequency) = (at / side * side, at % side);
        (0..side).fold((0.0, 0.0), |(a, b), x| {
            // The product modulo the side keeps the angle exact.
            let (sin, cos) = (turn * (frequency * x % side) as f64).sin_cos();
            let (r, i) = (re[row + x], im[row + x]);
            (a + r * cos + i * sin, b + i * cos - r * sin)
        })
    };
    (0..re.len()).map(entry).unzip()
}

fn transposed(x: &[f64], side: usize) -> Vec<f64> {
    (0..x.len()).map(|at| x[at % side * side + at / side]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_shows_as_two_points_and_energy_is_kept() {
        let side = 8;
        let turn = std::f64::consts::TAU / side as f64;
        let wave: Vec<f64> =
            (0..64).map(|at| (turn * (2 * (at / side) + at % side) as f64).cos()).collect();
        let magnitude = fourier_magnitude(&wave, side);
        // Frequencies (2, 1) and (-2, -1), around the middle (4, 4).
        for (row, column) in [(6, 5), (2, 3)] {
            assert!((magnitude[row * side + column] - 32.0).abs() < 1e-12);
        }
        let energy: f64 = magnitude.iter().map(|x| x * x).sum();
        let expected = 64.0 * wave.iter().map(|x| x * x).sum::<f64>();
        assert!((energy - expected).abs() < 1e-12 * expected);
    }
}
