//! [`TrainError`], the one error type of this crate, and the check that all settings share.
//!
//! Every public function returns it; each message names what was found, what was expected and what
//! to do.

use std::path::PathBuf;

use entk_device::{files::FileError, memory::MemoryError};
use entk_models::ModelError;
use entk_spectral::SpectralError;

/// Everything that can go wrong in training and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Inputs that are no batch of examples.
    #[error("inputs have shape {found:?}; expected (N, C, H, W) with N at least 1")]
    Inputs {
        /// The shape found.
        found: Vec<usize>,
    },
    /// Not one number for each example.
    #[error("{found} {what}; expected {expected}: one for each example, or each of its outputs")]
    Count {
        /// What was counted: labels, logits, rows.
        what: &'static str,
        /// Number of examples.
        expected: usize,
        /// Number found.
        found: usize,
    },
    /// A label other than 0 and 1.
    #[error("label {index} is {value}; binary labels are 0 or 1: map the classes to them first")]
    Label {
        /// Its position, from 0.
        index: usize,
        /// The label.
        value: u8,
    },
    /// A label that is not below the number of classes.
    #[error(
        "label {index} is {label}, and there are {classes} classes, 0 to {}: raise the number of classes, or map the labels to them",
        classes - 1
    )]
    ClassLabel {
        /// Its position, from 0.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Real targets that do not fill rows.
    #[error(
        "{values} target values do not make rows of {outputs}; give `outputs` of at least 1, and as many values for each example"
    )]
    TargetShape {
        /// Number of values.
        values: usize,
        /// Values of an example.
        outputs: usize,
    },
    /// NaN or infinity for a target.
    #[error(
        "the target of example {index}, output {output}, is {value}; remove the example, or fill in a number"
    )]
    NonFiniteTarget {
        /// The example, from 0.
        index: usize,
        /// The output, from 0.
        output: usize,
        /// The target.
        value: f64,
    },
    /// A loss that is not defined for these targets.
    #[error("the loss {loss} has no value for {targets}: {remedy}")]
    LossTargets {
        /// The loss.
        loss: &'static str,
        /// What the targets are.
        targets: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Not one weight for each class.
    #[error(
        "{found} class weights; expected {}",
        if *expected == 0 { "none: real targets have no classes".into() }
        else { format!("{expected}, one for each class, or none") }
    )]
    ClassWeights {
        /// Number found.
        found: usize,
        /// Number of classes; 0 for real targets.
        expected: usize,
    },
    /// More examples than minibatch indices can count.
    #[error("{examples} examples; at most {} can be indexed: train on a subset", u32::MAX)]
    TooManyExamples {
        /// Number of examples.
        examples: usize,
    },
    /// Fewer examples than one minibatch.
    #[error(
        "{examples} examples do not fill one minibatch of {batch}, and incomplete ones are dropped; set `batch` to at most {examples}"
    )]
    TooFewExamples {
        /// Number of examples.
        examples: usize,
        /// Examples of a minibatch.
        batch: usize,
    },
    /// A setting outside its range.
    #[error("{field} is {found}; it must be {range}")]
    Setting {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A model with another number of outputs than the targets.
    #[error(
        "the model has {found} outputs and its targets need {expected}: build the model with {expected}, or give {}",
        match found {
            1 => "binary labels".to_string(),
            _ => format!("labels of {found} classes or {found} values an example"),
        }
    )]
    Outputs {
        /// Number of outputs.
        found: usize,
        /// Number of outputs that the targets need.
        expected: usize,
    },
    /// NaN or infinity for a logit.
    #[error(
        "the logit of example {index} is {value}; the parameters are too large or not finite: check them and the scale of the inputs"
    )]
    NonFiniteLogit {
        /// The example, from 0, counted within the batch or set at hand.
        index: usize,
        /// The logit.
        value: f64,
    },
    /// Training left the numbers that carry information: a value that is not finite, or a loss
    /// above 1e8 nats.
    #[error(
        "training{} diverged in epoch {epoch}, step {step} of {steps}: {what} is {value:e}; {}",
        target.map(|target| format!(" of target {target}")).unwrap_or_default(),
        remedy(*epoch, *step, *learning_rate)
    )]
    Diverged {
        /// Which of the targets that are trained together, from 0.
        target: Option<usize>,
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
        /// The quantity that is not finite, or too large.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The initial learning rate of the run.
        learning_rate: f64,
    },
    /// A kernel whose rows are not those of whole examples.
    #[error(
        "the {what} has {rows} rows, not a multiple of {outputs} outputs: give the full kernel of such a model, or a pseudo-kernel of one row an example"
    )]
    KernelRows {
        /// Which kernel.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Outputs of the model.
        outputs: usize,
    },
    /// Targets of another number of outputs than the kernel is of.
    #[error(
        "task {task} has targets of {found} outputs, and the kernel is of {expected}: give the solver KernelOutputs of {found}, or other targets"
    )]
    KernelTargets {
        /// Which of the tasks, from 0.
        task: usize,
        /// Outputs that the targets need.
        found: usize,
        /// Outputs of the kernel.
        expected: usize,
    },
    /// A setting that needs the weights.
    #[error(
        "{what} has no form in coefficient space; train the linearization in weight space, or by SGD"
    )]
    NotDual {
        /// The setting.
        what: &'static str,
    },
    /// A file that the system refused to write or read. What is on the disk may be whole.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint that is damaged, or of another version: its files were read, and are not what
    /// was written.
    #[error("checkpoint {}: {reason}; remove its folder to start anew", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint of another run.
    #[error(
        "{} is of a run with other {what}{}; restore them, give this run a folder of its own, or remove the folder of the checkpoint to start anew",
        path.display(), differences(differ)
    )]
    OtherRun {
        /// The record of the checkpoint.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// Settings that differ, as `field: found -> asked for`.
        differ: Vec<String>,
    },
    /// A training that memory cannot hold.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),
    /// An allocation failed.
    #[error("no memory for {numbers} numbers of {what}; train fewer targets at a time")]
    OutOfMemory {
        /// What they are for.
        what: &'static str,
        /// How many, of 8 bytes each.
        numbers: usize,
    },
    /// A kernel matrix refused an operation.
    #[error(transparent)]
    Spectral(#[from] SpectralError),
    /// The model refused its parameters or inputs.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tensor library refused an operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, TrainError>;

impl TrainError {
    /// Divergence of one of several targets; any other error stays what it is.
    pub(crate) fn of_target(mut self, index: usize) -> Self {
        if let Self::Diverged { target, .. } = &mut self {
            *target = Some(index);
        }
        self
    }
}

fn differences(differ: &[String]) -> String {
    if differ.is_empty() {
        return String::new();
    }
    format!(" (found -> asked for): {}", differ.join(", "))
}

/// Refuses a setting outside its range.
pub(crate) fn ensure(ok: bool, field: &'static str, found: f64, range: &'static str) -> Result<()> {
    if ok { Ok(()) } else { Err(TrainError::Setting { field, found, range }) }
}

/// Before the first step is taken no learning rate is to blame.
fn remedy(epoch: usize, step: usize, learning_rate: f64) -> String {
    if (epoch, step) == (1, 1) {
        return "this is the first step: scale the inputs or the initial parameters down".into();
    }
    format!("try a learning rate well below {learning_rate:?}, such as {:?}", learning_rate / 10.0)
}
