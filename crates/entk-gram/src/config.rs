use crate::error::{GramError, Result};

/// How the kernel is computed. All three give the same matrix up to round-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Layer by layer from unexpanded gradient factors: a dense layer costs
    /// `2 (in + out)` operations a pair instead of `2 in out`. The fast path, 30 to 90 times
    /// fewer operations than the Jacobian on the paper's MLP and LeNet5.
    #[default]
    Structured,
    /// The rows of the Jacobian are formed and multiplied: N P numbers of memory, `2 P`
    /// operations a pair.
    JacobianContraction,
    /// One gradient per example by its own backward pass, then inner products in f64. The slow,
    /// obvious oracle of the tests.
    PerExample,
}

/// Which kernel of a model with several outputs is meant. With one output all are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outputs {
    /// `sum_c grad f_c(x) . grad f_c(x')`, the trace over outputs.
    #[default]
    Trace,
    /// `grad F(x) . grad F(x')` for the sum of logits `F = sum_c f_c`: one backward pass.
    SumOfLogits,
}

/// Settings of an assembly. None of them changes a bit of the result on the CPU but `strategy`,
/// `outputs` and `micro_batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GramConfig {
    /// How the kernel is computed.
    pub strategy: Strategy,
    /// What is contracted over the outputs.
    pub outputs: Outputs,
    /// Edge of the square tiles of K that one task computes, in examples.
    pub tile: usize,
    /// Examples per forward and backward sweep; the last sweep is padded to it.
    pub micro_batch: usize,
}

impl Default for GramConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            outputs: Outputs::default(),
            tile: 256,
            micro_batch: 64,
        }
    }
}

impl GramConfig {
    pub(crate) fn check(&self) -> Result<()> {
        for (field, got) in [("tile", self.tile), ("micro_batch", self.micro_batch)] {
            if got == 0 {
                return Err(GramError::Setting { field, got, least: 1 });
            }
        }
        Ok(())
    }
}
