//! GPT-2 as a configuration: sizes go in, a network of token ids comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::{Dense, LayerNorm, Residual, Sequential},
    nets::tokens::head::LanguageHead,
    network::Network,
    operations::{
        attention::Attend,
        entrywise::Add,
        shape::{Embed, Select, Slice},
    },
    params::{
        init::{InitialLaw, Initializer},
        spec::ParamSpec,
    },
};

/// Standard deviation of weights and embeddings.
const STD: f64 = 0.02;

/// The decoder of Radford et al. (2019): embeddings of tokens and positions, blocks of causal
/// attention and a perceptron behind layer norms, and logits by the embedding's own weight. Its
/// input is token ids (N, T). The default is GPT-2 small with 124,439,808 parameters.
///
/// Names are those of transformers' `GPT2LMHeadModel`: `transformer.wte.weight`,
/// `transformer.h.0.attn.c_attn.weight` (in, out), ..., `transformer.ln_f.weight`. `lm_head.weight`
/// is `transformer.wte.weight` and not named a second time, as in files of safetensors.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Gpt2Config {
    /// Tokens of a sequence, T.
    pub tokens: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Positions that have an embedding.
    pub positions: usize,
    /// Width of a token's state, D.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// What is given at the last position.
    pub head: LanguageHead,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            tokens: 128,
            vocabulary: 50_257,
            positions: 1024,
            width: 768,
            layers: 12,
            heads: 12,
            head: LanguageHead::Vocabulary,
        }
    }
}

impl Gpt2Config {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, more tokens than positions, a width that the heads do not divide, or tokens
    /// of the head outside the vocabulary.
    pub fn network(&self) -> Result<Network> {
        let Self { tokens, vocabulary, positions, width, .. } = *self;
        if [tokens, vocabulary, width, self.layers, self.heads].contains(&0) {
            return Err(ModelError::zero("gpt2 sizes"));
        }
        let mut graph = Graph::new();
        let ids = graph.ids(&[tokens]);
        let words = table(&mut graph, "transformer.wte.weight", [vocabulary, width])?;
        let places = table(&mut graph, "transformer.wpe.weight", [positions, width])?;
        let x = graph.apply(Embed::default(), &[ids, words])?;
        let places = graph.apply(Slice::new(0, 0..tokens), &[places])?;
        let mut x = graph.apply(Add, &[x, places])?;
        for layer in 0..self.layers {
            x = self.block(&mut graph, x, &format!("transformer.h.{layer}"))?;
        }
        let x = graph.apply(Select::new(0, tokens - 1), &[x])?;
        let x = graph.add(&LayerNorm::new("transformer.ln_f", &[width]), x)?;
        let law = InitialLaw::Normal { std: STD };
        let output = self.head.add_to(&mut graph, x, words, law)?;
        graph.network(output)
    }

    fn block(&self, graph: &mut Graph, x: Value, name: &str) -> Result<Value> {
        let width = self.width;
        let part = |part: &str| format!("{name}.{part}");
        let norm = |name: &str| LayerNorm::new(&part(name), &[width]);
        let dense = |name: &str, inputs, outputs, std| {
            Dense::new(&part(name), inputs, outputs)
                .transposed()
                .with_law(InitialLaw::Normal { std })
        };
        let last = STD / (2.0 * self.layers as f64).sqrt();
        let attention = Sequential::new()
            .then(norm("ln_1"))
            .then(dense("attn.c_attn", width, 3 * width, STD))
            .then(Attend::new().packed(self.heads).causal())
            .then(dense("attn.c_proj", width, width, last));
        let perceptron = Sequential::new()
            .then(norm("ln_2"))
            .then(dense("mlp.c_fc", width, 4 * width, STD))
            .then(Activation::Gelu)
            .then(dense("mlp.c_proj", 4 * width, width, last));
        let x = graph.add(&Residual::new(attention), x)?;
        graph.add(&Residual::new(perceptron), x)
    }
}

/// An embedding's weight.
pub(super) fn table(graph: &mut Graph, name: &str, shape: [usize; 2]) -> Result<Value> {
    let init = Initializer::ScaledNormal { std: STD };
    graph.parameter(ParamSpec::trainable(name, &shape, init))
}
