//! How often the intervals of estimates hold: statistics of a kernel, estimated many times with
//! other random directions and other samples, against those of all its eigenvalues.
//!
//!     cargo run --release -p entk-benches --example coverage -- out/gram.npy [repetitions]
//!
//! The Gram is a .npy of f64, as `gram --accumulate f64` writes it. One line a statistic: the share
//! of intervals that hold, and their mean half-width over the value.
#![allow(clippy::print_stdout)]

use entk::{
    data::npy::{self, Data},
    spectral::{
        Estimate, Gram, StatisticsConfig, StochasticLanczos, effective_rank, eigh,
        sampled_frobenius,
    },
};
use rand::{SeedableRng, rngs::ChaCha8Rng, seq::index};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Examples of a sample.
const SAMPLE: usize = 500;
/// The width of the density's bell, in decades.
const WIDTH: f64 = 0.2;

/// Intervals of one statistic.
#[derive(Default)]
struct Coverage {
    hold: usize,
    all: usize,
    widths: f64,
}

impl Coverage {
    fn add(&mut self, found: &Estimate, exact: f64) {
        self.hold += usize::from(found.contains(exact));
        self.all += 1;
        self.widths += (found.high - found.low) / 2.0 / exact;
    }

    fn say(&self, name: &str) {
        let all = self.all as f64;
        let (share, width) = (100.0 * self.hold as f64 / all, self.widths / all);
        println!("{name}: {share:.1} % of {} hold, half-width {width:.2e}", self.all);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("which Gram? give a .npy")?;
    let repetitions = arguments.get(1).map_or(Ok(200), |text| text.parse())?;
    let (shape, data) = npy::read(path)?.into_parts();
    let Data::F64(entries) = data else { return Err("expected f64".into()) };
    let gram = Gram::from_symmetric_f64(shape[0], entries)?;
    let pairs = eigh(&gram)?;
    let (rank, trace, n) = (effective_rank(&pairs)?, gram.trace()?, gram.n());
    let sum = |f: &dyn Fn(f64) -> f64| pairs.values().iter().map(|x| f(*x)).sum::<f64>();
    let squares: f64 = gram.diagonal().iter().map(|x| x * x).sum();
    let [mut square, mut entropy, mut participation, mut cube, mut sampled, mut density] =
        [0; 6].map(|_| Coverage::default());
    for seed in 0..repetitions {
        let config = StatisticsConfig { seed, ..StatisticsConfig::default() };
        let found = StochasticLanczos::run(&gram, trace, &config)?;
        square.add(&found.frobenius_squared, sum(&|x| x * x));
        entropy.add(&found.entropy_rank, rank.entropy);
        participation.add(&found.participation, rank.participation);
        cube.add(&found.moments[0], sum(&|x| x * x * x));
        for point in found.density.iter().filter(|p| p.resolved && p.count.value > 1.0) {
            let bell = |x: f64| {
                let z = (x / point.eigenvalue).log10() / WIDTH;
                (-0.5 * z * z).exp() / (WIDTH * (2.0 * std::f64::consts::PI).sqrt())
            };
            density.add(&point.count, sum(&|x| if x > 0.0 { bell(x) } else { 0.0 }));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let members = index::sample(&mut rng, n, SAMPLE.min(n)).into_vec();
        sampled.add(&sampled_frobenius(&gram.principal(&members)?, n, squares)?, sum(&|x| x * x));
    }
    square.say("squared Frobenius norm");
    entropy.say("effective rank");
    participation.say("participation ratio");
    cube.say("trace of power 3");
    density.say("density, where resolved");
    sampled.say(&format!("squared Frobenius norm from {SAMPLE} examples"));
    Ok(())
}
