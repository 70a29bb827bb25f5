//! Everything that can go wrong in a model, its parameters or its files.

use std::path::PathBuf;

use entk_device::{Function, files::FileError, memory::MemoryError};

use crate::params::names::{misfit, unknown};

/// Everything that can go wrong in a model, its parameters or its weight files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor does not have the shape that its place asks for.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// Where the tensor was used.
        what: String,
        /// The shape asked for, `N` standing for the free batch axis.
        expected: String,
        /// The shape found.
        got: Vec<usize>,
    },
    /// Two tensors that must agree in element type do not.
    #[error("{what}: expected dtype {expected:?}, got {got:?}; convert with `to_dtype`")]
    DType {
        /// Where the tensor was used.
        what: String,
        /// The dtype asked for.
        expected: candle_core::DType,
        /// The dtype found.
        got: candle_core::DType,
    },
    /// A set of named tensors does not fit the model; every difference is listed at once.
    #[error("{}", misfit(missing, unexpected, misshaped))]
    Names {
        /// Names that the model has and the set lacks.
        missing: Vec<String>,
        /// Names that the set has and the model does not know.
        unexpected: Vec<String>,
        /// `name: expected shape, got shape`, one per tensor of the wrong shape.
        misshaped: Vec<String>,
    },
    /// No tensor of this name.
    #[error("{}", unknown(name, known))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// NaN or infinity where a number is needed.
    #[error(
        "{what} holds {value} at flat index {index}; remove or repair such entries; if a model has \
         computed it from finite numbers, it is an overflow: scale inputs or weights down, or use f64"
    )]
    NonFinite {
        /// Which tensor.
        what: String,
        /// Row-major index of the first offending entry.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// A gradient that was predicted to be exactly zero is not.
    #[error(
        "the gradient of {name} was left out as exactly zero, but its largest entry is {largest}; \
         correct `blocks` of an operation of your own, or use the network `without_skipping` and \
         report this"
    )]
    NotZero {
        /// The parameter.
        name: String,
        /// The largest magnitude found.
        largest: f64,
    },
    /// An operation with too few or too many inputs.
    #[error("{operation}: cannot take {got} inputs")]
    Arity {
        /// The operation.
        operation: String,
        /// How many it was given.
        got: usize,
    },
    /// A value of another graph, or an input that was not given.
    #[error(
        "value {asked} asked for, there are {values}; values belong to the graph that made them"
    )]
    NoValue {
        /// Which, counted from 0.
        asked: usize,
        /// How many there are.
        values: usize,
    },
    /// A weight with a structured gradient that is no parameter and depends on the input.
    #[error(
        "{operation}: its weight depends on the input; use `MatMul` for a product of two values"
    )]
    WeightOfInput {
        /// The operation.
        operation: String,
    },
    /// A graph that is no function of one input.
    #[error("the output must depend on the graph's one input; there are {inputs} inputs")]
    OneInput {
        /// How many there are.
        inputs: usize,
    },
    /// An operation whose results are not what it says.
    #[error(
        "{operation}: the {what} is {got:?}, but has to be {promised:?}; correct the operation"
    )]
    Promise {
        /// The operation.
        operation: String,
        /// Of what.
        what: String,
        /// What it has to be.
        promised: Vec<usize>,
        /// What it is.
        got: Vec<usize>,
    },
    /// An operation whose derivatives contradict each other or its values.
    #[error("{operation}: {}", contradiction(what, *error, *tolerance))]
    WrongDerivative {
        /// The operation.
        operation: String,
        /// What was compared.
        what: String,
        /// The error.
        error: f64,
        /// The largest that round-off explains.
        tolerance: f64,
    },
    /// A tensor error inside an operation from elsewhere.
    #[error("{operation}: {source}")]
    InOperation {
        /// The operation.
        operation: String,
        /// The error.
        source: candle_core::Error,
    },
    /// An input of a closure that candle's autograd does not reach from the result.
    #[error(
        "{operation}: candle gives no gradient of input {input}: it is not used, or through an \
         operation without derivative such as `softmax_last_dim`"
    )]
    NoGradient {
        /// The operation.
        operation: String,
        /// Which input, counted from 0.
        input: usize,
    },
    /// A factor under other names than those of the operation's inputs.
    #[error("{operation}: gives a factor of {got:?}; use the names that it is handed")]
    FactorNames {
        /// The operation.
        operation: String,
        /// Names of the factor.
        got: String,
    },
    /// An operation without the factor that it says it has.
    #[error("{operation}: gives no factor for its structured inputs; implement `factor`")]
    NoFactor {
        /// The operation.
        operation: String,
    },
    /// A function of one number that has no loop on the host.
    #[error("the function {0:?} is not implemented")]
    Function(Function),
    /// A layer was handed a cache that its forward pass did not make.
    #[error("the cache of a layer holds no {what}; hand derivatives the cache of their own layer")]
    Cache {
        /// What it lacks.
        what: &'static str,
    },
    /// A size of zero.
    #[error("{what}: must all be at least 1")]
    Zero {
        /// Which sizes of which network or layer.
        what: String,
    },
    /// A parameter of more numbers than can be addressed.
    #[error(
        "{name}: shape {shape:?} has more numbers than can be addressed; use a narrower network or smaller inputs"
    )]
    TooLarge {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A stage of a ResNet of more channels than can be counted.
    #[error("resnet blocks: stage {stage} would be too wide")]
    TooWide {
        /// The stage, counted from 0.
        stage: usize,
    },
    /// A convolution whose kernel is larger than its padded input.
    #[error("{what}: kernel {kernel:?} is larger than the padded input {padded}")]
    KernelTooLarge {
        /// The layer.
        what: String,
        /// Rows and columns that its kernel covers, those that a dilation leaves out among them.
        kernel: [usize; 2],
        /// Size of the padded input on the axis where it does not fit.
        padded: usize,
    },
    /// A pooling whose padding is more than half of its window.
    #[error("{what}: padding {padding} is more than half of the window of {window} entries")]
    PaddingTooLarge {
        /// The operation.
        what: String,
        /// Entries added at both ends of an axis.
        padding: usize,
        /// Entries of a window.
        window: usize,
    },
    /// An id that is no row of its table.
    #[error("embedding: id {id} is outside of the table of {rows} rows")]
    IdTooLarge {
        /// The largest id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// Two parameters of one name in a network.
    #[error("{name}: two parameters have this name; give one of them another")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A set of parameters without a tensor.
    #[error("parameters: there are none to train; freeze fewer, or give the network some")]
    NoParameters,
    /// Tensors of one set on several devices.
    #[error("{name}: is on another device; move it with `to_device`")]
    OtherDevice {
        /// The tensor.
        name: String,
    },
    /// A vector without a direction.
    #[error("cosine distance: a vector is zero")]
    ZeroVector,
    /// An output that the model does not have.
    #[error(
        "output {asked} asked for, the model has {outputs}, counted from 0; ask for one of them"
    )]
    NoOutput {
        /// Which, counted from 0.
        asked: usize,
        /// How many there are.
        outputs: usize,
    },
    /// A stored variance below zero.
    #[error(
        "{name}: channel {channel} has the negative variance {lowest}; the file or the tensor is damaged or of another layout: save the statistics again"
    )]
    NegativeVariance {
        /// The statistic.
        name: String,
        /// The channel, from 0.
        channel: usize,
        /// The smallest variance.
        lowest: f64,
    },
    /// A layer without mixed second derivatives.
    #[error("{layer}: this layer has no mixed second derivative{note}")]
    NoMixedDerivative {
        /// The layer.
        layer: String,
        /// When it has none and what to do, or empty.
        note: &'static str,
    },
    /// A value of no entries on a GPU, which launches nothing for it.
    #[error(
        "{operation}: a result of {shape:?} has no entries, which a GPU refuses; leave it out, or use the device `cpu`"
    )]
    NoEntries {
        /// The operation.
        operation: String,
        /// Shape of one example.
        shape: Vec<usize>,
    },
    /// A query of an attention that its mask lets see no key.
    #[error("attention: the mask hides every key from query {query}; let it see one")]
    NoKey {
        /// Which, counted from 0.
        query: usize,
    },
    /// A parameter that a table of flax names leaves out.
    #[error("{name}: is not in the flax table")]
    NotInTable {
        /// The parameter.
        name: String,
    },
    /// A file that the system refused to read or write.
    #[error(transparent)]
    File(#[from] FileError),
    /// A weight file that holds something else than expected.
    #[error("weight file {}: {reason}", path.display())]
    WeightFile {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// Parameters that memory cannot hold.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),
    /// The tensor library refused an operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;

impl ModelError {
    /// [`ModelError::Shape`].
    pub fn shape(what: impl Into<String>, expected: impl Into<String>, got: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.into(), got: got.to_vec() }
    }

    pub(crate) fn arity(operation: &dyn std::fmt::Debug, got: usize) -> Self {
        Self::Arity { operation: format!("{operation:?}"), got }
    }

    pub(crate) fn zero(what: impl Into<String>) -> Self {
        Self::Zero { what: what.into() }
    }
}

/// What a comparison of derivatives found. One that is no number is seldom a mistake of the
/// operation: most often it is a derivative that is infinite.
fn contradiction(what: &str, error: f64, tolerance: f64) -> String {
    if error.is_finite() {
        return format!(
            "{what}: relative error {error:.1e}, at most {tolerance:.0e} allowed; correct the \
             operation and try `entk::models::check`"
        );
    }
    format!(
        "{what}: a derivative is infinite or no number at these inputs: the root of zero, as of a \
         norm or a deviation of a constant row (add a small constant under the root), or numbers \
         that overflow; an operation of your own can be tried with `entk::models::check`"
    )
}
