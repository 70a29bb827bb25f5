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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Schedule {
    /// `1 - t/T`: the first step has the full rate, the last one 1/T of it, and 0 would come at
    /// step T, which is not taken. The paper's, with T = epochs x floor(N / batch).
    #[default]
    Linear,
    /// 1 throughout.
    Constant,
}

impl Schedule {
    /// The factor of step `step`, from 0, in a run of `steps`; in 0..=1, and 0 after a linear run's
    /// end.
    #[must_use]
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Linear if step >= steps => 0.0,
            Self::Linear => 1.0 - step as f64 / steps as f64,
        }
    }
}
