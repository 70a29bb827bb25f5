//! What a check found: errors of derivatives go in, a table or a refusal comes out.

use std::fmt;

use crate::error::{ModelError, Result};

/// Relative errors that a check of an operation or a network found. Every comparison is one of two
/// norms; NaN fails.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// What was checked.
    pub name: String,
    /// Unit round-off of the element type.
    pub round_off: f64,
    /// `<u, J v>` against `<J^T u, v>`, for each input and parameter alone: its name and the
    /// error.
    pub adjoint: Vec<(String, f64)>,
    /// `J v` against central differences of the values: step and error.
    pub differences: Vec<(f64, f64)>,
    /// These at a point beside, where those at the point itself disagree: at a kink, as where two
    /// entries of a window are equal, they agree with no derivative.
    pub beside: Vec<(f64, f64)>,
    /// Cotangents of an operation that are asked for without others, against those asked for all
    /// together: the name of the input and the largest error. None for a network, whose operations
    /// of your own are checked one by one.
    pub selections: Vec<(String, f64)>,
    /// Gradients from the rows of each example against their sum.
    pub rows: f64,
    /// Results and gradients of the first and the last example alone against those in the batch.
    pub batches: f64,
    /// Results and gradients of strided inputs against those of contiguous ones.
    pub strides: f64,
    /// How the gradient moves against central differences of it: step and error; none where there
    /// is no rule.
    pub mixed: Vec<(f64, f64)>,
}

/// Errors in units of the round-off that sums of some thousand terms explain.
const ROUND_OFFS: f64 = 1e4;

impl Report {
    /// The largest error that round-off explains.
    pub fn exact(&self) -> f64 {
        ROUND_OFFS * self.round_off
    }

    /// The largest error of central differences that truncation and cancellation explain at the
    /// best step: a few times the root of the round-off.
    pub fn differencing(&self) -> f64 {
        32.0 * self.round_off.sqrt()
    }

    /// The smallest error over the steps. An error of the derivative is the same at all steps; a
    /// kink that some steps cross shows at these alone.
    pub fn best(steps: &[(f64, f64)]) -> f64 {
        let smaller = |least: f64, e: &(f64, f64)| if e.1 <= least { e.1 } else { least };
        steps.iter().fold(f64::INFINITY, smaller)
    }

    pub(crate) fn agrees(&self, steps: &[(f64, f64)]) -> bool {
        Self::best(steps) <= self.differencing()
    }

    /// Whether central differences disagree as kinks let them: while the best step agrees, or all
    /// at the point but not beside it.
    pub fn has_kinks(&self) -> bool {
        let largest = self.differences.iter().map(|(_, e)| *e).fold(0.0, f64::max);
        (self.agrees(&self.differences) && largest > 1e-2) || self.agrees(&self.beside)
    }

    /// Refuses errors beyond what round-off explains.
    ///
    /// # Errors
    /// [`ModelError::WrongDerivative`], naming the first comparison that fails.
    pub fn ensure(&self) -> Result<()> {
        let within = |what: &str, error: f64, tolerance: f64| {
            ensure_within(&self.name, what, error, tolerance)
        };
        let exact = self.exact();
        for (of, error) in &self.adjoint {
            within(&format!("vjp against jvp of {of}"), *error, exact)?;
        }
        for (of, error) in &self.selections {
            within(&selection(of), *error, exact)?;
        }
        let differencing = self.differencing();
        let differences = Self::best(&[&self.differences[..], &self.beside].concat());
        within("jvp against differences of values", differences, differencing)?;
        within("rows of examples against their sum", self.rows, exact)?;
        within("one example alone against the batch", self.batches, exact)?;
        within("strided against contiguous inputs", self.strides, exact)?;
        if self.mixed.is_empty() {
            return Ok(());
        }
        within("mixed_vjp against differences of vjp", Self::best(&self.mixed), differencing)
    }
}

/// What is compared where cotangents are asked for without others.
pub(crate) fn selection(of: &str) -> String {
    format!("vjp of {of} without others against vjp of all")
}

/// Refuses an error of an operation's derivatives that is not within the tolerance.
pub(crate) fn ensure_within(operation: &str, what: &str, error: f64, tolerance: f64) -> Result<()> {
    if error <= tolerance {
        return Ok(());
    }
    let (operation, what) = (operation.to_owned(), what.to_owned());
    Err(ModelError::WrongDerivative { operation, what, error, tolerance })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, differencing) = (self.exact(), self.differencing());
        writeln!(f, "{}: at most {exact:.0e}, differences {differencing:.0e}", self.name)?;
        for (of, error) in &self.adjoint {
            writeln!(f, "  adjoint, {of}: {error:.1e}")?;
        }
        for (of, error) in &self.selections {
            writeln!(f, "  without others, {of}: {error:.1e}")?;
        }
        let differences = [
            ("differences", &self.differences),
            ("differences beside", &self.beside),
            ("mixed", &self.mixed),
        ];
        for (what, steps) in differences {
            for (step, error) in steps {
                writeln!(f, "  {what}, step {step:.0e}: {error:.1e}")?;
            }
        }
        if self.mixed.is_empty() {
            writeln!(f, "  mixed: not checked, there is no rule")?;
        }
        writeln!(f, "  rows: {:.1e}", self.rows)?;
        writeln!(f, "  batches: {:.1e}", self.batches)?;
        write!(f, "  strides: {:.1e}", self.strides)
    }
}
