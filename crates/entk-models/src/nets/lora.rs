//! Low-rank adapters on the dense layers of a network: a network and patterns of names go in, the
//! network with frozen weights and trainable adapters comes out.

use entk_device::Function;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Source, Value},
    network::Network,
    operation::ErasedOperation,
    operations::{
        entrywise::Add,
        linear::{Affine, AffineTransposed},
        shape::Pad,
    },
    params::{
        init::Initializer,
        spec::ParamSpec,
        trainable::{Trainable, matches},
    },
};

/// What peft puts before the names of a base model.
const PREFIX: &str = "base_model.model.";

/// Low-rank adapters (Hu et al., 2022) on dense layers of a network: each chosen layer gives
/// `W x + b + (alpha / rank) B A x` with A (rank, in) and B (out, rank). Adapters alone are
/// trained. A starts by PyTorch's default law and B with zero: then the outputs are those of the
/// base, and every A is exactly inactive.
///
/// Names are those of the files: the base's are unchanged, adapters have peft's
/// `base_model.model.LAYER.lora_A.weight` and `base_model.model.LAYER.lora_B.weight`.
///
/// ```
/// # use entk_models::{Gpt2Config, Lora, Model, ParamKind};
/// let (width, layers, heads) = (12, 2, 3);
/// let gpt2 = Gpt2Config { width, layers, heads, ..Gpt2Config::default() }.network()?;
/// // Queries and values are the first and the last third of what `c_attn` gives.
/// let lora = Lora::new(8, 16.0)
///     .on_part("*.attn.c_attn", "q", 0, 3)
///     .on_part("*.attn.c_attn", "v", 2, 3);
/// let adapted = lora.apply(&gpt2)?;
/// let trained = adapted.specs().into_iter().filter(|spec| spec.kind == ParamKind::Trainable);
/// assert_eq!(trained.map(|spec| spec.elem_count()).sum::<usize>(), 2 * 2 * 8 * (12 + 12));
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    rank: usize,
    alpha: f64,
    adapters: Vec<Adapter>,
    trained: Vec<String>,
}

/// Where one kind of adapter goes.
#[derive(Debug, Clone, PartialEq)]
struct Adapter {
    pattern: String,
    /// Beside others on the same layer.
    name: Option<String>,
    /// Number of the part of the outputs, and of parts.
    part: [usize; 2],
}

impl Lora {
    /// Adapters of this rank, scaled by `alpha / rank`.
    pub fn new(rank: usize, alpha: f64) -> Self {
        Self { rank, alpha, adapters: Vec::new(), trained: Vec::new() }
    }

    /// On every dense layer whose name the pattern matches; `*` stands for any part of a name.
    #[must_use]
    pub fn on(self, pattern: &str) -> Self {
        self.with_adapter(pattern, None, [0, 1])
    }

    /// On one of equal parts of the outputs of every dense layer whose name the pattern matches, as
    /// of a joint layer of queries, keys and values. Parameters are
    /// `base_model.model.LAYER.lora_A.NAME.weight` and `...lora_B.NAME.weight`.
    #[must_use]
    pub fn on_part(self, pattern: &str, name: &str, part: usize, parts: usize) -> Self {
        self.with_adapter(pattern, Some(name.to_owned()), [part, parts])
    }

    /// Also trains the parameters of the base whose names the pattern matches, as of a new head.
    #[must_use]
    pub fn with_trained(mut self, pattern: &str) -> Self {
        self.trained.push(pattern.to_owned());
        self
    }

    fn with_adapter(mut self, pattern: &str, name: Option<String>, part: [usize; 2]) -> Self {
        self.adapters.push(Adapter { pattern: pattern.to_owned(), name, part });
        self
    }

