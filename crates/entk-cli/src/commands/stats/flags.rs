//! The flags of `stats`, which its `--help` prints. Read by all other files of the program.

use std::path::PathBuf;

use clap::Parser;
use entk::spectral::StatisticsConfig;
use entk_cli::{EXIT_CODES, KernelFlags, parse_seed, parse_size, takes_negative};
use serde::Serialize;

/// Statistics of the kernel of a network on any number of examples, without the kernel.
///
/// One pass over the examples gives the diagonal, the trace and the alignment of every target,
/// layer by layer, exactly. Products with the Jacobian, a pass each, give the Frobenius norm, the
/// effective rank, the participation ratio, moments and the density of eigenvalues, each with a
/// confidence interval of 95 %; the kernel of a random sample of the examples is computed and
/// compared with what the same method says of it.
///
/// Writes statistics.csv, spectrum.svg, .png and .csv, diagonal.npy, and record.json, which comes
/// last. The sums of every pass are kept in OUT/passes: a run that a signal has stopped (exit code
/// 75) or that was killed goes on from the last one when the same command is given again, with the
/// same bytes. Ranks of mpirun or srun share every pass, and so do processes with --part.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "stats", version, verbatim_doc_comment, after_help = EXIT_CODES, mut_args(takes_negative))]
pub struct Flags {
    /// Which kernel: of several outputs one with one row an example, trace, sum or class:K
    #[command(flatten)]
    #[serde(flatten)]
    pub kernel: KernelFlags,

    /// Inputs as for `gram`: an array, read some at a time, images with four axes in the order of
    /// --layout; a table, or a folder of images, held in memory
    #[arg(long, value_name = "FILE")]
    pub inputs: PathBuf,

    /// So many examples: beyond those of --inputs, shifted and mirrored copies of them, drawn by
    /// --seed; or, if fewer, the first of them
    #[arg(long, value_name = "N", value_parser = parse_size)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<usize>,

    /// Labels of --inputs, whose copies have them too: classes from 0 give all ways to split up to
    /// ten of them in two, or each of more against the rest; fractions are targets, (N,) or (N, T)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,

    /// Leading directions that are taken out before the rest is sampled; with fewer than 16, or
    /// fewer than 16 probes, intervals on a steep spectrum hold less often than they say (91
    /// of 100 at 8)
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = parse_size)]
    pub deflation: usize,

    /// Passes that find these
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_size)]
    pub powers: usize,

    /// Random directions in the rest, at least 8
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = parse_size)]
    pub probes: usize,

    /// Lanczos steps from these, a pass each, at least 2
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_size)]
    pub steps: usize,

    /// Examples whose kernel is computed for comparison; N if fewer
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = parse_size)]
    pub sample: usize,

    /// Parts of the examples whose sums are added in order; the bytes depend on their number
    /// [default: one for each rank of mpirun or srun or task of a Slurm array, else 1]
    #[arg(long, value_name = "COUNT", value_parser = parse_size)]
    pub parts: Option<usize>,

    /// Sum part I of --parts in the next pass and end, with exit code 75 unless all passes are
    /// done; then, and in any case without it, the same command without --part writes the results
    #[arg(long, value_name = "I", value_parser = parse_size)]
    #[serde(skip)]
    pub part: Option<usize>,

    /// Wait so long in each pass for the parts of others before ending, and go on to the next pass
    /// when they are there [default: 0; of ranks, which run together, no limit]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip)]
    pub wait: Option<u64>,

    /// Print passes, memory and expected time, and stop
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,

    /// Seed of the initialisation, of copies, of random directions and of the sample
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    pub seed: u64,

    /// Folder for the results, in place of those of an earlier run [default: results/stats]
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub out: Option<PathBuf>,
}

impl Flags {
    /// The settings of the estimates.
    pub fn config(&self) -> StatisticsConfig {
        StatisticsConfig {
            deflation: self.deflation,
            powers: self.powers,
            probes: self.probes,
            steps: self.steps,
            seed: self.seed,
        }
    }
}
