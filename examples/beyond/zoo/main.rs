//! The zoo: kernels at initialisation with what was found of them, as small files that anyone can
//! check. `zoo add NAME` computes a kernel and writes its entry; `zoo verify` computes a part of
//! every kernel again and compares. Large arrays are not kept: their hashes are.

#![forbid(unsafe_code)]

mod entry;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, CommandFactory, Parser, Subcommand};
use entk::{
    data::{DataError, Origin},
    device::files,
    gram::{Assembly, GramConfig, StoreConfig},
    models::Model,
    spectral::{EigshConfig, alignment, eigsh},
};
use entk_cli::{
    CommonFlags, DataPool, Defaults, EXIT_CODES, Experiment, OutputFlags, PAPER_WIDTH, Run, Size,
    exit, exit_without_flags, try_parse, with_defaults,
};
use entry::{Entry, Sample};

/// Leading eigenvalues of an entry.
const PAIRS: usize = 200;
/// Eigenfunctions in which the energy of the class task is measured, as in Table 1.
const TOP: usize = 50;
/// Images of the part of the kernel that is computed again.
const SAMPLE: usize = 64;

/// Kernels of networks at initialisation, kept as small files, and checked.
#[derive(Parser)]
#[command(name = "zoo", version, after_help = EXIT_CODES)]
struct Zoo {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compute a kernel and write its entry, in place of one of that name
    Add(Box<Add>),
    /// Compute a part of the kernels of all entries again, or of those named, and compare
    Verify(Verify),
}

#[derive(Args, Clone)]
struct Add {
    /// Name of the entry, and of its folder
    name: String,

    /// Network and images; epochs say nothing here
    #[command(flatten)]
    common: CommonFlags,

    /// Which kernel
    #[command(flatten)]
    kernel: OutputFlags,

    /// Folder of all entries
    #[arg(long, value_name = "DIR", default_value = "zoo")]
    zoo: PathBuf,
}

#[derive(Args)]
struct Verify {
    /// Names of entries [default: all]
    names: Vec<String>,

    /// Folder of all entries
    #[arg(long, value_name = "DIR", default_value = "zoo")]
    zoo: PathBuf,

    /// Folder with the files of the data sets; entries whose images are not there are skipped
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
}

fn main() -> ExitCode {
    match try_parse::<Zoo>(&mut line(), std::env::args_os()) {
        Ok(Zoo { command: Command::Add(add) }) => exit(add.write()),
        Ok(Zoo { command: Command::Verify(verify) }) => exit(verify.run()),
        Err(error) => exit_without_flags(&error),
    }
}

fn line() -> clap::Command {
    let defaults = Defaults {
        train: Size::new(3_000, 1_000),
        test: Size::new(1_000, 500),
        ..Defaults::default()
    };
    Zoo::command().mut_subcommand("add", |add| {
        with_defaults(add, &defaults).mut_arg("epochs", |epochs| epochs.hide(true))
    })
}

impl Add {
    /// The images and the network of the flags, and where the images come from.
    fn experiment(&self, run: &Run) -> Result<(Experiment, String)> {
        let pool = DataPool::load(run, &self.common)?;
        let experiment = match self.common.network.classes {
            None => pool.experiment(&self.common),
            Some(_) => pool.class_experiment(&self.common),
        }?;
        Ok((experiment, pool.origin().to_owned()))
    }

    fn config(&self) -> GramConfig {
        GramConfig { outputs: self.kernel.kernel(), ..GramConfig::default() }
    }

