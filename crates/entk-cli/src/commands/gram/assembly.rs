//! How `gram` assembles the kernel: flags, network, parameters and inputs come in; a plan, a Gram
//! in memory or a store on disk go out. Called by its main.

use std::{io::Write, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use candle_core::Tensor;
use entk::{
    gram::{
        Assembly, CpuConfig, DeviceConfig, Engine, ErrorEstimate, GramConfig, InputGram,
        MemoryLimit, Store, StoreConfig,
        plan::{Plan, Target},
        store::{Part, StoreReport},
    },
    models::{Network, Params},
    spectral::Gram,
};
use entk_cli::{FolderUse, KernelChoice, Launched, NetworkSource, Run};

use crate::commands::gram::flags::Flags;

/// The store in the results folder.
pub const STORE: &str = "gram.zarr";

/// A network at its parameters, and how its kernel is assembled.
pub struct GramJob<'a> {
    pub flags: &'a Flags,
    pub networks: &'a NetworkSource,
    pub network: &'a Network,
    pub params: &'a Params,
    pub inputs: &'a Tensor,
    pub stop: &'a AtomicBool,
    pub products: Option<&'a InputGram>,
    pub kernel: &'a KernelChoice,
}

/// The result of an assembly.
pub enum Assembled {
    /// The kernel in memory.
    Memory(Gram),
    /// A finished store, and tiles that were there before.
    Store { store: Store, kept: usize },
    /// One part of several.
    Part(StoreReport),
}

impl GramJob<'_> {
    /// Rows of the kernel.
    pub fn rows(&self) -> Result<usize> {
        Ok(self.inputs.dim(0)? * self.kernel.rows_per_example())
    }

    /// The assembly, which reports no progress.
    pub fn assembly(&self) -> Result<Assembly<'_>> {
        let outputs = self.kernel.outputs.kernel();
        let config = GramConfig { outputs, ..config(self.flags, self.inputs) };
        let assembly = Assembly::new(self.network, self.params, self.inputs, &config)?;
        let assembly = assembly.stoppable(self.stop);
        Ok(match self.products {
            Some(products) => assembly.reusing(products)?,
            None => assembly,
        })
    }

    /// The plan of memory, disk, operations and time.
    pub fn plan(&self) -> Result<Plan> {
        let assembly = self.assembly()?;
        Ok(match self.flags.store {
            true => assembly.plan_part(self.flags.edge, part(self.flags)?)?,
            false => assembly.plan(Target::Memory)?,
        })
    }

    /// Refuses comparisons of entries that memory cannot hold, before anything is computed.
    pub fn check_estimate(&self) -> Result<()> {
        if self.flags.check == Some(0) {
            return Ok(());
        }
        Ok(self.assembly()?.check_estimate(self.flags.max_memory)?)
    }

    /// Compares --check entries with f64 references; none of a part.
    pub fn estimate_error(&self, assembled: &Assembled) -> Result<ErrorEstimate> {
        let default = (self.inputs.dim(0)? / 16).clamp(4, 16);
        let (pairs, seed) = (self.flags.check.unwrap_or(default), self.flags.seed);
        let assembly = self.assembly()?;
        Ok(match assembled {
            Assembled::Memory(gram) => {
                assembly.estimate_error(pairs, seed, |i, j| Ok(gram.get(i, j)))
            }
            Assembled::Store { store, .. } => {
                assembly.estimate_error(pairs, seed, |i, j| store.get(i, j))
            }
            Assembled::Part(_) => assembly.estimate_error(0, seed, |_, _| Ok(0.0)),
        }?)
    }

    /// Refuses a kernel of a GPU with an entry that round-off does not explain, and takes its tiles
    /// out of the store.
    pub fn ensure_right(&self, assembled: &Assembled, error: &ErrorEstimate) -> Result<()> {
        if self.inputs.device().is_cpu() {
            return Ok(());
        }
        let Err(wrong) = self.assembly()?.ensure_right(error) else { return Ok(()) };
        let Assembled::Store { store, .. } = assembled else { return Err(wrong.into()) };
        let [row, col] = error.at.map(|at| at / self.flags.edge);
        let tiles = store.discard(error.at)?;
        Err(wrong).context(format!(
            "tile ({row}, {col}) is wrong; the {tiles} tiles that share its rows or columns were \
             taken out of the store, and the same command computes them again"
        ))
    }

    /// Assembles the kernel as a stage of the run.
    pub fn assemble(&self, run: &Run) -> Result<Assembled> {
        let folder = run.folder().file(STORE);
        run.stage("gram", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            let assembly = self.assembly()?.observed(&observe);
            if !self.flags.store {
                return Ok(Assembled::Memory(assembly.gram()?));
            }
            let part = part(self.flags)?;
            let config = StoreConfig { edge: self.flags.edge, part };
            let stored = assembly.store(&folder, &config)?;
            Ok(match stored.commit {
                Some(_) => Assembled::Store { store: stored.store, kept: stored.kept },
                None => Assembled::Part(stored),
            })
        })
    }
}

/// The products of inputs of --input-gram, computed as a stage of the run unless they are there.
pub fn products(
    run: &Run,
    flags: &Flags,
    inputs: &Tensor,
    stop: &AtomicBool,
) -> Result<Option<InputGram>> {
    let Some(folder) = &flags.input_gram else { return Ok(None) };
    run.stage("input gram", 1, |stage| {
        let observe = |done, total| stage.set_progress(done, total);
        let (linear, zero) = InputGram::model(inputs)?;
        let assembly = Assembly::new(&linear, &zero, inputs, &config(flags, inputs))?;
        let disk = StoreConfig { edge: flags.edge, ..StoreConfig::default() };
        if Store::open(folder).is_err() {
            assembly.stoppable(stop).observed(&observe).store(folder, &disk)?;
        }
        Ok(Some(InputGram::open(folder)?))
    })
}

fn config(flags: &Flags, inputs: &Tensor) -> GramConfig {
    let precision = flags.precision;
    let engine = if precision.is_some() || !inputs.device().is_cpu() {
        Engine::Tensors(DeviceConfig { precision, ..DeviceConfig::default() })
    } else {
        Engine::Cpu(CpuConfig { memory: flags.max_memory, ..CpuConfig::default() })
    };
    GramConfig {
        accumulate: flags.accumulate.into(),
        micro_batch: flags.micro_batch,
        engine,
        ..GramConfig::default()
    }
}

/// Refuses a plan that needs more memory than there is or than --max-memory allows.
pub fn check(plan: &Plan, flags: &Flags) -> Result<()> {
    match MemoryLimit::detect(flags.max_memory) {
        Some(limit) => Ok(plan.check(&limit)?),
        None => Ok(()),
    }
}

/// Prints the plan and whether it fits.
pub fn show(plan: &Plan, flags: &Flags) -> Result<()> {
    writeln!(std::io::stdout(), "{plan}")?;
    check(plan, flags)
}

/// Parts of one store share their folder; nothing else does.
pub fn folder_use(flags: &Flags) -> Result<FolderUse> {
    Ok(match flags.dry_run {
        true => FolderUse::DryRun,
        false if flags.store && part(flags)? != Part::default() => FolderUse::Shared,
        false => FolderUse::Alone,
    })
}

/// The part of --part; else that of the task of a Slurm array or of the rank of a launcher; else
/// all.
fn part(flags: &Flags) -> Result<Part> {
    match flags.part {
        Some(part) => Ok(part),
        None => Ok(Launched::find()?.map_or_else(Part::default, |launched| launched.part)),
    }
}
