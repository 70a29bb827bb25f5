//! The flags of `gram`, which its `--help` prints, and the words that they take. Read by all other
//! files of the program.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use entk::{
    device::{DeviceError, Precision},
    gram::{Accumulate, GramError, store::Part},
};
use entk_cli::{
    ActivationName, DTypeName, DeviceFlags, LayoutName, ModelFlags, OutputFlags, TargetRule,
    Unused, is_given, parse_bytes, parse_seed, parse_size, reads, takes_negative,
};
use serde::{Serialize, Serializer};

/// Empirical NTK Gram matrix of your network on your inputs.
///
/// Writes gram.npy (N, N), or (N C, N C) with --outputs full, outputs.npy (N, C), eigvals.npy
/// (descending), eigvecs.npy (one eigenvector a row), cross.npy with --cross, and record.json,
/// which comes last: a folder without it was not finished; `finish` commits gram.zarr alone, and
/// the same command without --part then writes the rest. --outputs pairs writes the blocks of the
/// full kernel one by one, gram_0_1.npy for outputs 0 (rows) and 1 (columns), in place of gram.npy.
///
/// Exit codes: 0 done, 2 flags that cannot be read or do not go together, 65 flags or input that
/// do not fit, or more memory than may be used, 69 no such device, 70 a wrong entry on a GPU and 71
/// a GPU that failed (run the same command again), 74 a file that cannot be read or written, a full
/// disk or a closed pipe, 75 stopped by a signal (with --store the same command goes on), 1
/// anything else.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(
    name = "gram",
    version,
    verbatim_doc_comment,
    mut_args(takes_negative),
    mut_arg("outputs", OutputFlags::with_pairs),
    args_conflicts_with_subcommands = false
)]
pub struct Flags {
    /// Network; the input shape of a name is that of the inputs
    #[command(flatten)]
    #[serde(flatten)]
    pub network: ModelFlags,

    /// Activation of the network
    #[arg(long, value_enum, value_name = "NAME", default_value_t = ActivationName::Relu)]
    pub activation: ActivationName,

    /// Inputs of the shape that the network takes: an array (.npy, .npz, .safetensors or .pt;
    /// FILE:NAME of several arrays), whole numbers for tokens, images with four axes in the order
    /// of --layout; a table (.csv, or .parquet where that is built in; FILE:A,B for the columns A
    /// and B, FILE:-A,B for all others), of which a row is an image of one row to networks of
    /// images; or a folder of images CLASS/*.png or .jpg, class by class, where that is built in
    /// [default: the embedded slice of Fashion-MNIST, standardised, N images with equally many of
    /// each class]
    #[arg(long, value_name = "FILE|DIR")]
    pub inputs: Option<PathBuf>,

    /// Which kernel of several outputs
    #[command(flatten)]
    #[serde(flatten)]
    pub outputs: OutputFlags,

    /// Labels for alignment and energies: -1 and 1, classes from 0, or real targets (N, C); a
    /// column of a table as FILE:COLUMN, in which texts are classes; or the folder of
    /// --inputs, whose classes are counted by name [default: those of the embedded slice with
    /// the embedded inputs, otherwise none]
    #[arg(long, value_name = "FILE|DIR", requires = "inputs")]
    pub labels: Option<PathBuf>,

    /// Rule from labels to targets: signs (-1 and 1, or 0 and 1), below:K (1 for classes below K,
    /// else -1), class:K (1 for class K, else -1), one-hot (0 and 1, not centred), one-hot-centred
    /// (less 1/C), values (as they are) [default: said on stderr; with one output signs, or
    /// below:5 of ten classes, otherwise one-hot; values for fractions]
    #[arg(long, value_name = "RULE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetRule>,

    /// Second set of inputs: cross.npy is the kernel between the first set (rows) and this one
    /// (columns); `predict --cross` takes its first set to be the test inputs
    #[arg(long, value_name = "FILE")]
    pub cross: Option<PathBuf>,

    /// Order of the axes of --inputs and --cross [default: nchw; refused where the last axis looks
    /// like that of the channels]
    #[arg(long, value_enum, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<LayoutName>,

    /// Use the first N inputs [default: all; 1000 of the embedded slice]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub n: Option<usize>,

