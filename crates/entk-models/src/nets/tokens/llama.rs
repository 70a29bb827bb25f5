//! A decoder like Llama as a configuration: sizes go in, a network of token ids comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layer::Layer,
    layers::{Dense, Residual, RmsNorm, Sequential},
    nets::tokens::{attention::SelfAttention, gpt2::table, head::LanguageHead},
    network::Network,
    operations::{
        attention::{Attend, Rotate},
        entrywise::Multiply,
        shape::{Embed, Select},
    },
    params::init::InitialLaw,
};

/// The decoder of Touvron et al. (2023): RMS norms, rotary positions, attention with grouped heads,
/// gated perceptrons (SwiGLU), no bias. Its input is token ids (N, T). The default is Llama 2 7B
/// with 6,738,415,616 parameters.
///
/// Names are those of transformers' `LlamaForCausalLM`: `model.embed_tokens.weight`,
/// `model.layers.0.self_attn.q_proj.weight`, ..., `model.norm.weight`, `lm_head.weight`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LlamaConfig {
    /// Tokens of a sequence, T.
    pub tokens: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Width of a token's state, D.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Heads of keys and values, which divide those of the queries.
    pub groups: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Hidden width of the gated perceptrons.
    pub hidden: usize,
    /// Added to the mean squares of norms.
    pub eps: f64,
    /// Base of the rotary frequencies.
    pub base: f64,
    /// Whether the logits' weight is that of the embedding, not one of its own.
    pub tied: bool,
    /// What is given at the last position.
    pub head: LanguageHead,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            tokens: 128,
            vocabulary: 32_000,
            width: 4096,
            layers: 32,
            heads: 32,
            groups: 32,
            head_width: 128,
            hidden: 11_008,
            eps: 1e-5,
            base: 10_000.0,
            tied: false,
            head: LanguageHead::Vocabulary,
        }
    }
}

impl LlamaConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, groups that do not divide the heads, an odd width of a head, or tokens of
    /// the head outside the vocabulary.
    pub fn network(&self) -> Result<Network> {
        let sizes = [self.tokens, self.vocabulary, self.width, self.layers, self.hidden];
        if sizes.contains(&0) || [self.heads, self.groups, self.head_width].contains(&0) {
            return Err(ModelError::zero("llama sizes"));
        }
        let mut graph = Graph::new();
        let ids = graph.ids(&[self.tokens]);
        let shape = [self.vocabulary, self.width];
        let words = table(&mut graph, "model.embed_tokens.weight", shape)?;
        let mut x = graph.apply(Embed::default(), &[ids, words])?;
        for layer in 0..self.layers {
            x = self.block(&mut graph, x, &format!("model.layers.{layer}"))?;
        }
        let x = graph.apply(Select::new(0, self.tokens - 1), &[x])?;
        let x = graph.add(&self.norm("model.norm"), x)?;
        let logits = match self.tied || !self.head.reads_vocabulary() {
            true => words,
            false => table(&mut graph, "lm_head.weight", shape)?,
        };
        let output = self.head.add_to(&mut graph, x, logits, LAW)?;
        graph.network(output)
    }

    fn norm(&self, name: &str) -> RmsNorm {
        RmsNorm::new(name, self.width).with_eps(self.eps)
    }

    fn block(&self, graph: &mut Graph, x: Value, name: &str) -> Result<Value> {
        let (width, hidden, head) = (self.width, self.hidden, self.head_width);
        let part = |part: &str| format!("{name}.{part}");
        let dense = |name: &str, inputs, outputs| {
            Dense::new(&part(name), inputs, outputs).without_bias().with_law(LAW)
        };
        let attention = SelfAttention {
            query: dense("self_attn.q_proj", width, self.heads * head),
            key: dense("self_attn.k_proj", width, self.groups * head),
            value: dense("self_attn.v_proj", width, self.groups * head),
            output: dense("self_attn.o_proj", self.heads * head, width),
            head,
            rotate: Some(Rotate::new(self.base)),
            attend: Attend::new().causal(),
        };
        let perceptron = Gated {
            gate: dense("mlp.gate_proj", width, hidden),
            up: dense("mlp.up_proj", width, hidden),
            down: dense("mlp.down_proj", hidden, width),
        };
        let attention = Sequential::new().then(self.norm(&part("input_layernorm"))).then(attention);
        let norm = self.norm(&part("post_attention_layernorm"));
        let x = graph.add(&Residual::new(attention), x)?;
        graph.add(&Residual::new(Sequential::new().then(norm).then(perceptron)), x)
    }
}

const LAW: InitialLaw = InitialLaw::Normal { std: 0.02 };

/// `down(silu(gate(x)) up(x))`.
#[derive(Debug, Clone)]
struct Gated {
    gate: Dense,
    up: Dense,
    down: Dense,
}

impl Layer for Gated {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let gate = graph.add(&self.gate, x)?;
        let gate = graph.apply(Activation::Silu, &[gate])?;
        let up = graph.add(&self.up, x)?;
        let product = graph.apply(Multiply, &[gate, up])?;
        graph.add(&self.down, product)
    }
}
