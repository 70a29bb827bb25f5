//! [`Schedule`]: the factor of the learning rate at each step of a run.
//!
//! The settings name it, and every solver multiplies its rate by it.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Share of a one-cycle run in which the rate rises, and the factor at which it starts.
const RISE: f64 = 0.3;
const LOW: f64 = 0.04;

/// How the learning rate changes over the T steps of a run.
///
/// Step t, counted from 0, uses `learning_rate * factor(t, T)`.
///
/// ```
/// use entk_train::Schedule;
///
/// let factors: Vec<f64> = (0..4).map(|t| Schedule::Linear.factor(t, 4)).collect();
/// assert_eq!(factors, [1.0, 0.75, 0.5, 0.25]);
/// assert_eq!(Schedule::Constant.factor(3, 4), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// `1 - t/T`: the first step has the full rate, the last one 1/T of it, and 0 would come at
    /// step T, which is not taken. The paper's, with T = epochs x floor(N / batch).
    #[default]
    Linear,
    /// 1 throughout.
    Constant,
    /// `(1 + cos(pi t/T)) / 2`: from 1 to almost 0, slowly at both ends.
    Cosine,
    /// From 0.04 in a straight line to 1 at t = 0.3 T, then along a cosine to almost 0.
    OneCycle,
}

impl Schedule {
    /// The factor of step `step`, from 0, in a run of `steps`; in 0..=1, and 0 after the end of any
    /// run but a constant one.
    #[must_use]
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        let share = step as f64 / steps as f64;
        match self {
            Self::Constant => 1.0,
            _ if step >= steps => 0.0,
            Self::Linear => 1.0 - share,
            Self::Cosine => cosine(share),
            Self::OneCycle if share < RISE => LOW + (1.0 - LOW) * share / RISE,
            Self::OneCycle => cosine((share - RISE) / (1.0 - RISE)),
        }
    }
}

/// Half a cosine wave, from 1 at 0 to 0 at 1.
fn cosine(share: f64) -> f64 {
    0.5 * (1.0 + (PI * share).cos())
}
