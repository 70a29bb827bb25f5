//! [`GradientFlow`]: from the eigenpairs of a Gram and labels to the coefficients after any time of
//! training on the squared loss, in closed form.
//!
//! It serves comparisons with [`DualSgd`](crate::DualSgd) and the limit of infinite time.

use entk_spectral::Eigenpairs;

use crate::{
    error::{Result, TrainError},
    examples::check_labels,
    loss::{check_logits, sign},
};

/// Eigenvalues of at most this times eps n^(1/2) lambda_1 count as zero.
const FLOOR: f64 = 10.0;

/// Training of a linearization on the squared loss in continuous time, without steps.
///
/// Gradient flow, `d theta/dt = -grad L` with [`Loss::Squared`](crate::Loss::Squared), moves the
/// coefficients of [`DualSgd`](crate::DualSgd) to
///
/// ```text
/// a(t) = sum_k phi_k (1 - exp(-lambda_k t / n)) / lambda_k (phi_k . (y - f_0)),   y in {-1, 1}^n
/// ```
///
/// over the eigenpairs of the Gram on the n training examples. Logits are f_0 + K a, and theta -
/// theta_0 is J^T a; infinite time gives the least-squares solution of smallest norm. SGD at
/// learning rate h is at time `h k / (1 - momentum)` after k steps, in the limit of small h.
///
/// ```
/// use entk_spectral::{Gram, eigh};
/// use entk_train::GradientFlow;
///
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?;
/// let pairs = eigh(&gram)?;
/// let a = GradientFlow::new(&pairs)?.coefficients(&[0.0; 2], &[1, 0], f64::INFINITY)?;
/// let z = gram.matvec(&a)?;
/// assert!((z[0] - 1.0).abs() < 1e-14 && (z[1] + 1.0).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientFlow<'a> {
    pairs: &'a Eigenpairs,
    /// Directions with smaller eigenvalues are not learned: J^T is zero on them, up to round-off.
    floor: f64,
}

impl<'a> GradientFlow<'a> {
    /// The flow over all eigenpairs of the Gram on the training examples.
    ///
    /// # Errors
    /// [`TrainError::Count`] for eigenpairs that were truncated.
    pub fn new(pairs: &'a Eigenpairs) -> Result<Self> {
        let (expected, found) = (pairs.dim(), pairs.len());
        if found != expected {
            return Err(TrainError::Count { what: "eigenpairs", expected, found });
        }
        let largest = pairs.values().iter().fold(0f64, |s, v| s.max(v.abs()));
        let floor = FLOOR * pairs.entry_type().epsilon() * largest * (pairs.dim() as f64).sqrt();
        Ok(Self { pairs, floor })
    }

    /// The coefficients a(t) at time `time`, which may be infinite, for outputs `f0` at theta_0 and
    /// labels 0 or 1 on the n training examples.
    ///
    /// Eigenvalues at most 10 eps n^(1/2) lambda_1, with eps of the stored precision, count as
    /// zero. Cost: 2 n^2 multiply-adds.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a negative time or NaN, [`TrainError::Count`] and
    /// [`TrainError::Label`] for labels that do not fit, [`TrainError::NonFiniteLogit`], and
    /// [`TrainError::Spectral`] for coefficients beyond the range of f64.
    pub fn coefficients(&self, f0: &[f64], labels: &[u8], time: f64) -> Result<Vec<f64>> {
        let n = self.pairs.dim();
        if time.is_nan() || time < 0.0 {
            return Err(TrainError::Setting { field: "time", found: time, range: "at least 0" });
        }
        check_labels(labels, n)?;
        if f0.len() != n {
            let what = "outputs at theta_0";
            return Err(TrainError::Count { what, expected: n, found: f0.len() });
        }
        check_logits(f0)?;
        let residual: Vec<f64> = labels.iter().zip(f0).map(|(&y, f0)| sign(y) - f0).collect();
        let parts = self.pairs.coefficients(&residual)?;
        let mut a = vec![0.0; n];
        for ((value, vector), part) in self.pairs.iter().zip(parts) {
            if value > self.floor {
                let weight = -(-value * (time / n as f64)).exp_m1() / value * part;
                a.iter_mut().zip(vector).for_each(|(a, phi)| *a += weight * phi);
            }
        }
        Ok(a)
    }
}
