//! Statistics of spectra: intervals against exact values, many times over, bits, and refusals.

use entk_spectral::{
    EntryType, Estimate, Gram, Result, SpectralError, SpectrumStatistics, StatisticsConfig,
    StochasticLanczos, SymmetricOperator, sampled_frobenius,
};
use entk_testing::normals;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::support::{assert_close, gram_f64, outer, round_off};

/// Repetitions of a coverage, and the share that intervals of 95 % may have of them: 2.6 standard
/// deviations of the count.
const REPETITIONS: u64 = 300;
const COVERAGE: (f64, f64) = (0.92, 0.98);

/// Deflation and probes do not know directions, so that a diagonal stands for any spectrum.
struct Diagonal(Vec<f64>);

impl Diagonal {
    /// Eigenvalues that fall as a network's do.
    fn falling(n: usize) -> Self {
        Self((1..=n).map(|i| (i as f64).powf(-1.4)).collect())
    }

    fn sum(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().map(|x| f(*x)).sum()
    }

    fn rank(&self) -> f64 {
        let trace = self.sum(|x| x);
        self.sum(|x| -x / trace * (x / trace).ln()).exp()
    }

    fn density(&self, at: f64) -> f64 {
        self.sum(|x| {
            let z = (x / at).log10() / 0.2;
            (-0.5 * z * z).exp() / (0.2 * (2.0 * std::f64::consts::PI).sqrt())
        })
    }
}

impl SymmetricOperator for Diagonal {
    fn n(&self) -> usize {
        self.0.len()
    }

    fn entry_type(&self) -> EntryType {
        EntryType::F64
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let diagonal = self.0.iter().cycle();
        images.iter_mut().zip(columns).zip(diagonal).for_each(|((y, x), d)| *y = d * x);
        Ok(())
    }
}

fn config(seed: u64) -> StatisticsConfig {
    StatisticsConfig { deflation: 16, powers: 2, probes: 16, steps: 8, seed }
}

fn found(operator: &Diagonal, config: &StatisticsConfig) -> SpectrumStatistics {
    StochasticLanczos::run(operator, operator.sum(|x| x), config).unwrap()
}

/// How many of the intervals hold.
#[derive(Default)]
struct Count {
    hold: u32,
    all: u32,
}

impl Count {
    fn add(&mut self, estimate: &Estimate, exact: f64) {
        self.hold += u32::from(estimate.contains(exact));
        self.all += 1;
    }

    fn check(&self, what: &str) {
        let share = f64::from(self.hold) / f64::from(self.all);
        let (low, high) = COVERAGE;
        assert!(low <= share && share <= high, "{what}: {share}");
    }
}

#[test]
fn intervals_hold_as_often_as_they_say() {
    let operator = Diagonal::falling(400);
    let (trace, square) = (operator.sum(|x| x), operator.sum(|x| x * x));
    let (mut squares, mut participation, mut ranks, mut cubes, mut densities) =
        (Count::default(), Count::default(), Count::default(), Count::default(), Count::default());
    for seed in 0..REPETITIONS {
        let found = found(&operator, &config(seed));
        squares.add(&found.frobenius_squared, square);
        participation.add(&found.participation, trace * trace / square);
        ranks.add(&found.entropy_rank, operator.rank());
        cubes.add(&found.moments[0], operator.sum(|x| x.powi(3)));
        // Counts of no eigenvalue need no estimate.
        let shown = found.density.iter().filter(|point| point.resolved && point.count.value > 1.0);
        shown.for_each(|point| densities.add(&point.count, operator.density(point.eigenvalue)));
    }
    squares.check("||A||_F^2");
    participation.check("participation ratio");
    ranks.check("entropy rank");
    cubes.check("third moment");
    densities.check("density");
    assert!(densities.all > 10 * REPETITIONS as u32, "{} points resolved", densities.all);
}

#[test]
fn ritz_values_are_eigenvalues_to_their_residuals() {
    let operator = Diagonal::falling(400);
    let found = found(&operator, &config(3));
    for (j, (theta, residual)) in found.ritz.iter().zip(&found.residuals).enumerate() {
        assert!(*theta <= operator.0[j] + round_off(400), "{j}: {theta}");
        let nearest = operator.0.iter().map(|x| (x - theta).abs()).fold(f64::INFINITY, f64::min);
        assert!(nearest <= residual + round_off(400), "{j}: {nearest:e} {residual:e}");
    }
    assert!(found.residuals[0] < 1e-2 * found.ritz[0], "{:?}", found.residuals);
}

