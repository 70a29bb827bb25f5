//! Self-attention with its projections as a layer: names their weights, and writes dense maps
//! around an [`Attend`](crate::Attend).

use candle_core::Tensor;

use crate::{
    error::Result,
    graph::{Graph, Value},
    layer::Layer,
    operations::{attention::Attend, linear::Affine},
    params::{init::Initializer, spec::ParamSpec},
};

/// Self-attention of tokens (T, D), as `torch.nn.MultiheadAttention` computes it: one dense map to
/// queries, keys and values, [attention](Attend) by heads, one dense map back.
///
/// Parameters as in PyTorch: `NAME.in_proj_weight` (3 D, D), `NAME.in_proj_bias` (3 D),
/// `NAME.out_proj.weight` (D, D) and `NAME.out_proj.bias` (D). Weights start by LeCun's law, biases
/// with zero.
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    name: String,
    width: usize,
    bias: bool,
    attend: Attend,
}

impl MultiHeadAttention {
    /// So many heads over tokens of this width, which they divide.
    pub fn new(name: &str, width: usize, heads: usize) -> Self {
        let attend = Attend::new().packed(heads);
        Self { name: name.to_owned(), width, bias: true, attend }
    }

    /// Leaves out both biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Token t sees the tokens 0 to t alone.
    #[must_use]
    pub fn causal(self) -> Self {
        Self { attend: self.attend.causal(), ..self }
    }

    /// A constant mask (T, T), as [`Attend::with_mask`] takes it.
    ///
    /// # Errors
    /// As [`Attend::with_mask`].
    pub fn with_mask(self, mask: &Tensor) -> Result<Self> {
        Ok(Self { attend: self.attend.with_mask(mask)?, ..self })
    }

    /// A dense map of the tokens.
    fn project(
        &self,
        graph: &mut Graph,
        x: Value,
        [weight, bias]: [&str; 2],
        outputs: usize,
    ) -> Result<Value> {
        let spec = |part: &str, shape: &[usize], init| {
            ParamSpec::trainable(format!("{}.{part}", self.name), shape, init)
        };
        let law = Initializer::LecunNormal { fan_in: self.width };
        let mut values = vec![x, graph.parameter(spec(weight, &[outputs, self.width], law))?];
        if self.bias {
            values.push(graph.parameter(spec(bias, &[outputs], Initializer::Zeros))?);
        }
        graph.apply(Affine, &values)
    }
}

impl Layer for MultiHeadAttention {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let names = ["in_proj_weight", "in_proj_bias"];
        let qkv = self.project(graph, x, names, 3 * self.width)?;
        let y = graph.apply(self.attend.clone(), &[qkv])?;
        self.project(graph, y, ["out_proj.weight", "out_proj.bias"], self.width)
    }
}
