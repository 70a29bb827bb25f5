//! Predictions from a kernel with their uncertainty; see `--help`.

mod dense;
pub(crate) mod flags;
mod iterative;
mod problem;
mod quality;

use anyhow::Result;
use entk_cli::Run;
use flags::Flags;
use problem::{Problem, TrainKernel};

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let run = Run::start("predict", flags.out.as_deref())?.with_cache(flags.cache.as_deref());
    let problem = Problem::read(&run, flags)?;
    run.note(acting(&problem));
    let results = match &problem.train {
        TrainKernel::Memory(gram) if flags.cg.is_some() => {
            iterative::solve(&run, flags, &problem, gram, &gram.diagonal())
        }
        TrainKernel::Memory(gram) => dense::solve(&run, flags, &problem, gram),
        TrainKernel::Store(store) => {
            let operator = run.stage("check", 1, |_| Ok(store.operator()?))?;
            iterative::solve(&run, flags, &problem, &operator, &store.diagonal()?)
        }
    }?;
    let results = serde_json::json!({
        "origin": problem.origin,
        "kernel": problem.kernel,
        "targets": problem.targets.rule.formula(),
        "columns": problem.targets.columns,
        "train": problem.targets.values.len() / problem.targets.columns,
        "results": results,
    });
    run.finish(flags.seed, &flags.settings()?, &results)?;
    Ok(())
}

/// Which kernel acts on the columns of the targets.
fn acting(problem: &Problem) -> String {
    let (columns, rows) = (problem.targets.columns, problem.rows);
    match &problem.kernel {
        Some(kernel) if rows > 1 => format!("kernel of {rows} outputs: {}", kernel.formula),
        Some(kernel) => format!(
            "{columns} columns of targets, each predicted by the same kernel K(x, x') = {}",
            kernel.formula
        ),
        None => format!("{columns} columns of targets, each predicted by the same kernel"),
    }
}
