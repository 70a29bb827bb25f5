//! The flags of `train`, which its `--help` prints, and the words that they take. Read by all other
//! files of the program.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, ValueEnum};
use entk::train::{Loss, SgdConfig, Targets};
use entk_cli::{
    CommonFlags, DTypeName, EXIT_CODES, LayoutName, OutputChoice, TargetRule, TrainingFlags,
    Unused, ensure_input, is_given, parse_size, reads,
};
use serde::Serialize;

/// What the labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskName {
    /// The first five classes against the others
    Cifar2,
    /// All classes of the data set, one output each
    Classes,
    /// The signs of an eigenfunction of the network's kernel at initialisation
    Eigenfunction,
    /// The side of synthetic data that a neural anisotropy direction of the network, with GELU,
    /// separates
    Nad,
}

/// Losses by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LossName {
    /// Cross-entropy of the softmax of the outputs
    Softmax,
    /// Half the squared distance from one-hot or real targets, or from -1 and 1
    Squared,
    /// Cross-entropy of the sigmoid of one logit
    Logistic,
}

/// Settings of a data set, in whose place --inputs come.
pub const OF_DATA: [&str; 5] = ["train", "test", "data", "data_root", "index"];

/// Flags that another leaves without a meaning.
pub const UNUSED: [Unused; 4] = [
    Unused {
        flags: &[&OF_DATA],
        beside: |line| is_given(line, "inputs"),
        why: "chooses from a data set, and --inputs takes its place; leave it out",
    },
    Unused {
        flags: &[&["index"]],
        beside: |line| !reads(line, "task", "eigenfunction") && !reads(line, "task", "nad"),
        why: "is of --task eigenfunction or nad; give one of them, or leave it out",
    },
    Unused {
        flags: &[&["layout"]],
        beside: |line| !is_given(line, "inputs"),
        why: "is of --inputs, and there are none; leave it out",
    },
    Unused {
        flags: &[&["compare"]],
        beside: |line| !is_given(line, "dual"),
        why: "is of --dual; give it, or leave both out",
    },
];

/// Trains a network or its linearization on one task, or on inputs and targets of your own.
///
/// Writes epochs.csv, the pictures loss and accuracy (error for real targets), the trained weights
/// as weights.safetensors (not with --dual), and record.json. Killed, or ended by a signal, it goes
/// on from OUT/checkpoint when the same command is given again.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "train", version, after_help = EXIT_CODES)]
pub struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonFlags,

    /// What to learn [default: cifar2, or classes with more than one output]
    #[arg(long, value_enum, conflicts_with = "inputs")]
    pub task: Option<TaskName>,

    /// The eigenfunction or direction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = parse_size)]
    pub index: usize,

    #[command(flatten)]
    #[serde(flatten)]
    pub own: OwnData,

    /// Train the linearization at initialisation instead of the network
    #[arg(long)]
    pub linearize: bool,

    /// Train the linearization over its Gram, in coefficient space: the same numbers, sooner
    #[arg(long)]
    pub dual: bool,

    /// Kernel of --dual: full is exact; trace and sum (over C) and class:K stand for the block of
    /// every output, which is an approximation, and its distance from the exact logits on
    /// --compare examples is in record.json [default: full]
    #[arg(long, value_name = "full|trace|sum|class:K", requires = "dual")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<OutputChoice>,

    /// Training examples on which a kernel that is not exact is compared with the full one
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_size)]
    pub compare: usize,

    #[command(flatten)]
    #[serde(flatten)]
    pub training: TrainingFlags,

    /// What is minimised [default: logistic for one logit, softmax for classes, squared for real
    /// targets]
    #[arg(long, value_enum, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossName>,

    /// Share e of the softmax's targets that all classes have alike: (1 - e) one-hot + e / C
    #[arg(long, value_name = "E", default_value_t = 0.0)]
    pub label_smoothing: f64,

    /// Weight of each class in the loss
    #[arg(long, value_name = "W,W,...", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f64>,

    /// Element type of weights and inputs
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = DTypeName::F32)]
    pub dtype: DTypeName,

    /// Loss over all training images at which to stop
    #[arg(long, value_name = "LOSS")]
    pub stop_at_loss: Option<f64>,
}

