//! Networks under test that are functions of tokens: dense layers over tokens, embeddings, and
//! parameters that are used several times. Called by the list of networks.

use entk_models::{
    Activation, Affine, Dense, Embedding, Flatten, Graph, Initializer, Mean, Network, ParamSpec,
    Reshape, Result, Sequential,
};

/// Dense layers over so many tokens that their rows are shorter than pairs of tokens.
pub(crate) fn tokens() -> Result<Network> {
    let layers = Sequential::new()
        .then(Dense::new("a", 12, 30))
        .then(Activation::Gelu)
        .then(Dense::new("b", 30, 40))
        .then(Activation::Tanh)
        .then(Mean::over(&[0]))
        .then(Dense::new("head", 40, 1));
    Network::new(&[5, 12], layers)
}

/// Dense layers over two tokens and over one.
pub(crate) fn few_tokens() -> Result<Network> {
    let layers = Sequential::new()
        .then(Dense::new("a", 60, 70))
        .then(Activation::Gelu)
        .then(Dense::new("b", 70, 75).without_bias())
        .then(Activation::Tanh)
        .then(Reshape::new(&[1, 150]))
        .then(Dense::new("one", 150, 12))
        .then(Flatten)
        .then(Dense::new("head", 12, 2));
    Network::new(&[2, 60], layers)
}

/// An embedding of so many tokens below a dense layer over them.
pub(crate) fn embedding(tokens: usize, rows: usize, width: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let ids = graph.ids(&[tokens]);
    let layers = Sequential::new()
        .then(Embedding::new("table", rows, width))
        .then(Dense::new("fc", width, 14))
        .then(Activation::Gelu)
        .then(Mean::over(&[0]))
        .then(Dense::new("head", 14, 1));
    let output = graph.add(&layers, ids)?;
    graph.network(output)
}

/// A table that is the weight of the head, too.
pub(crate) fn tied_table(tokens: usize, rows: usize, width: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let ids = graph.ids(&[tokens]);
    let below = Sequential::new()
        .then(Embedding::new("table", rows, width))
        .then(Dense::new("fc", width, width))
        .then(Activation::Tanh)
        .then(Mean::over(&[0]));
    let hidden = graph.add(&below, ids)?;
    let table = graph.existing("table.weight")?;
    let logits = graph.apply(Affine, &[hidden, table])?;
    let above = Sequential::new().then(Activation::Gelu).then(Dense::new("head", rows, 1));
    let output = graph.add(&above, logits)?;
    graph.network(output)
}

/// A weight and a bias that are used three times.
pub(crate) fn recurrent(width: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let init = Initializer::LecunNormal { fan_in: width };
    let weight = ParamSpec::trainable("cell.weight".to_owned(), &[width, width], init);
    let weight = graph.parameter(weight)?;
    let bias = ParamSpec::trainable("cell.bias".to_owned(), &[width], Initializer::Zeros);
    let bias = graph.parameter(bias)?;
    let mut state = graph.input(&[width]);
    for _ in 0..3 {
        state = graph.apply(Affine, &[state, weight, bias])?;
        state = graph.apply(Activation::Tanh, &[state])?;
    }
    let output = graph.add(&Dense::new("head", width, 1), state)?;
    graph.network(output)
}
