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
    /// `grad f_c(x) . grad f_c'(x')` for all outputs: N C rows and columns, those of an example
    /// side by side, entry (n C + c, m C + c').
    Full,
}

/// The type in which products are summed over chunks of 512 parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accumulate {
    /// That of the parameters.
    #[default]
    Native,
    /// f64, also where parameters and gradients are f32: the kernel is then f64. Costs about a
    /// tenth more time and twice the memory of the kernel.
    F64,
}

/// Settings of an assembly. None of them changes a bit of the result on the CPU but `strategy`,
/// `outputs`, `layers`, `accumulate` and `micro_batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GramConfig {
    /// How the kernel is computed.
    pub strategy: Strategy,
    /// What is contracted over the outputs.
    pub outputs: Outputs,
    /// Weights of the layers whose parameters (weight and bias) are contracted, such as
    /// `["fc1.weight"]`; empty for all. The kernels of all layers, one by one, sum to the whole.
    pub layers: Vec<String>,
    /// Edge of the square tiles of K that one task computes, in examples.
    pub tile: usize,
    /// Examples per forward and backward sweep; the last sweep is padded to it.
    pub micro_batch: usize,
    /// The type in which products are summed.
    pub accumulate: Accumulate,
    /// Bytes that the rows of long convolutions may take at a time. They are expanded from their
    /// factors where they are multiplied, once for every block of the kernel.
    pub expansion: usize,
}

impl Default for GramConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            outputs: Outputs::default(),
            layers: Vec::new(),
            tile: 256,
            micro_batch: 64,
            accumulate: Accumulate::default(),
            expansion: 256 << 20,
        }
    }
}

impl GramConfig {
    /// Whether the layer of this weight or bias is contracted.
    pub(crate) fn includes(&self, name: &str) -> bool {
        let weight = |layer: &String| match name.strip_suffix(".bias") {
            Some(stem) => layer.strip_suffix(".weight") == Some(stem),
            None => layer == name,
        };
        self.layers.is_empty() || self.layers.iter().any(weight)
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (field, got) in [("tile", self.tile), ("micro_batch", self.micro_batch)] {
            if got == 0 {
                return Err(GramError::Setting { field, got, least: 1 });
            }
        }
        Ok(())
    }
}
