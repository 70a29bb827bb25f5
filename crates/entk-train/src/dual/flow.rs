//! [`GradientFlow`]: from the eigenpairs of a Gram and labels to the coefficients after any time of
//! training on the squared loss, in closed form.
//!
//! It serves comparisons with [`DualSgd`](crate::DualSgd) and the limit of infinite time.

use entk_spectral::Eigenpairs;

use crate::{
    dual::outputs::KernelOutputs,
    error::{Result, TrainError, ensure},
    loss::sigmoid::check_logits,
    targets::Targets,
};

/// Training of a linearization on the squared loss in continuous time, without steps.
///
/// Gradient flow, `d theta/dt = -grad L` with [`Loss::Squared`](crate::Loss::Squared), moves the
/// coefficients of [`DualSgd`](crate::DualSgd) to
///
/// ```text
/// a(t) = sum_k phi_k (1 - exp(-lambda_k t / n)) / lambda_k (phi_k . (y - f_0))
/// ```
///
/// over the eigenpairs of the Gram on the n training examples; y is [`Targets::to_values`], -1 and
/// 1 for binary labels. Logits are f_0 + K a, and theta - theta_0 is J^T a; infinite time gives the
/// least-squares solution of smallest norm. SGD at learning rate h is at time `h k / (1 -
/// momentum)` after k steps, in the limit of small h.
///
/// For C outputs the eigenpairs are those of the full kernel, and the vectors above are of all
/// examples and outputs; over a pseudo-kernel each output moves by itself ([`KernelOutputs`]).
///
/// ```
/// use entk_spectral::{Gram, eigh};
/// use entk_train::{GradientFlow, KernelOutputs, Targets};
///
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?;
/// let pairs = eigh(&gram)?;
/// let a = GradientFlow::new(&pairs)?.coefficients(&[0.0; 2], [1, 0], f64::INFINITY)?;
/// let z = gram.matvec(&a)?;
/// assert!((z[0] - 1.0).abs() < 1e-14 && (z[1] + 1.0).abs() < 1e-14);
///
/// // One kernel for two outputs: each column of a solves its own equations.
/// let pseudo = KernelOutputs::Pseudo { outputs: 2, scale: 1.0 };
/// let flow = GradientFlow::with_outputs(&pairs, pseudo)?;
/// let y = Targets::values(vec![1.0, 0.5, -1.0, 2.0], 2)?;
/// let a = flow.coefficients(&[0.0; 4], y, f64::INFINITY)?;
/// let z = gram.matvec(&[a[1], a[3]])?;
/// assert!((z[0] - 0.5).abs() < 1e-14 && (z[1] - 2.0).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientFlow<'a> {
    pairs: &'a Eigenpairs,
    outputs: KernelOutputs,
    /// Training examples.
    examples: usize,
    /// Directions with smaller eigenvalues are not learned: J^T is zero on them, up to round-off.
    floor: f64,
}

impl<'a> GradientFlow<'a> {
    /// The flow over all eigenpairs of the Gram on the training examples, of one output.
    ///
    /// # Errors
    /// [`TrainError::Count`] for eigenpairs that were truncated.
    pub fn new(pairs: &'a Eigenpairs) -> Result<Self> {
        Self::with_outputs(pairs, KernelOutputs::ONE)
    }

    /// The flow of C outputs, over all eigenpairs of the kernel that `outputs` says.
    ///
    /// # Errors
    /// [`TrainError::Count`] for eigenpairs that were truncated, [`TrainError::KernelRows`] for
    /// those of a kernel that is not of whole examples, [`TrainError::Setting`] for outputs or a
    /// scale out of range.
    pub fn with_outputs(pairs: &'a Eigenpairs, outputs: KernelOutputs) -> Result<Self> {
        let (expected, found) = (pairs.dim(), pairs.len());
        if found != expected {
            return Err(TrainError::Count { what: "eigenpairs", expected, found });
        }
        let examples = outputs.examples("kernel", pairs.dim())?;
        Ok(Self { pairs, outputs, examples, floor: pairs.round_off() })
    }

    /// The coefficients a(t) (n, C) at time `time`, which may be infinite, for outputs `f0` (n, C)
    /// at theta_0 and the targets of the n training examples.
    ///
    /// Eigenvalues within round-off of zero ([`Eigenpairs::round_off`]) count as zero. Cost: 2 d^2
    /// multiply-adds for each column, d the rows of the kernel: one column, or C over a
    /// pseudo-kernel.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a negative time or NaN, [`TrainError::Count`] and those of
    /// [`Targets::check`] for targets that do not fit, [`TrainError::KernelTargets`] for targets of
    /// other outputs, [`TrainError::NonFiniteLogit`], and [`TrainError::Spectral`] for coefficients
    /// beyond the range of f64.
    pub fn coefficients(
        &self,
        f0: &[f64],
        targets: impl Into<Targets>,
        time: f64,
    ) -> Result<Vec<f64>> {
        ensure(time >= 0.0, "time", time, "at least 0")?;
        let targets = targets.into();
        let (c, expected) = (self.outputs.outputs(), self.examples * self.outputs.outputs());
        if targets.outputs() != c {
            let found = targets.outputs();
            return Err(TrainError::KernelTargets { task: 0, found, expected: c });
        }
        targets.check_for(self.examples)?;
        if f0.len() != expected {
            let what = "outputs at theta_0";
            return Err(TrainError::Count { what, expected, found: f0.len() });
        }
        check_logits(f0, c)?;
        let residual = targets.to_values().iter().zip(f0).map(|(y, f0)| y - f0).collect();
        let columns = self.outputs.to_columns(residual);
        let moved = columns.chunks_exact(self.pairs.dim()).map(|column| self.column(column, time));
        Ok(self.outputs.to_rows(&moved.collect::<Result<Vec<_>>>()?.concat()))
    }

    /// a(t) for one column of residuals at time 0.
    fn column(&self, residual: &[f64], time: f64) -> Result<Vec<f64>> {
        let (scale, time) = (self.outputs.scale(), time / self.examples as f64);
        let parts = self.pairs.coefficients(residual)?;
        let mut a = vec![0.0; self.pairs.dim()];
        for ((value, vector), part) in self.pairs.iter().zip(parts) {
            if value > self.floor {
                let value = scale * value;
                let weight = -(-value * time).exp_m1() / value * part;
                a.iter_mut().zip(vector).for_each(|(a, phi)| *a += weight * phi);
            }
        }
        Ok(a)
    }
}
