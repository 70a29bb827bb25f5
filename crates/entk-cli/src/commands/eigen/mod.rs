//! Leading eigenpairs of a kernel, with a certificate; see `--help`.

mod assembled;
pub(crate) mod flags;
mod of_network;
#[cfg(feature = "mpi")]
mod ranks;
mod results;
mod solve;

use anyhow::Result;
use entk::gram::Way;
use entk_cli::{Run, refused, stop_on_signals};
use flags::Flags;
use solve::{STOPPING, Solve};

pub(crate) fn run(flags: &Flags) -> Result<()> {
    flags.config()?.check()?;
    #[cfg(feature = "mpi")]
    if flags.in_memory || !entk_cli::is_only_task_of_srun() {
        let process = entk_mpi::MpiRank::start()?;
        // One rank, too: only the ranks' operator holds a store in memory.
        if entk::spectral::Communicator::size(&process) > 1 || flags.in_memory {
            return ranks::eigenpairs(flags, &process);
        }
    }
    let stop = stop_on_signals(STOPPING, None)?;
    let run = Run::start("eigen", flags.out.as_deref())?;
    let solve = Solve::new(&run, flags, &stop);
    let (top, kernel, way) = match (&flags.gram, &flags.inputs) {
        (Some(path), _) => {
            let (top, kernel) = assembled::of_gram(&solve, path)?;
            (top, kernel, if path.is_dir() { Way::Store } else { Way::Gram })
        }
        (None, Some(path)) => {
            let (top, kernel, way) = of_network::pairs(&solve, path)?;
            (top, Some(kernel), way)
        }
        (None, None) => return Err(refused("give --gram, or --inputs with --model")),
    };
    let all = |write: &mut results::Vectors<'_>| Ok(write(top.pairs.vectors())?);
    let certificate = results::write(&run, &(&top).into(), kernel.as_ref(), all)?;
    solve.end();
    let record = results::record(top.pairs.values(), &certificate, kernel.as_ref(), way);
    run.finish(flags.seed, &flags.settings()?, &record)?;
    Ok(())
}