    /// Element type of weights, inputs and kernel
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = DTypeName::F32)]
    pub dtype: DTypeName,

    /// Where to compute
    #[command(flatten)]
    #[serde(flatten)]
    pub device: DeviceFlags,

    /// What a GPU rounds the operands of the kernel's products to: f32, tf32, bf16, tf32x3 or
    /// bf16x3 with --dtype f32, f64 with f64; a CPU computes the same, slowly [default: that
    /// of --dtype]
    #[arg(long, value_name = "TYPE", value_parser = parse_precision)]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "by_optional_name")]
    pub precision: Option<Precision>,

    /// Leading eigenvectors whose share of the labels is the energy concentration [default: 50, or
    /// N if fewer]
    #[arg(long, value_name = "K", value_parser = parse_size)]
    pub top: Option<usize>,

    /// Leave the eigenpairs out: no eigvals.npy, eigvecs.npy and energies
    #[arg(long)]
    pub no_eigen: bool,

    /// Type in which products are summed; f64 makes the kernel f64
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = AccumulateName::Native)]
    pub accumulate: AccumulateName,

    /// Write the kernel tile by tile to OUT/gram.zarr, which an interrupted run continues.
    /// gram.npy is then written with --export only
    #[arg(long)]
    pub store: bool,

    /// Edge of the tiles of --store, in rows of the kernel
    #[arg(long, value_name = "N", value_parser = parse_size, default_value_t = 2048, requires = "store")]
    pub edge: usize,

    /// Take the products of all pairs of inputs, which no weights change, from this store, and
    /// compute them into it first where they are missing: for networks that begin with a dense
    /// layer
    #[arg(long, value_name = "DIR")]
    pub input_gram: Option<PathBuf>,

    /// Compute part I of COUNT of the tiles of --store, and nothing else; in a Slurm array, and
    /// under mpirun or srun, the default is the task's part. Afterwards `gram finish`, or the same
    /// command with --part 1/1 for outputs, eigenpairs and record
    #[arg(long, value_name = "I/COUNT", requires = "store", value_parser = parse_part)]
    #[serde(skip)]
    pub part: Option<Part>,

    /// Also write the full gram.npy from --store
    #[arg(long, requires = "store")]
    pub export: bool,

    /// Entries of the kernel that are compared with f64 references, by default 4 to 16, one for 16
    /// inputs; the error is in record.json
    #[arg(long, value_name = "N")]
    pub check: Option<usize>,

    /// Also time a large matrix product on all threads; product_gflops stands beside gflops in
    /// record.json
    #[arg(long)]
    pub rate: bool,

    /// Inputs that are swept at a time: fewer take less memory, and change no bit on a CPU
    /// [default: up to 64, by the size of the network]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,

    /// Memory that the run may use in all, such as 6GiB or 800MB [default: 90 % of what is
    /// available]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,

    /// Print memory, disk, operations and expected time, and stop; of --inputs and --cross only
    /// the headers are read
    #[arg(long)]
    pub dry_run: bool,

    /// Seed of the initialisation, unless that is an archive's, and of the choice from the
    /// embedded slice
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    pub seed: u64,

    /// Print one line of JSON on stdout: kernel_s and cpu_s are the assembly alone, sweeps
    /// included
    #[arg(long)]
    pub json: bool,

    /// Folder for the results, in place of those of an earlier run [default: results/gram]
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,

    /// What to do in place of computing
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,
}

/// Flags that another leaves without a meaning.
pub const UNUSED: [Unused; 4] = [
    Unused {
        flags: &[
            &ModelFlags::OF_NETWORK,
            &[
                "classes",
                "activation",
                "inputs",
                "outputs",
                "labels",
                "targets",
                "cross",
                "layout",
                "n",
                "dtype",
                "device",
                "precision",
                "top",
                "no_eigen",
                "accumulate",
                "store",
                "edge",
                "input_gram",
                "part",
                "export",
                "check",
                "rate",
                "micro_batch",
                "max_memory",
                "dry_run",
                "seed",
                "json",
            ],
        ],
        beside: |line| line.subcommand().is_some(),
        why: "says nothing to `finish` and `missing`, which read it from the store; leave it out, \
              or give it after them if it is theirs",
    },
    Unused {
        flags: &[&["precision"]],
        beside: |line| reads(line, "dtype", "f64") != reads(line, "precision", "f64"),
        why: "does not go with --dtype: f64 goes with f64, all others with f32",
    },
    Unused {
        flags: &[&["layout"]],
        beside: |line| !is_given(line, "inputs") && !is_given(line, "cross"),
        why: "is of --inputs and --cross, and there are none; leave it out",
    },
    Unused {
        flags: &[&["top"]],
        beside: |line| is_given(line, "no_eigen"),
        why: "is of eigenpairs, which --no-eigen leaves out; leave one of them out",
    },
];

/// Other things to do.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Check that all parts of OUT/gram.zarr are there and commit them
    Finish {
        /// Also write the full gram.npy
        #[arg(long)]
        export: bool,
    },
    /// Print which parts of OUT/gram.zarr have missing or damaged tiles, as `2,4`; an empty line
    /// where none has
    Missing {
        /// Number of parts, as in --part I/COUNT
        #[arg(long, value_name = "COUNT", value_parser = parse_size)]
        parts: usize,
    },
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    text.parse().map_err(|error: DeviceError| error.to_string())
}

fn by_optional_name<S: Serializer>(
    value: &Option<impl ToString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

fn parse_part(text: &str) -> Result<Part, String> {
    text.parse().map_err(|error: GramError| error.to_string())
}

/// Types of sums by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccumulateName {
    /// That of --dtype
    Native,
    /// 64-bit floating point
    F64,
}

impl From<AccumulateName> for Accumulate {
    fn from(name: AccumulateName) -> Self {
        match name {
            AccumulateName::Native => Self::Native,
            AccumulateName::F64 => Self::F64,
        }
    }
}
