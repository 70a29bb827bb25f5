//! [`KernelOutputs`]: how the rows of a kernel belong to the outputs of a model, and where the
//! numbers of an example and output are in the columns that a product with the kernel takes.
//!
//! [`DualSgd`](crate::DualSgd) is told with it which kernel it is given.

use crate::error::{Result, TrainError, ensure};

/// Which kernel of a model with C outputs a solver in coefficient space is given.
///
/// Coefficients are (N, C) in either case, one for each example and output.
///
/// ```
/// use entk_train::KernelOutputs;
///
/// assert_eq!(KernelOutputs::Full { outputs: 10 }.rows(), 10);
/// let trace = KernelOutputs::Pseudo { outputs: 10, scale: 0.1 };
/// assert_eq!((trace.rows(), trace.outputs()), (1, 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum KernelOutputs {
    /// The full kernel, N C rows and columns: entry (n C + c, m C + d) is grad f_c(x_n) . grad
    /// f_d(x_m). Training over it is exact. With one output it is the kernel.
    Full {
        /// Outputs C, at least 1.
        outputs: usize,
    },
    /// One kernel K of N rows and columns for all outputs, in place of the full one `scale K (x)
    /// I_C`: a pseudo-kernel. Outputs do not interact, and all learn alike; training over it is
    /// exact for that kernel alone, and an approximation of the model's linearization.
    ///
    /// * The trace, `K = sum_c grad f_c . grad f_c`, at scale 1/C is the mean of the blocks of one
    ///   output: of all K (x) I_C the nearest to the full kernel in the Frobenius norm.
    /// * The sum of logits, `K = grad F . grad F` with F = sum_c f_c, at scale 1/C is the
    ///   pseudo-NTK of Mohamadi et al. 2023, *A Fast, Well-Founded Approximation to the Empirical
    ///   Neural Tangent Kernel*.
    /// * One class, `K = grad f_c . grad f_c`, at scale 1 puts that class's block in the place of
    ///   every class's.
    Pseudo {
        /// Outputs C, at least 1.
        outputs: usize,
        /// What K is multiplied by, positive.
        scale: f64,
    },
}

impl KernelOutputs {
    /// One output: the kernel itself.
    pub(crate) const ONE: Self = Self::Full { outputs: 1 };

    /// Outputs of the model, C.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match *self {
            Self::Full { outputs } | Self::Pseudo { outputs, .. } => outputs,
        }
    }

    /// Rows of the kernel that an example has: C of the full one, else 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        match *self {
            Self::Full { outputs } => outputs,
            Self::Pseudo { .. } => 1,
        }
    }

    /// Columns that the coefficients of a task fill: C / [`rows`](Self::rows).
    pub(crate) fn columns(&self) -> usize {
        self.outputs() / self.rows()
    }

    /// What the entries of the kernel are multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        match *self {
            Self::Full { .. } => 1.0,
            Self::Pseudo { scale, .. } => scale,
        }
    }

    /// Refuses settings out of range, and a kernel of `rows` rows that is not of whole examples;
    /// the number of them.
    pub(crate) fn examples(&self, what: &'static str, rows: usize) -> Result<usize> {
        ensure(self.outputs() > 0, "outputs", self.outputs() as f64, "at least 1")?;
        let scale = self.scale();
        ensure(scale > 0.0 && scale.is_finite(), "scale", scale, "positive and finite")?;
        if !rows.is_multiple_of(self.rows()) {
            return Err(TrainError::KernelRows { what, rows, outputs: self.outputs() });
        }
        Ok(rows / self.rows())
    }

    /// The row, within the rows of example `example`, and the column of an output.
    pub(crate) fn place(&self, example: usize, output: usize) -> (usize, usize) {
        let rows = self.rows();
        (example * rows + output % rows, output / rows)
    }

    /// The rows of the kernel that belong to these examples.
    pub(crate) fn rows_of(&self, examples: &[u32]) -> Vec<u32> {
        let rows = self.rows() as u32;
        examples.iter().flat_map(|n| (0..rows).map(move |row| n * rows + row)).collect()
    }

    /// Multiplies products with the kernel, or what is multiplied with it, by its scale.
    pub(crate) fn scale_all(&self, columns: &mut [f64]) {
        let scale = self.scale();
        if scale != 1.0 {
            columns.iter_mut().for_each(|number| *number *= scale);
        }
    }

    /// Numbers (N, C), row by row, as the columns of a task: one after the other, each with the
    /// [`rows`](Self::rows) of all examples.
    pub(crate) fn to_columns(self, numbers: Vec<f64>) -> Vec<f64> {
        if self.columns() == 1 { numbers } else { transposed(&numbers, self.outputs()) }
    }

    /// Columns of a task as numbers (N, C), row by row: the inverse of
    /// [`to_columns`](Self::to_columns).
    pub(crate) fn to_rows(self, columns: &[f64]) -> Vec<f64> {
        if self.columns() == 1 {
            return columns.to_vec();
        }
        transposed(columns, columns.len() / self.outputs())
    }
}

/// The transpose of a matrix of `columns` columns, both row by row.
fn transposed(matrix: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|at| matrix.iter().skip(at).step_by(columns)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_of_rows_or_of_outputs() {
        let numbers = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
        let full = KernelOutputs::Full { outputs: 3 };
        assert_eq!(full.to_columns(numbers.to_vec()), numbers);
        let pseudo = KernelOutputs::Pseudo { outputs: 3, scale: 1.0 };
        assert_eq!(pseudo.to_columns(numbers.to_vec()), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
        for kernel in [full, pseudo] {
            assert_eq!(kernel.to_rows(&kernel.to_columns(numbers.to_vec())), numbers);
        }
    }
}
