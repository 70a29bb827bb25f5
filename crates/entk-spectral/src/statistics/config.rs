//! Settings of stochastic Lanczos quadrature: in come numbers of columns and steps, out go the same
//! checked against an operator. `stochastic_lanczos` reads them.

use crate::error::{Result, SpectralError};

/// Fewest probes with which intervals hold what they promise.
const FEWEST_PROBES: usize = 8;

/// Settings of [`StochasticLanczos`](crate::StochasticLanczos).
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `deflation` | 32 | leading directions that are taken out | at least 1 |
/// | `powers` | 2 | products by which these are found | at least 1 |
/// | `probes` | 16 | random directions in the rest | at least 8 |
/// | `steps` | 10 | Lanczos steps from these | at least 2 |
/// | `seed` | 0 | of all random directions (ChaCha8) | |
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct StatisticsConfig {
    /// Leading directions that are taken out.
    pub deflation: usize,
    /// Products by which these are found.
    pub powers: usize,
    /// Random directions in the rest.
    pub probes: usize,
    /// Lanczos steps from these.
    pub steps: usize,
    /// Seed of all random directions.
    pub seed: u64,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self { deflation: 32, powers: 2, probes: 16, steps: 10, seed: 0 }
    }
}

impl StatisticsConfig {
    /// Blocks of columns that are multiplied one after the other, by their widths.
    #[must_use]
    pub fn blocks(&self) -> Vec<usize> {
        let mut blocks = vec![self.deflation; self.powers + 1];
        blocks.resize(self.powers + 1 + self.steps, self.probes);
        blocks
    }

    /// Refuses settings out of range, and operators of so few rows that nothing is left to probe.
    ///
    /// # Errors
    /// [`InvalidSetting`](SpectralError::InvalidSetting), with the range.
    pub fn check(&self, n: usize) -> Result<()> {
        let refused = |field, expected| Err(SpectralError::InvalidSetting { field, expected });
        if self.deflation == 0 || self.powers == 0 {
            return refused("deflation and powers", "at least 1");
        }
        if self.probes < FEWEST_PROBES {
            return refused("probes", "at least 8, or intervals are not reliable");
        }
        if self.steps < 2 {
            return refused(
                "steps",
                "at least 2: the last one shows how much another would change",
            );
        }
        if n < self.deflation.saturating_add(self.probes) {
            let expected =
                "together with probes at most the rows of the operator; a smaller one has eigh";
            return refused("deflation", expected);
        }
        Ok(())
    }
}