    /// The network with adapters.
    ///
    /// # Errors
    /// A rank of zero, a pattern that matches no dense layer, or parts that do not divide a layer.
    pub fn apply(&self, network: &Network) -> Result<Network> {
        if self.rank == 0 {
            return Err(ModelError::zero("rank of adapters"));
        }
        let (graph, output) = network.graph();
        let mut adapted = Graph { nodes: Vec::new(), ..graph.clone() };
        let (mut moved, mut layers) = (Vec::with_capacity(graph.nodes.len()), Vec::new());
        for node in &graph.nodes {
            let value = match &node.source {
                Source::Result { operation, inputs } => {
                    let inputs: Vec<usize> = inputs.iter().map(|at| moved[*at]).collect();
                    let value = adapted.append(operation.clone(), inputs.clone())?;
                    match dense_layer(&adapted, &**operation, &inputs) {
                        Some(layer) => {
                            let value = self.adapt(&mut adapted, &layer, inputs[0], value)?;
                            layers.push(layer);
                            value
                        }
                        None => value,
                    }
                }
                _ => adapted.push(node.clone()),
            };
            moved.push(value.0);
        }
        self.ensure_found(&layers)?;
        let patterns = ["*.lora_A.*", "*.lora_B.*"].into_iter().map(str::to_owned);
        let trainable = Trainable::only(patterns.chain(self.trained.iter().cloned()));
        adapted.network(Value(moved[output]))?.with_trainable(&trainable)
    }

    fn ensure_found(&self, layers: &[String]) -> Result<()> {
        let found = |adapter: &Adapter| layers.iter().any(|l| matches(&adapter.pattern, l));
        match self.adapters.iter().find(|adapter| !found(adapter)) {
            Some(Adapter { pattern, .. }) => {
                Err(ModelError::UnknownName { name: pattern.clone(), known: layers.to_vec() })
            }
            None => Ok(()),
        }
    }

    /// Adds the terms of all adapters of a layer to its result.
    fn adapt(&self, graph: &mut Graph, layer: &str, x: usize, mut y: Value) -> Result<Value> {
        for adapter in self.adapters.iter().filter(|a| matches(&a.pattern, layer)) {
            let term = self.term(graph, layer, Value(x), y, adapter)?;
            y = graph.apply(Add, &[y, term])?;
        }
        Ok(y)
    }

    fn term(
        &self,
        graph: &mut Graph,
        layer: &str,
        x: Value,
        y: Value,
        Adapter { name, part: [part, parts], .. }: &Adapter,
    ) -> Result<Value> {
        let last = |shape: &[usize]| shape.last().copied().unwrap_or(0);
        let (inputs, outputs) = (last(graph.shape(x)?), last(graph.shape(y)?));
        if *parts == 0 || part >= parts || !outputs.is_multiple_of(*parts) {
            let expected = format!("outputs in {parts} parts, {part} of them before");
            return Err(ModelError::shape(layer, expected, graph.shape(y)?));
        }
        let width = outputs / parts;
        let end = name.as_ref().map_or_else(String::new, |name| format!(".{name}"));
        let mut weight = |matrix: &str, shape: [usize; 2], init| {
            let name = format!("{PREFIX}{layer}.lora_{matrix}{end}.weight");
            graph.parameter(ParamSpec::trainable(name, &shape, init))
        };
        let down = weight("A", [self.rank, inputs], Initializer::torch_default(inputs))?;
        let up = weight("B", [width, self.rank], Initializer::Zeros)?;
        let low = graph.apply(Affine, &[x, down])?;
        let low = graph.apply(Function::scale(self.alpha / self.rank as f64), &[low])?;
        let term = graph.apply(Affine, &[low, up])?;
        let axis = graph.shape(term)?.len() - 1;
        match parts {
            1 => Ok(term),
            _ => graph.apply(Pad::new(axis, part * width, outputs - (part + 1) * width), &[term]),
        }
    }
}

/// The name of the dense layer that an operation is, if its weight is a parameter.
fn dense_layer(graph: &Graph, operation: &dyn ErasedOperation, inputs: &[usize]) -> Option<String> {
    let operation = operation.as_any();
    let is_dense = operation.is::<Affine>() || operation.is::<AffineTransposed>();
    let name = graph.names(inputs).get(1).filter(|_| is_dense)?.strip_suffix(".weight");
    name.map(str::to_owned)
}
