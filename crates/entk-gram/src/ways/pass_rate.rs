//! [`PassRate`]: the Jacobian of few examples and of more come in; what a pass costs goes out.
//! Called by [`CostProbe`](crate::CostProbe) and by programs that plan passes.

use std::time::Instant;

use entk_spectral::LinearOperator;

use crate::{error::Result, jacobian::JacobianOperator};

/// Memory of the columns in the passes that are measured.
const BYTES: usize = 1 << 30;

/// Seconds of the parts of a pass with a Jacobian: with c columns over N examples it takes
/// `c fixed + N (sweep + c column)`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PassRate {
    /// Of a column, whatever the examples.
    pub fixed: f64,
    /// Of the sweep of an example.
    pub sweep: f64,
    /// Of a column and an example, there and back.
    pub column: f64,
}

impl PassRate {
    /// Measures passes over few examples and over more, with so many columns, or as many as a
    /// gigabyte holds.
    ///
    /// # Errors
    /// Those of products with the Jacobian.
    pub fn measure(
        few: &JacobianOperator<'_>,
        more: &JacobianOperator<'_>,
        columns: usize,
    ) -> Result<Self> {
        let columns = (BYTES / (32 * more.cols()).max(1)).clamp(1, columns.max(1));
        let len = more.cols() * columns;
        let (block, mut images) = (vec![1e-3; len], vec![0.0; len]);
        // Memory is touched for the first time by the first pass, which does not count.
        few.apply_column_gram(&block, &mut images)?;
        let mut timed = |jacobian: &JacobianOperator<'_>| -> Result<[f64; 2]> {
            let begin = Instant::now();
            jacobian.diagonal_and_gradients(&[], &mut [])?;
            let sweep = begin.elapsed().as_secs_f64();
            jacobian.apply_column_gram(&block, &mut images)?;
            Ok([sweep, begin.elapsed().as_secs_f64() - sweep])
        };
        let [of_few, of_more] = [timed(few)?, timed(more)?];
        let examples = |part: &JacobianOperator<'_>| part.rows() / part.rows_per_example();
        let beyond = examples(more).saturating_sub(examples(few)).max(1) as f64;
        let [sweep, pass] = [0, 1].map(|at| (of_more[at] - of_few[at]).max(0.0) / beyond);
        let columns = columns as f64;
        Ok(Self {
            fixed: (of_few[1] - pass * examples(few) as f64).max(0.0) / columns,
            sweep: sweep.min(pass),
            column: (pass - sweep).max(0.0) / columns,
        })
    }
}
