//! The JSON of an archive as types, as far as it is read; other keys are ignored. Read by the
//! archive, used by the trace.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::archive::argument::{Argument, Named, Size};

/// What says how to read the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct Versions {
    pub(crate) schema_version: SchemaVersion,
    pub(crate) torch_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SchemaVersion {
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

/// `models/model.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Program {
    pub(crate) graph_module: GraphModule,
    pub(crate) torch_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphModule {
    pub(crate) graph: ProgramGraph,
    pub(crate) signature: Signature,
}

/// Operations in the order in which they run.
#[derive(Debug, Deserialize)]
pub(crate) struct ProgramGraph {
    pub(crate) nodes: Vec<ProgramNode>,
    #[serde(default)]
    pub(crate) tensor_values: BTreeMap<String, TensorMeta>,
}

/// One operation.
#[derive(Debug, Deserialize)]
pub(crate) struct ProgramNode {
    /// `torch.ops.aten.conv2d.default`, `_operator.mul`.
    pub(crate) target: String,
    pub(crate) inputs: Vec<NamedArgument>,
    pub(crate) outputs: Vec<Argument>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamedArgument {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) arg: Argument,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Signature {
    pub(crate) input_specs: Vec<InputSpec>,
    pub(crate) output_specs: Vec<OutputSpec>,
}

/// What an input of the graph is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputSpec {
    UserInput { arg: Argument },
    Parameter { arg: Named, parameter_name: String },
    Buffer { arg: Named, buffer_name: String },
    TensorConstant { arg: Named, tensor_constant_name: String },
    ConstantInput { name: String, value: Argument },
    CustomObj(serde::de::IgnoredAny),
    Token(serde::de::IgnoredAny),
}

/// What an output of the graph is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputSpec {
    UserOutput { arg: Argument },
    LossOutput(serde::de::IgnoredAny),
    BufferMutation(serde::de::IgnoredAny),
    ParameterMutation(serde::de::IgnoredAny),
    GradientToParameter(serde::de::IgnoredAny),
    GradientToUserInput(serde::de::IgnoredAny),
    UserInputMutation(serde::de::IgnoredAny),
    Token(serde::de::IgnoredAny),
}

/// Element type, shape and layout of a tensor.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TensorMeta {
    pub(crate) dtype: u64,
    pub(crate) sizes: Vec<Size>,
    pub(crate) requires_grad: bool,
    pub(crate) layout: u64,
    pub(crate) strides: Vec<Size>,
    pub(crate) storage_offset: Size,
}

/// `model_weights_config.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Configuration {
    pub(crate) config: BTreeMap<String, TensorEntry>,
}

/// A tensor as a view of a stored block of numbers.
#[derive(Debug, Deserialize)]
pub(crate) struct TensorEntry {
    pub(crate) path_name: String,
    pub(crate) use_pickle: bool,
    pub(crate) tensor_meta: Option<TensorMeta>,
}
