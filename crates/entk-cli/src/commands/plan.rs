//! What the leading eigenpairs of a kernel cost on some machines; see `--help`.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Parser;
use entk::{
    gram::{Cluster, CostProbe},
    spectral::EigshConfig,
};
use entk_cli::{
    EXIT_CODES, FolderUse, KernelFlags, Run, StreamedKernel, parse_bytes, parse_positive,
    parse_seed, parse_size, parse_tolerance, takes_negative,
};

/// What the leading eigenpairs of a kernel cost on any number of examples and machines.
///
/// Measures the rates of this machine on some of the inputs, for up to about half a minute, and
/// prints for each number of examples the time, memory and disk of the three ways: the Gram in
/// memory (`gram`, `eigen --gram`), in a store on disk (`gram --store`), and products with the
/// Jacobian (`eigen --matrix-free`), with the quickest that fits. Hosts are taken to be like this
/// one. Writes nothing.
#[derive(Parser, Clone, Debug)]
#[command(name = "plan", version, verbatim_doc_comment, after_help = EXIT_CODES, mut_args(takes_negative))]
pub(crate) struct Flags {
    /// Which kernel
    #[command(flatten)]
    kernel: KernelFlags,

    /// Inputs on which rates are measured: an array, a table or a folder of images, as for `gram`;
    /// images with four axes in the order of --layout
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,

    /// Numbers of examples, which may be more than those of --inputs [default: those]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_size)]
    n: Vec<usize>,

    /// Number of eigenpairs
    #[arg(long, value_name = "K", default_value_t = 100, value_parser = parse_size)]
    k: usize,

    /// Largest residual, as a fraction of the largest eigenvalue, from 1e-13 to 0.1
    #[arg(long, value_name = "X", default_value_t = 1e-10, value_parser = parse_tolerance)]
    tolerance: f64,

    /// Machines that share the work
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = parse_size)]
    hosts: usize,

    /// Memory of each that may be used, such as 64GiB; a number alone is in GiB [default: what
    /// this process may use]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,

    /// What each sends and receives, in Gbit/s
    #[arg(long, value_name = "GBIT", default_value_t = 10.0, value_parser = parse_positive)]
    network_rate: f64,

    /// What each reads from a store, in GB/s
    #[arg(long, value_name = "GB", default_value_t = 1.0, value_parser = parse_positive)]
    disk: f64,

    /// Seed of the parameters
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    seed: u64,
}

impl Flags {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::default();
        cluster.hosts = self.hosts;
        cluster.memory = self.memory.unwrap_or(cluster.memory);
        cluster.network = self.network_rate * 1e9 / 8.0;
        cluster.disk = self.disk * 1e9;
        cluster
    }
}

/// A size; a number alone is in GiB.
fn parse_memory(text: &str) -> std::result::Result<u64, String> {
    let is_number = text.trim().parse::<f64>().is_ok();
    if is_number { parse_bytes(&format!("{}GiB", text.trim())) } else { parse_bytes(text) }
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let run = Run::start_in("plan", None, FolderUse::DryRun)?;
    let kernel = StreamedKernel::read(&run, &flags.kernel, &flags.inputs, None, flags.seed)?;
    let StreamedKernel { network, params, source, config, inputs, .. } = &kernel;
    let solver = EigshConfig { tolerance: flags.tolerance, ..EigshConfig::default() };
    let probe = CostProbe::measure(network, params, &**source, config, &solver, flags.k)?;
    let counts = if flags.n.is_empty() { vec![*inputs] } else { flags.n.clone() };
    let cluster = flags.cluster();
    let costs = counts.iter().map(|n| probe.cost(*n, &cluster).to_string());
    Ok(writeln!(std::io::stdout(), "{}", costs.collect::<Vec<_>>().join("\n\n"))?)
}
