//! What a language model gives for a sequence: the state of its last position goes in, some logits
//! come out.

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::Dense,
    operations::{linear::Affine, shape::TableRows},
    params::init::InitialLaw,
};

/// What a language model gives for a sequence, at its last position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum LanguageHead {
    /// The logits of all tokens of the vocabulary.
    Vocabulary,
    /// The logits of these tokens, such as the words that stand for the classes of a task (Malladi
    /// et al., 2023). Nothing of the others is computed.
    Tokens(Vec<u32>),
    /// So many logits of a dense layer `score` without bias in place of the vocabulary's, as in
    /// transformers' `...ForSequenceClassification` without padding.
    Labels(usize),
}

impl LanguageHead {
    /// The logits of a state (D), given the vocabulary's weight (V, D), if there is one.
    pub(super) fn add_to(
        &self,
        graph: &mut Graph,
        state: Value,
        table: Value,
        law: InitialLaw,
    ) -> Result<Value> {
        let weight = match self {
            Self::Vocabulary => table,
            Self::Tokens(rows) => graph.apply(TableRows::new(rows.clone()), &[table])?,
            Self::Labels(0) => return Err(ModelError::zero("labels")),
            Self::Labels(labels) => {
                let width = graph.shape(state)?.iter().product();
                let score = Dense::new("score", width, *labels).without_bias().with_law(law);
                return graph.add(&score, state);
            }
        };
        graph.apply(Affine, &[state, weight])
    }

    /// Whether the vocabulary's weight is read.
    pub(super) fn reads_vocabulary(&self) -> bool {
        !matches!(self, Self::Labels(_))
    }
}
