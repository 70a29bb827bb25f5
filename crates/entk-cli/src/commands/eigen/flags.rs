//! The flags of `eigen`, which its `--help` prints. Read by all other files of the program.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{ArgGroup, Parser};
use entk::spectral::EigshConfig;
use entk_cli::{
    EXIT_CODES, KernelChoice, KernelFlags, ModelFlags, OutputChoice, OutputFlags, Unused,
    ensure_input, is_given, parse_positive, parse_seed, parse_size, parse_tolerance, refused,
    settings_without, takes_negative,
};
use serde::Serialize;
use serde_json::Value;

/// Settings of the network of --inputs, which a kernel of --gram has not.
const OF_NETWORK: [&[&str]; 2] =
    [&ModelFlags::OF_NETWORK, &["activation", "dtype", "layout", "matrix_free"]];

/// Flags that another leaves without a meaning.
pub const UNUSED: [Unused; 2] = [
    Unused {
        flags: &OF_NETWORK,
        beside: |line| is_given(line, "gram"),
        why: "is of --inputs; of the network of --gram only --classes and --outputs say something; \
              leave it out",
    },
    Unused {
        flags: &[&["augment"]],
        beside: |line| is_given(line, "gram"),
        why: "is of --inputs; leave it out",
    },
];

const OUTPUTS: &str = "Of --inputs: trace, sum (of the logits), full ((N C) x (N C), index n C + \
    c) or class:K (one output, from 0) [default: trace]; with --gram what is taken out of a full \
    kernel of --classes outputs [default: the Gram as it is]";

/// Leading eigenpairs of a kernel with their residuals, from a Gram or from a network.
///
/// Of a network on any number of examples, with or without its Gram. Writes eigvals.npy
/// (descending), eigvecs.npy (one eigenvector a row), certificate.json, the
/// spectrum as spectrum.svg, .png and .csv, and record.json, which comes last: a folder without it
/// was not finished.
///
/// A solve that is stopped by a signal (exit code 75) or killed goes on from its last checkpoint,
/// with the same bits, when the same command is given again.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "eigen", version, verbatim_doc_comment, after_help = EXIT_CODES, mut_args(takes_negative),
          mut_arg("outputs", |arg| arg.help(OUTPUTS)),
          group(ArgGroup::new("kernel").args(["gram", "inputs"]).required(true)))]
pub struct Flags {
    /// The Gram: a square array of floats (.npy, .npz, .safetensors or .pt), or the folder of a
    /// finished store of `gram --store`, read tile by tile and never whole
    #[arg(long, value_name = "FILE|DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gram: Option<PathBuf>,

    /// Hold the tiles of --gram DIR in memory, each rank those of its rows
    #[cfg(feature = "mpi")]
    #[arg(long, requires = "gram")]
    pub in_memory: bool,

    /// Inputs of a network, in place of --gram: an array, a table or a folder of images, as for
    /// `gram`; images with four axes in the order of --layout. Rates are measured on some
    /// of them, and the quicker way that fits memory is taken: the Gram, or products with the
    /// Jacobian, for any number of examples; both costs are printed
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<PathBuf>,

    /// Without a Gram in any case: a pass over --inputs costs a sweep and 4 P operations a column;
    /// the columns are 6 to 15 a pair
    #[arg(long, requires = "inputs")]
    pub matrix_free: bool,

    /// Network of --inputs; with --gram, --classes says of how many outputs the Gram is the
    /// full kernel, rows n C + c. Which kernel: of --inputs [default: trace], or taken out of the
    /// Gram, a full one of --classes outputs [default: the Gram as it is]
    #[command(flatten)]
    #[serde(flatten)]
    pub kernel: KernelFlags,

    /// So many examples: beyond those of --inputs, shifted and mirrored copies of them, drawn by
    /// --seed; or, if fewer, the first of them
    #[arg(long, value_name = "N", value_parser = parse_size, requires = "inputs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<usize>,

    /// Number of eigenpairs [default: 100, or all where there are fewer]
    #[arg(long, value_name = "K", value_parser = parse_size)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,

    /// Largest residual, as a fraction of the largest eigenvalue, from 1e-13 to 0.1
    #[arg(long, value_name = "X", default_value_t = 1e-10, value_parser = parse_tolerance)]
    pub tolerance: f64,

    /// Columns multiplied at a time [default: 32 in memory, 128 from a store]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub block: Option<usize>,

    /// Give up after so many minutes
    #[arg(long, value_name = "MINUTES", value_parser = parse_positive)]
    #[serde(skip)]
    pub max_minutes: Option<f64>,

    /// Seed of the random start
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    pub seed: u64,

    /// Folder for the results, in place of those of an earlier run [default: results/eigen]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Eigenpairs where nothing else is said.
const PAIRS: usize = 100;

impl Flags {
    /// Number of eigenpairs of a kernel of this rank at most.
    pub fn k(&self, rank: usize) -> usize {
        self.k.unwrap_or(rank.min(PAIRS))
    }

    /// The settings that were read, for the record.
    pub fn settings(&self) -> Result<Value> {
        settings_without(self, if self.gram.is_some() { &OF_NETWORK } else { &[] })
    }

    /// The settings of the solver.
    pub fn config(&self) -> Result<EigshConfig> {
        let max_time = self.max_minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes));
        Ok(EigshConfig {
            tolerance: self.tolerance,
            block: self.block,
            max_time: max_time.transpose().map_err(|_| refused("--max-minutes: too long"))?,
            seed: self.seed,
            ..EigshConfig::default()
        })
    }

    /// What the rows of --gram are, where --classes says it.
    pub fn kernel_of_gram(&self) -> Result<Option<KernelChoice>> {
        let Some(classes) = self.kernel.network.classes else {
            ensure_input(self.kernel.outputs.outputs.is_none(), || {
                let outputs =
                    self.kernel.outputs.outputs.map_or_else(String::new, |x| x.to_string());
                format!(
                    "--outputs {outputs} is taken out of a full kernel: give --classes, its number \
                     of outputs"
                )
            })?;
            return Ok(None);
        };
        let outputs = self.kernel.outputs.outputs.unwrap_or(OutputChoice::Full);
        Ok(Some(OutputFlags { outputs: Some(outputs) }.of_one(classes)?))
    }
}
