//! [`SquaredLossFlow`]: in come all eigenpairs of a kernel and targets, out go coefficients and
//! outputs after any times of training on the squared loss, in closed form. Users call it;
//! `ensemble` weighs eigenvalues as it does.

use entk_spectral::Eigenpairs;

use crate::{
    columns::Columns,
    error::{Result, check_setting},
    fit::filter::Projection,
};

/// Training of a linearization of C outputs on the squared loss in continuous time.
///
/// Gradient flow, d theta/dt = -grad L with L = 1/(2 N) sum over n, c of (f_c(x_n) - y_nc)^2, moves
/// the coefficients to
///
/// ```text
/// a(t) = sum_j phi_j (1 - exp(-lambda_j t / N)) / lambda_j (phi_j . (y - f_0))
/// ```
///
/// for N examples. The outputs are f_0(x) + sum over i of Theta(x, x_i) a_i(t), by
/// [`predict`](crate::predict), and infinite time gives the least-squares solution of smallest
/// norm. SGD of learning rate h and momentum m is at time h k / (1 - m) after k steps, in the limit
/// of small h. neural-tangents averages over outputs as well (its loss is 1/(2 N C) times the
/// sum), so that its time is C times this one.
///
/// Eigenvalues of at most 10 (eps ||K||_F + N 2^-52 lambda_0), eps of the stored type, count as
/// zero: along their vectors nothing is learned.
///
/// Source: Jacot et al. (2018); Lee et al. (2019), equations 8 to 11.
///
/// ```
/// use entk_predict::{Columns, SquaredLossFlow, predict_all};
/// use entk_spectral::{CrossGram, Gram, eigh};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 0.0, 4.0])?)?;
/// let targets = Columns::from_rows(2, 1, &[1.0, 1.0])?;
/// let flow = SquaredLossFlow::new(&pairs, &targets, None, 2)?;
/// let outputs = flow.train_outputs(&[0.0, 1.0, f64::INFINITY])?;
/// assert_eq!(outputs[0].to_rows(), [0.0, 0.0]);
/// assert!((outputs[1].get(0, 0) - (1.0 - (-1.0_f64).exp())).abs() < 1e-15);
/// assert!((outputs[2].get(1, 0) - 1.0).abs() < 1e-15);
///
/// let cross = CrossGram::from_f64(1, 2, vec![1.0, 1.0])?;
/// let test = predict_all(&cross, &flow.coefficients(&[f64::INFINITY])?, None)?;
/// assert!((test[0].get(0, 0) - 0.75).abs() < 1e-15);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SquaredLossFlow<'a> {
    projection: Projection<'a>,
    offset: Option<Columns>,
    examples: f64,
}

impl<'a> SquaredLossFlow<'a> {
    /// The flow over all eigenpairs of the kernel on the training inputs, towards `targets` (N, C)
    /// from `offset`, the outputs at theta_0, zero if left out.
    ///
    /// `examples` is N, by which the loss is divided. A full kernel has N C rows and one column,
    /// and still N examples. Cost: N^2 C multiply-adds.
    ///
    /// # Errors
    /// [`NeedsAllPairs`](entk_spectral::SpectralError::NeedsAllPairs) for truncated eigenpairs,
    /// [`Shape`](crate::PredictError::Shape), or [`Setting`](crate::PredictError::Setting) unless
    /// the examples divide the rows.
    pub fn new(
        pairs: &'a Eigenpairs,
        targets: &Columns,
        offset: Option<&Columns>,
        examples: usize,
    ) -> Result<Self> {
        check_examples(pairs, examples)?;
        let projection = Projection::new(pairs, targets, offset, "gradient flow")?;
        Ok(Self { projection, offset: offset.cloned(), examples: examples as f64 })
    }

    /// The coefficients a(t), (N, C), at every time of a list; times may be infinite. Cost: N^2 C
    /// multiply-adds a time, in one product of matrices.
    ///
    /// # Errors
    /// [`Setting`](crate::PredictError::Setting) for a negative time or NaN,
    /// [`OutOfMemory`](crate::PredictError::OutOfMemory), or
    /// [`Overflow`](crate::PredictError::Overflow).
    pub fn coefficients(&self, times: &[f64]) -> Result<Vec<Columns>> {
        check_times(times)?;
        let floor = self.projection.floor();
        let weight = |k: usize, value| weight(value, times[k] / self.examples, floor);
        self.projection.weighted(times.len(), weight)
    }

    /// The outputs f_0 + K a(t) on the training inputs, (N, C), at every time of a list.
    ///
    /// # Errors
    /// As [`coefficients`](Self::coefficients).
    pub fn train_outputs(&self, times: &[f64]) -> Result<Vec<Columns>> {
        check_times(times)?;
        let floor = self.projection.floor();
        let learned = |k: usize, value| value * weight(value, times[k] / self.examples, floor);
        let outputs = self.projection.weighted(times.len(), learned)?;
        outputs.into_iter().map(|outputs| outputs.plus(self.offset.as_ref())).collect()
    }
}

/// (1 - exp(-lambda t)) / lambda, and 0 for an eigenvalue of at most `floor`.
pub(crate) fn weight(value: f64, time: f64, floor: f64) -> f64 {
    if value > floor { -(-value * time).exp_m1() / value } else { 0.0 }
}

/// Accepts times from 0 to infinity.
pub(crate) fn check_times(times: &[f64]) -> Result<()> {
    times.iter().try_for_each(|&t| check_setting("time", t, t >= 0.0, "at least 0"))
}

/// Accepts a number of examples that divides the rows of the kernel.
pub(crate) fn check_examples(pairs: &Eigenpairs, examples: usize) -> Result<()> {
    let accepted = examples > 0 && pairs.dim().is_multiple_of(examples);
    check_setting("examples", examples as f64, accepted, "a divisor of the kernel's rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What counts as zero ends at the floor itself; at infinite time the weight is 1 / lambda.
    #[test]
    fn eigenvalues_up_to_the_floor_learn_nothing() {
        assert_eq!(weight(2.0, f64::INFINITY, 2.0), 0.0);
        assert_eq!(weight(2.0, f64::INFINITY, 1.999), 0.5);
        assert_eq!(weight(2.0, 0.0, 1.0), 0.0);
    }
}
