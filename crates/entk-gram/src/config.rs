//! Which kernel is meant and how it is computed: settings that the caller gives an assembly.

use candle_core::Device;
use entk_device::Precision;
use serde::{Deserialize, Serialize};

use crate::error::{GramError, Result};

/// How the kernel is computed. All three give the same matrix up to round-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
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

/// Which kernel of a model with C outputs f_1, ..., f_C is meant: plain sums over parameters and
/// outputs, no 1/C. With one output all of these are equal.
///
/// | kernel | entry for examples x, x' | rows | is, of the blocks K_cc' of `Full` |
/// |---|---|---|---|
/// | `Trace` | `sum_c grad f_c(x) . grad f_c(x')` | N | the sum of those with c = c' |
/// | `SumOfLogits` | `sum_cc' grad f_c(x) . grad f_c'(x')` | N | the sum of all |
/// | `Full` | `grad f_c(x) . grad f_c'(x')` | N C | all |
/// | `One(c)` | `grad f_c(x) . grad f_c(x')` | N | K_cc |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outputs {
    /// `sum_c grad f_c(x) . grad f_c(x')`, the trace over outputs; over C it is the mean of the
    /// kernels of single outputs.
    #[default]
    Trace,
    /// `grad F(x) . grad F(x')` for the sum of logits `F = sum_c f_c`: one backward pass; over C it
    /// is the pseudo-NTK of Mohamadi, Bae and Sutherland (2023).
    SumOfLogits,
    /// `grad f_c(x) . grad f_c'(x')` for all outputs: N C rows and columns, those of an example
    /// side by side, entry (n C + c, m C + c').
    Full,
    /// `grad f_c(x) . grad f_c(x')` for one output c, counted from 0: one backward pass.
    One(usize),
}

impl Outputs {
    /// Rows of the kernel that an example has, of a model with so many outputs: C for
    /// [`Outputs::Full`], else 1.
    pub fn rows_per_example(self, outputs: usize) -> usize {
        if self == Self::Full { outputs } else { 1 }
    }

    /// The entry for two examples, as text.
    pub fn formula(self) -> String {
        match self {
            Self::Trace => "sum_c grad f_c(x) . grad f_c(x')".into(),
            Self::SumOfLogits => "sum_cc' grad f_c(x) . grad f_c'(x')".into(),
            Self::Full => "grad f_c(x) . grad f_c'(x'), at (n C + c, m C + c')".into(),
            Self::One(c) => format!("grad f_{c}(x) . grad f_{c}(x')"),
        }
    }

    /// How often the factors of one output are kept for a row of the kernel.
    pub(crate) fn factors_per_row(self, outputs: usize) -> usize {
        if self == Self::Trace { outputs } else { 1 }
    }
}

/// The type in which products are summed over chunks of 512 parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Accumulate {
    /// That of the parameters.
    #[default]
    Native,
    /// f64, also where parameters and gradients are f32: the kernel is then f64. Costs about a
    /// tenth more time and twice the memory of the kernel.
    F64,
}

/// Settings of an assembly. On the CPU none of them changes a bit of the result but `strategy`,
/// `outputs`, `layers` and `accumulate`; operations from elsewhere may round by `micro_batch`.
#[derive(Default, Debug, Clone)]
pub struct GramConfig {
    /// How the kernel is computed.
    pub strategy: Strategy,
    /// What is contracted over the outputs.
    pub outputs: Outputs,
    /// Weights of the layers whose parameters (weight and bias) are contracted, such as
    /// `["fc1.weight"]`; empty for all. The kernels of all layers, one by one, sum to the whole.
    pub layers: Vec<String>,
    /// Examples per forward and backward sweep, never more than there are. By default as many as
    /// are fast and small: up to 64, fewer of a network with large activations, in parts as equal
    /// as can be.
    pub micro_batch: Option<usize>,
    /// The type in which products are summed.
    pub accumulate: Accumulate,
    /// What computes the tiles.
    pub engine: Engine,
}

/// What computes the tiles of a kernel.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Engine {
    /// By where the parameters are: the CPU's engine, or tensor operations on their device.
    #[default]
    Auto,
    /// Products by faer on all threads, for parameters on the CPU.
    Cpu(CpuConfig),
    /// Tensor operations on the device of the parameters; with them on the CPU that is slower, and
    /// for checks.
    Tensors(DeviceConfig),
}

/// How the CPU computes tiles. Nothing here changes a bit of the result.
///
/// The gradient factors of all layers are kept where they fit the memory, else those of some layers
/// at a time, with a sweep over all examples for each group of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuConfig {
    /// Edge of the square tiles of K that one task computes, in examples.
    pub tile: usize,
    /// Bytes that the rows of long convolutions may take at a time, about a cache that all cores
    /// share. They are expanded from their factors where they are multiplied, once for every tile
    /// of the kernel.
    pub expansion: usize,
    /// Bytes that the process may use in all; by default what
    /// [`MemoryLimit::detect`](crate::MemoryLimit::detect) finds.
    pub memory: Option<u64>,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self { tile: 256, expansion: 32 << 20, memory: None }
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
        let tile = if let Engine::Cpu(cpu) = &self.engine { cpu.tile } else { 1 };
        let micro_batch = self.micro_batch.unwrap_or(1);
        for (field, got) in [("tile", tile), ("micro_batch", micro_batch)] {
            if got == 0 {
                return Err(GramError::Setting { field, got, least: 1 });
            }
        }
        Ok(())
    }
}

/// How a kernel is assembled in tensor operations: on the device of its parameters, by the same
/// code wherever that is.
///
/// The memory decides between two orders of work. Where the operands of all products fit, each tile
/// is finished at once. Else the tiles stay and the parameters are split: a sweep keeps the
/// gradient factors of a group of layers for all examples, chunk by chunk they become rows, each
/// formed once, and every tile takes their product; [`Plan::order`](crate::plan::Plan::order) says
/// how many sweeps that takes. The bits depend on the kind of device and its libraries, which
/// choose the order of sums by the sizes of products, so on the precision, the micro-batch and the
/// edge of the tiles too; not on the memory or the number of devices.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `precision` | that of the parameters | arithmetic of the kernel's products |
/// | `memory` | what the device has free | bytes that may be used |
/// | `edge` | 1,024 to 2,048 | edge of the tiles of a kernel in memory |
/// | `resident_tiles` | all that fit | tiles that are resident, and finished, at a time |
/// | `devices` | none | other devices that share the work |
#[derive(Debug, Clone, Default)]
pub struct DeviceConfig {
    /// What the operands of products are rounded to.
    pub precision: Option<Precision>,
    /// Bytes of the device's memory.
    pub memory: Option<u64>,
    /// Edge of the tiles in memory; a store has its own.
    pub edge: Option<usize>,
    /// Most tiles that are resident at a time where tiles are: each such set repeats the sweeps,
    /// and a store keeps it once it is finished.
    pub resident_tiles: Option<usize>,
    /// Devices besides that of the parameters; each takes a share of the tiles, and gets its own
    /// copy of parameters and inputs.
    pub devices: Vec<Device>,
}
