//! The flags of `predict`, which its `--help` prints. Read by all other files of the program.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use entk_cli::{
    DataName, DeviceFlags, EXIT_CODES, ModelFlags, ModelName, OutputFlags, TargetRule, Unused,
    is_given, parse_positive, parse_seed, parse_size, settings_without, takes_negative,
};
use serde::Serialize;
use serde_json::Value;

/// Settings of network and data, in whose place a kernel of --gram comes.
const OF_NETWORK: [&[&str]; 2] = [
    &ModelFlags::OF_NETWORK,
    &["outputs", "data", "data_root", "train", "test", "device", "cache"],
];

/// Flags that another leaves without a meaning.
pub const UNUSED: [Unused; 2] = [
    Unused {
        flags: &OF_NETWORK,
        beside: |line| is_given(line, "gram"),
        why: "is of a network on a data set, and --gram takes their place; leave it out",
    },
    Unused {
        flags: &[&["test_gram"]],
        beside: |line| !is_given(line, "gp"),
        why: "is of --gp; give it, or leave both out",
    },
];

/// Predictions from a kernel: regression, gradient flow and a Gaussian process.
///
/// A kernel of one output, or the trace over C of them, acts on every column of the targets alone,
/// K (x) I_C; --outputs full couples them. Targets are predicted around their prior mean.
///
/// Of a data set by name, or with --gram of kernels that `gram` has written, of training inputs and
/// between test and training inputs (there is no --inputs).
///
/// Writes predictions.npy (M, C), ridges.csv, times.csv (accuracy along gradient flow), with --gp
/// variances.npy and probabilities.npy; predict.svg, .png and .csv: accuracy along gradient flow
/// and, with --gp, calibration; and record.json, which comes last: a folder without it was not
/// finished.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "predict", version, verbatim_doc_comment, after_help = EXIT_CODES,
          mut_args(takes_negative),
          mut_arg("model", |arg| arg.default_value(ModelName::LeNet5.to_string())))]
pub struct Flags {
    /// Network
    #[command(flatten)]
    #[serde(flatten)]
    pub network: ModelFlags,

    /// Kernel of a network with several outputs
    #[command(flatten)]
    #[serde(flatten)]
    pub outputs: OutputFlags,

    /// Data set
    #[arg(long, value_enum, value_name = "NAME", default_value_t = DataName::FashionMnist)]
    pub data: DataName,

    /// Folder with the files of the data set [default: the environment, then the embedded slice]
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,

    /// Training images
    #[arg(long, value_name = "N", value_parser = parse_size, default_value_t = 2_000)]
    pub train: usize,

    /// Test images
    #[arg(long, value_name = "M", value_parser = parse_size, default_value_t = 1_000)]
    pub test: usize,

    /// A kernel of your own in place of network and data: the square array of the training inputs,
    /// or the folder of a finished store of `gram --store`, which needs --cg
    #[arg(long, value_name = "FILE|DIR", requires_all = ["cross", "labels", "test_labels"])]
    pub gram: Option<PathBuf>,

    /// With --gram, and required there: the kernel between test inputs (rows) and training inputs
    /// (columns), as `gram --inputs TEST --cross TRAIN` writes it; the other way round it must be
    /// transposed
    #[arg(long, value_name = "FILE", requires = "gram")]
    pub cross: Option<PathBuf>,

    /// With --gram and --gp: the kernel of the test inputs
    #[arg(long, value_name = "FILE", requires = "gram")]
    pub test_gram: Option<PathBuf>,

    /// With --gram, and required there: labels of the training inputs, or real targets (N, C)
    #[arg(long, value_name = "FILE", requires = "gram")]
    pub labels: Option<PathBuf>,

    /// With --gram, and required there: labels or targets of the test inputs
    #[arg(long, value_name = "FILE", requires = "gram")]
    pub test_labels: Option<PathBuf>,

    /// From labels to targets: signs, below:K, one-hot, one-hot-centred, class:K, values
    #[arg(long, value_name = "RULE", default_value_t = TargetRule::CentredOneHot)]
    pub targets: TargetRule,

    /// Ridge, and variance of the noise of the Gaussian process, as a fraction of the mean of the
    /// kernel's diagonal [default: the best of a grid, by leave-one-out errors, or by the marginal
    /// likelihood of a full kernel]
    #[arg(long, value_name = "X", value_parser = parse_positive)]
    pub ridge: Option<f64>,

    /// Times of gradient flow on 1/(2 N) sum of (f - y)^2, by commas; inf is the limit [default:
    /// 33 from 0.1 N / lambda_0 to 1e7 times that, and inf]
    #[arg(long, value_name = "T,T", value_delimiter = ',', value_parser = parse_time)]
    pub times: Vec<f64>,

    /// Start gradient flow and regression at the network's outputs, one for each column of the
    /// targets, and not at zero
    #[arg(long, conflicts_with = "gram")]
    pub from_outputs: bool,

    /// Variances and probabilities of classes from the Gaussian process, scaled by the amplitude
    /// of largest likelihood
    #[arg(long)]
    pub gp: bool,

    /// Solve by conjugate gradients over a store of tiles that memory need not hold, with K
    /// leading eigenpairs as preconditioner; needs --ridge, and leaves curves and variances
    /// out
    #[arg(long, value_name = "K", requires = "ridge", conflicts_with_all = ["gp", "times"])]
    pub cg: Option<usize>,

    /// Largest relative residual of a solution
    #[arg(long, value_name = "X", default_value_t = 1e-8, value_parser = parse_positive)]
    pub tolerance: f64,

    /// Seed of the initialisation and the subset
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    pub seed: u64,

    /// Where to compute
    #[command(flatten)]
    #[serde(flatten)]
    pub device: DeviceFlags,

    /// Folder for the results, in place of those of an earlier run [default: results/predict]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Folder of what runs share [default: results/cache, or OUT/cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// A time from 0, or `inf`.
fn parse_time(text: &str) -> Result<f64, String> {
    let time = text.parse().ok().filter(|time: &f64| *time >= 0.0);
    time.ok_or_else(|| "expected a number from 0, or inf".into())
}

impl Flags {
    /// The settings that were read, for the record.
    pub fn settings(&self) -> Result<Value> {
        settings_without(self, if self.gram.is_some() { &OF_NETWORK } else { &[] })
    }
}
