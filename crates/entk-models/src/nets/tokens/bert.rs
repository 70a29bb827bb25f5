//! BERT as a configuration: sizes go in, a network of token ids comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::{Dense, LayerNorm, Residual, Sequential},
    nets::tokens::{attention::SelfAttention, gpt2::table},
    network::Network,
    operations::{
        attention::Attend,
        entrywise::Add,
        shape::{Embed, Select, Slice},
    },
    params::init::InitialLaw,
};

/// Added to the variances of layer norms.
const EPS: f64 = 1e-12;

/// The encoder of Devlin et al. (2019) with a classifier on its first token. Its input is token ids
/// (N, T) of one segment without padding. The default is BERT base with 109,483,778 parameters and
/// two outputs.
///
/// Names are those of transformers' `BertForSequenceClassification`:
/// `bert.embeddings.word_embeddings.weight`, `bert.encoder.layer.0.attention.self.query.weight`,
/// ..., `bert.pooler.dense.weight`, `classifier.weight`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct BertConfig {
    /// Tokens of a sequence, T.
    pub tokens: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Positions that have an embedding.
    pub positions: usize,
    /// Segments that have an embedding; all tokens are of the first.
    pub segments: usize,
    /// Width of a token's state, D.
    pub width: usize,
    /// Layers of the encoder.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Hidden width of the perceptrons.
    pub hidden: usize,
    /// Number of outputs.
    pub outputs: usize,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            tokens: 128,
            vocabulary: 30_522,
            positions: 512,
            segments: 2,
            width: 768,
            layers: 12,
            heads: 12,
            hidden: 3072,
            outputs: 2,
        }
    }
}

impl BertConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, more tokens than positions, or a width that the heads do not divide.
    pub fn network(&self) -> Result<Network> {
        let Self { tokens, vocabulary, width, layers, heads, hidden, outputs, .. } = *self;
        if [tokens, vocabulary, width, layers, heads, hidden, outputs].contains(&0) {
            return Err(ModelError::zero("bert sizes"));
        }
        if !width.is_multiple_of(heads) {
            return Err(ModelError::shape(
                "bert width",
                format!("a multiple of {heads}"),
                &[width],
            ));
        }
        let mut graph = Graph::new();
        let mut x = self.embeddings(&mut graph)?;
        for layer in 0..layers {
            x = self.layer(&mut graph, x, &format!("bert.encoder.layer.{layer}"))?;
        }
        let head = Sequential::new()
            .then(Select::new(0, 0))
            .then(dense("bert.pooler.dense", width, width))
            .then(Activation::Tanh)
            .then(dense("classifier", width, outputs));
        let output = graph.add(&head, x)?;
        graph.network(output)
    }

    fn embeddings(&self, graph: &mut Graph) -> Result<Value> {
        let name = |part: &str| format!("bert.embeddings.{part}_embeddings.weight");
        let mut table = |part: &str, rows| table(graph, &name(part), [rows, self.width]);
        let words = table("word", self.vocabulary)?;
        let places = table("position", self.positions)?;
        let segments = table("token_type", self.segments)?;
        let ids = graph.ids(&[self.tokens]);
        let x = graph.apply(Embed::default(), &[ids, words])?;
        let places = graph.apply(Slice::new(0, 0..self.tokens), &[places])?;
        let first = graph.apply(Slice::new(0, 0..1), &[segments])?;
        let places = graph.apply(Add, &[places, first])?;
        let x = graph.apply(Add, &[x, places])?;
        graph.add(&self.norm("bert.embeddings.LayerNorm"), x)
    }

    fn norm(&self, name: &str) -> LayerNorm {
        LayerNorm::new(name, &[self.width]).with_eps(EPS)
    }

    fn layer(&self, graph: &mut Graph, x: Value, name: &str) -> Result<Value> {
        let (width, hidden) = (self.width, self.hidden);
        let part = |part: &str| format!("{name}.{part}");
        let square = |name: &str| dense(&part(name), width, width);
        let attention = SelfAttention {
            query: square("attention.self.query"),
            key: square("attention.self.key"),
            value: square("attention.self.value"),
            output: square("attention.output.dense"),
            head: width / self.heads,
            rotate: None,
            attend: Attend::new(),
        };
        let perceptron = Sequential::new()
            .then(dense(&part("intermediate.dense"), width, hidden))
            .then(Activation::GeluErf)
            .then(dense(&part("output.dense"), hidden, width));
        let layer = Sequential::new()
            .then(Residual::new(Sequential::new().then(attention)))
            .then(self.norm(&part("attention.output.LayerNorm")))
            .then(Residual::new(perceptron))
            .then(self.norm(&part("output.LayerNorm")));
        graph.add(&layer, x)
    }
}

fn dense(name: &str, inputs: usize, outputs: usize) -> Dense {
    Dense::new(name, inputs, outputs).with_law(InitialLaw::Normal { std: 0.02 })
}
