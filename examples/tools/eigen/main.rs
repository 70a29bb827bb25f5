//! Leading eigenpairs of a kernel, with a certificate; see `--help`.

#![forbid(unsafe_code)]

mod assembled;
mod flags;
mod of_network;
mod results;
mod solve;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use entk::gram::Way;
use entk_examples::{Run, exit, refused, stop_on_signals};
use flags::Flags;
use solve::Solve;

fn main() -> ExitCode {
    exit(eigenpairs())
}

fn eigenpairs() -> Result<()> {
    let flags = Flags::parse();
    flags.config()?.check()?;
    let stop = stop_on_signals("stopping after this block of columns, with a checkpoint", None)?;
    let run = Run::start("eigen", flags.out.as_deref())?;
    let solve = Solve::new(&run, &flags, &stop);
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
    let certificate = results::write(&run, &top, kernel.as_ref())?;
    solve.end();
    run.finish(
        flags.seed,
        &flags,
        &serde_json::json!({
            "kernel": kernel,
            "way": way,
            "largest_eigenvalue": top.pairs.values().first(),
            "smallest_eigenvalue": top.pairs.values().last(),
            "worst_residual": certificate.worst_residual,
            "products": certificate.products,
        }),
    )?;
    Ok(())
}