    /// Computes the kernel, tile by tile into the folder of the run, and writes the entry.
    fn write(&self) -> Result<()> {
        let run = self.common.start("zoo")?;
        let (experiment, origin) = self.experiment(&run)?;
        let (config, store) = (self.config(), StoreConfig::default());
        let Experiment { network, theta0, images, .. } = &experiment;
        let assembly = Assembly::new(network, theta0, images, &config)?;
        let identity = assembly.identity(store.edge)?;
        let folder = run.folder().file(&format!("{}.zarr", self.name));
        let stored = run.stage("kernel", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            Ok(assembly.observed(&observe).store(&folder, &store)?)
        })?;
        let gram = stored.store.gram()?;
        let top = run.stage("eigenpairs", 1, |_| {
            Ok(eigsh(&gram, PAIRS.min(gram.n()), &EigshConfig::default())?)
        })?;
        let targets = experiment.class_task()?.targets()?;
        let energy = targets.energy(&top.pairs, TOP.min(top.pairs.len()))?;
        let columns = (0..targets.columns).map(|column| alignment(&gram, &targets.column(column)));
        let entry = Entry {
            flags: self.flags(),
            is_embedded: origin == Origin::Embedded.to_string(),
            formula: self.kernel.kernel().formula().to_owned(),
            parameters: theta0.count(),
            identity,
            root: stored.commit.context("a whole store")?.root,
            trace: gram.trace()?,
            largest_residual: top.residuals.iter().copied().fold(0.0, f64::max),
            orthogonality: top.orthogonality,
            alignment: columns.sum::<entk::spectral::Result<f64>>()?,
            energy_ratio: energy.ratio,
            energy_squared: energy.squared,
        };
        entry.write(&self.zoo.join(&self.name), &top, &Sample::of(&gram, SAMPLE.min(gram.n())))?;
        run.finish(self.common.seed, &self.common, &entry)?;
        Ok(())
    }

    /// The flags on which the kernel depends.
    fn flags(&self) -> Vec<String> {
        let CommonFlags { network, data, train, test, seed, .. } = &self.common;
        let mut flags = vec![
            ("--model", network.model.to_string()),
            ("--data", data.to_string()),
            ("--train", train.to_string()),
            ("--test", test.to_string()),
            ("--seed", seed.to_string()),
        ];
        flags.extend(network.classes.map(|classes| ("--classes", classes.to_string())));
        if network.width != PAPER_WIDTH {
            flags.push(("--width", network.width.to_string()));
        }
        flags.extend(self.kernel.outputs.map(|outputs| ("--outputs", outputs.to_string())));
        flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// What is other than in `entry`: nothing if all is as it was.
    fn differences(&self, run: &Run, entry: &Entry, sample: &Sample) -> Result<Vec<String>> {
        let Experiment { network, theta0, images, .. } = &self.experiment(run)?.0;
        let config = self.config();
        let whole = Assembly::new(network, theta0, images, &config)?;
        let mut found = entry.identity.differences(&whole.identity(entry.identity.edge)?);
        let rows = config.outputs.rows_per_example(network.outputs());
        let some = images.narrow(0, 0, sample.n / rows)?;
        let gram = Assembly::new(network, theta0, &some, &config)?.gram()?;
        found.extend(sample.difference(&gram));
        Ok(found)
    }
}

impl Verify {
    /// Prints a line for each entry.
    fn run(&self) -> Result<()> {
        let names = if self.names.is_empty() { names(&self.zoo)? } else { self.names.clone() };
        let mut wrong = Vec::new();
        for name in names {
            let folder = self.zoo.join(&name);
            let said = match self.check(&name, &folder) {
                Ok(found) if found.is_empty() => "as it was".to_owned(),
                Ok(found) => {
                    wrong.push(name.clone());
                    found.join("; ")
                }
                Err(error) if is_without_files(&error) => format!("SKIPPED: {error:#}"),
                Err(error) => return Err(error.context(folder.display().to_string())),
            };
            writeln!(std::io::stdout(), "{name}: {said}")?;
        }
        ensure!(wrong.is_empty(), "{} of the zoo are other than they were", wrong.join(", "));
        Ok(())
    }

    fn check(&self, name: &str, folder: &Path) -> Result<Vec<String>> {
        let (entry, sample) = Entry::read(folder)?;
        let root = self
            .data_root
            .iter()
            .filter(|_| !entry.is_embedded)
            .flat_map(|root| ["--data-root".to_owned(), root.display().to_string()]);
        let words = ["zoo", "add", name].map(str::to_owned).into_iter();
        let words = words.chain(entry.flags.iter().cloned()).chain(root);
        let Command::Add(add) = try_parse::<Zoo>(&mut line(), words)?.command else {
            return Ok(vec!["its flags are none of `add`".to_owned()]);
        };
        let run = Run::start_in("zoo", None, entk_cli::FolderUse::DryRun)?;
        add.differences(&run, &entry, &sample)
    }
}

/// Names of all entries.
fn names(zoo: &Path) -> Result<Vec<String>> {
    let found = files::list(zoo).with_context(|| format!("--zoo {}", zoo.display()))?;
    let entries = found.into_iter().filter(|folder| folder.join(entry::ENTRY).exists());
    let name = |folder: PathBuf| Some(folder.file_name()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort_unstable();
    Ok(names)
}

fn is_without_files(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DataError::NotFound { .. }))
}
