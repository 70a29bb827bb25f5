//! A random sample of the examples, whose kernel is computed: what the estimates say of the sample
//! is compared with the eigenvalues of its kernel, and the sample says something of all examples.
//! Called by the main.

use anyhow::Result;
use candle_core::Tensor;
use entk::{
    device::SourceRange,
    gram::{Accumulate, GramConfig, gram},
    spectral::{
        ColumnGram, EffectiveRank, Estimate, SpectrumStatistics, StochasticLanczos, effective_rank,
        eigh, sampled_frobenius,
    },
};
use entk_cli::StreamedKernel;
use rand::{SeedableRng, rngs::ChaCha8Rng, seq::index};

use crate::commands::stats::sums::Sums;

/// What a sample says.
pub struct SampleReport {
    pub examples: usize,
    /// ||K||_F^2 of all examples.
    pub frobenius_squared: Estimate,
    /// The estimates of the sample's own kernel.
    pub estimated: SpectrumStatistics,
    /// Its ||K||_F^2 and effective ranks, from all eigenvalues.
    pub exact_square: f64,
    pub exact_rank: EffectiveRank,
}

/// The report of a sample of --sample examples; `squares` is the sum of K_nn^2 over all.
pub fn sample(sums: &Sums<'_>, squares: f64) -> Result<SampleReport> {
    let StreamedKernel { network, params, source, config, .. } = &sums.problem.of;
    let n = sums.problem.examples();
    let examples = sums.flags.sample.min(n);
    let mut rng = ChaCha8Rng::seed_from_u64(sums.flags.seed);
    let mut members = index::sample(&mut rng, n, examples).into_vec();
    members.sort_unstable();
    let rows = members.iter().map(|i| Ok(source.read(*i..i + 1)?));
    let x = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?;

    let range = SourceRange { source: &x, range: 0..examples };
    let jacobian = sums.jacobian(&range)?;
    let config = GramConfig { accumulate: Accumulate::F64, ..config.clone() };
    let kernel = gram(network, params, &sums.problem.of.taken(&x)?, &config)?;
    let squared = ColumnGram::new(&jacobian);
    let estimated = StochasticLanczos::run(&squared, kernel.trace()?, &sums.flags.config())?;
    let pairs = eigh(&kernel)?;
    Ok(SampleReport {
        examples,
        frobenius_squared: sampled_frobenius(&kernel, n, squares)?,
        estimated,
        exact_square: pairs.values().iter().map(|x| x * x).sum(),
        exact_rank: effective_rank(&pairs)?,
    })
}