/// Inputs and targets of one's own, in place of --data and its sizes.
#[derive(Args, Clone, Debug, Serialize)]
pub struct OwnData {
    /// Training inputs of your own, all of them, as they are, in place of --data, --train and
    /// --test: an array, a table or a folder of images, as for `gram`; whole numbers for tokens;
    /// images with four axes in the order of --layout
    #[arg(long, value_name = "FILE", requires = "labels")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<PathBuf>,

    /// Labels of the inputs: classes from 0, -1 and 1, or real targets (N, C); of a table
    /// FILE:COLUMN, of a folder of images the folder
    #[arg(long, value_name = "FILE", requires = "inputs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,

    /// Test inputs [default: none]
    #[arg(long, value_name = "FILE", requires_all = ["inputs", "test_labels"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_inputs: Option<PathBuf>,

    /// Their labels
    #[arg(long, value_name = "FILE", requires = "test_inputs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,

    /// Rule from labels to targets: signs, below:K, class:K, one-hot, one-hot-centred or values,
    /// as in `gram` [default: said on stderr; by the labels and the number of outputs]
    #[arg(long, value_name = "RULE", requires = "inputs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetRule>,

    /// Order of the axes of the inputs [default: nchw; refused where the last axis looks like that
    /// of the channels]
    #[arg(long, value_enum, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<LayoutName>,
}

impl Flags {
    /// The recipe for such targets.
    ///
    /// # Errors
    /// A loss that these targets do not have, and what belongs to another loss.
    pub fn config(&self, targets: &Targets) -> Result<SgdConfig> {
        let loss = match self.loss {
            None => Loss::of(targets),
            Some(LossName::Softmax) => Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 },
            Some(LossName::Squared) => Loss::Squared,
            Some(LossName::Logistic) => Loss::SigmoidCrossEntropy,
        };
        check_loss(loss, targets)?;
        Ok(SgdConfig {
            loss: self.smoothed(loss)?,
            class_weights: self.class_weights(targets)?,
            stop_at_loss: self.stop_at_loss,
            ..self.training.sgd(&self.common)
        })
    }

    fn smoothed(&self, loss: Loss) -> Result<Loss> {
        let label_smoothing = self.label_smoothing;
        let is_softmax = matches!(loss, Loss::SoftmaxCrossEntropy { .. });
        ensure_input(is_softmax || label_smoothing == 0.0, || {
            format!(
                "--label-smoothing {label_smoothing} is of --loss softmax, for two outputs or more"
            )
        })?;
        Ok(if is_softmax { Loss::SoftmaxCrossEntropy { label_smoothing } } else { loss })
    }

    fn class_weights(&self, targets: &Targets) -> Result<Vec<f64>> {
        let (found, classes) = match targets {
            Targets::Binary(_) => (self.class_weights.len(), 2),
            Targets::Classes { classes, .. } => (self.class_weights.len(), *classes),
            _ => (self.class_weights.len(), 0),
        };
        ensure_input([0, classes].contains(&found), || match classes {
            0 => "--class-weights: real targets have no classes; leave it out".into(),
            _ => format!("--class-weights: {found} weights for {classes} classes; give one each"),
        })?;
        Ok(self.class_weights.clone())
    }
}

/// Refuses a loss of other targets, naming those that fit.
fn check_loss(loss: Loss, targets: &Targets) -> Result<()> {
    let outputs = targets.outputs();
    let refusal = match (loss, targets) {
        (Loss::SigmoidCrossEntropy, Targets::Classes { .. }) => {
            format!(
                "--loss logistic is of one logit, and there are {outputs} classes: take softmax"
            )
        }
        (Loss::SoftmaxCrossEntropy { .. }, Targets::Binary(_)) => {
            "--loss softmax is of two outputs or more, and there is one: take logistic, or give \
             --classes 2 and labels 0 and 1"
                .into()
        }
        (Loss::SigmoidCrossEntropy | Loss::SoftmaxCrossEntropy { .. }, Targets::Values { .. }) => {
            "these targets are real numbers: take --loss squared, or --targets one-hot of labels"
                .into()
        }
        _ => return Ok(()),
    };
    ensure_input(false, || refusal)
}
