//! An operator on the space that a few blocks of columns span: filled by `stochastic_lanczos`, read
//! by `spectrum`.

/// The operator on the space of a basis.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    /// V^T A V column by column, each as long as the basis was when it was multiplied.
    pub(crate) columns: Vec<Vec<f64>>,
    /// Columns of V after each step: Q, then the blocks.
    pub(crate) ends: Vec<usize>,
    /// Ritz values of Q, descending, and their residuals ||A q - theta q||.
    pub(crate) ritz: Vec<f64>,
    pub(crate) residuals: Vec<f64>,
    /// ||A Q||_F^2.
    pub(crate) deflated_square: f64,
    /// Each probe in the columns of the first block.
    pub(crate) probes: Vec<Vec<f64>>,
    /// ||A z||^2 of each probe.
    pub(crate) squares: Vec<f64>,
    /// Whether the basis spans a space that the operator does not leave.
    pub(crate) is_invariant: bool,
}