/// All of a space: quadrature is exact, and what is left to chance are the probes.
#[test]
fn a_space_that_is_exhausted_is_seen_as_such() {
    let n = 40;
    let operator =
        Diagonal((0..n).map(|i| f64::from(u8::from(i < 20)) * (1.0 + i as f64)).collect());
    let config = StatisticsConfig { steps: 10, ..config(1) };
    let found = found(&operator, &config);
    assert!(found.frobenius_squared.contains(operator.sum(|x| x * x)));
    let trace = operator.sum(|x| x);
    let entropy = operator.sum(|x| if x > 0.0 { -x / trace * (x / trace).ln() } else { 0.0 });
    assert!(found.entropy_rank.contains(entropy.exp()), "{:?}", found.entropy_rank);
}

/// The identity leaves nothing to guess.
#[test]
fn the_identity_is_known_exactly() {
    let found = found(&Diagonal(vec![2.0; 100]), &config(0));
    assert_close(found.frobenius_squared.value, 400.0, 400.0 * round_off(100));
    assert_close(found.entropy_rank.value, 100.0, 100.0 * round_off(100));
    assert_close(found.participation.high - found.participation.low, 0.0, 1e-9);
}

#[test]
fn products_from_outside_give_the_bits_of_a_run_on_any_threads() {
    let operator = Diagonal::falling(5000);
    let config = config(5);
    let expected = found(&operator, &config);
    let by_hand = || {
        let mut lanczos = StochasticLanczos::new(5000, &config)?;
        let mut widths = Vec::new();
        while let Some(columns) = lanczos.columns() {
            widths.push(columns.len() / 5000);
            let mut images = vec![0.0; columns.len()];
            operator.apply(columns, &mut images)?;
            lanczos.advance(images)?;
        }
        assert_eq!(widths, config.blocks());
        lanczos.statistics(operator.sum(|x| x))
    };
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(by_hand).unwrap(), expected);
    }
}

#[test]
fn settings_and_images_out_of_range_are_refused() {
    let refused = |config: &StatisticsConfig, n| StochasticLanczos::new(n, config).unwrap_err();
    for wrong in [
        StatisticsConfig { deflation: 0, ..config(0) },
        StatisticsConfig { powers: 0, ..config(0) },
        StatisticsConfig { probes: 7, ..config(0) },
        StatisticsConfig { steps: 1, ..config(0) },
        StatisticsConfig { deflation: 99, ..config(0) },
    ] {
        let error = refused(&wrong, 100);
        assert!(matches!(error, SpectralError::InvalidSetting { .. }), "{wrong:?}: {error}");
    }
    let mut lanczos = StochasticLanczos::new(100, &config(0)).unwrap();
    assert!(lanczos.statistics(1.0).is_err(), "columns are left");
    assert!(lanczos.advance(vec![0.0; 100]).is_err(), "images of all columns");
    assert!(lanczos.advance(vec![f64::NAN; 1600]).is_err());
    let trace = StochasticLanczos::run(&Diagonal::falling(100), 0.0, &config(0));
    assert!(matches!(trace, Err(SpectralError::InvalidSetting { field: "trace", .. })));
}

#[test]
fn samples_of_a_kernel_know_its_norm() {
    let (n, features) = (300, 12);
    let all = gram_f64(n, outer(n, features, &normals(n * features, 1)));
    let squares: f64 = all.diagonal().iter().map(|x| x * x).sum();
    let exact: f64 = (0..n * n).map(|at| all.get(at / n, at % n).powi(2)).sum();
    let mut count = Count::default();
    for seed in 0..REPETITIONS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut members: Vec<usize> = (0..n).collect();
        (0..60).for_each(|i| members.swap(i, rng.random_range(i..n)));
        let sample = sample_of(&all, &members[..60]);
        count.add(&sampled_frobenius(&sample, n, squares).unwrap(), exact);
    }
    count.check("||K||_F^2 from samples");
    assert!(sampled_frobenius(&all, n - 1, squares).is_err());
}

fn sample_of(all: &Gram, members: &[usize]) -> Gram {
    let s = members.len();
    gram_f64(s, (0..s * s).map(|at| all.get(members[at / s], members[at % s])).collect())
}
