//! Eigenpairs of the kernel of a network on inputs: by way of its Gram where that is quicker and
//! fits, else without it. Called by the program's main; several ranks read the same.

use std::path::Path;

use anyhow::Result;
use entk::{
    device::memory::ensure,
    gram::{Assembly, Cluster, CostProbe, JacobianOperator, Way},
    spectral::{CertifiedPairs, Gram, LinearOperator},
};
use entk_cli::{KernelChoice, Run, StreamedKernel, ensure_input, say};

use crate::commands::eigen::{flags::Flags, solve::Solve};

/// The pairs of the kernel of --model on --inputs, and the way that was taken.
pub fn pairs(solve: &Solve<'_>, path: &Path) -> Result<(CertifiedPairs, KernelChoice, Way)> {
    let kernel = read(solve.run, solve.flags, path)?;
    let jacobian = kernel.jacobian()?.stoppable(solve.stop);
    let (rows, columns) = (jacobian.rows(), jacobian.cols());
    let k = pair_count(&jacobian, solve.flags)?;
    let identity = (kernel.weights()?, path, rows, columns);
    let way = way(solve, &kernel, k, &identity)?;
    let found = match way {
        Way::Gram => solve.pairs(&assembled(solve, &kernel)?, &(&identity, way))?,
        _ => {
            ensure_fits(solve, &jacobian, k)?;
            solve.row_gram_pairs(&jacobian, k, &(&identity, way))?
        }
    };
    Ok((found, kernel.kernel, way))
}

/// The network, and its inputs, which are read some at a time.
pub fn read(run: &Run, flags: &Flags, inputs: &Path) -> Result<StreamedKernel> {
    StreamedKernel::read(run, &flags.kernel, inputs, flags.augment, flags.seed)
}

/// How many pairs there will be; refuses more than the kernel can have.
pub fn pair_count(jacobian: &JacobianOperator<'_>, flags: &Flags) -> Result<usize> {
    let smaller = jacobian.rows().min(jacobian.cols());
    let k = flags.k(smaller);
    ensure_input(k <= smaller, || {
        format!("--k {k}: the kernel has rank {smaller} at most; lower --k")
    })?;
    Ok(k)
}

/// The way of the flag, or of a checkpoint, or the quickest by rates that are measured.
fn way(
    solve: &Solve<'_>,
    kernel: &StreamedKernel,
    k: usize,
    identity: &impl serde::Serialize,
) -> Result<Way> {
    if solve.flags.matrix_free {
        return Ok(Way::MatrixFree);
    }
    for way in [Way::Gram, Way::MatrixFree] {
        if solve.was_stopped(&(identity, way))? {
            return Ok(way);
        }
    }
    let StreamedKernel { network, params, source, config, .. } = kernel;
    let solver = solve.flags.config()?;
    let cost = solve.run.stage("rates", 1, |_| {
        let probe = CostProbe::measure(network, params, &**source, config, &solver, k)?;
        Ok(probe.cost(source.examples(), &Cluster::default()))
    })?;
    say(&cost);
    // A store outlives the command, and so is for `gram --store` to make.
    let best = cost.best_of(&[Way::Gram, Way::MatrixFree]);
    let way = best.map_or(Way::MatrixFree, |cost| cost.way);
    solve.run.note(format_args!("{way}; give --matrix-free for pairs without a Gram in any case"));
    Ok(way)
}

/// The Gram, which memory holds.
fn assembled(solve: &Solve<'_>, kernel: &StreamedKernel) -> Result<Gram> {
    let StreamedKernel { network, params, source, config, .. } = kernel;
    let n = source.examples();
    let inputs = solve.run.stage("read", 1, |_| Ok(source.read(0..n)?))?;
    let inputs = kernel.taken(&inputs)?;
    solve.run.stage("gram", 1, |stage| {
        let observe = |done, all| stage.set_progress(done, all);
        let assembly = Assembly::new(network, params, &inputs, config)?;
        Ok(assembly.observed(&observe).stoppable(solve.stop).gram()?)
    })
}

/// Refuses products with a Jacobian that memory cannot hold.
fn ensure_fits(solve: &Solve<'_>, jacobian: &JacobianOperator<'_>, k: usize) -> Result<()> {
    let settings = solve.flags.config()?;
    let (rows, columns) = (jacobian.rows(), jacobian.cols());
    let block = settings.block.unwrap_or(jacobian.block());
    let solver = settings.row_gram_bytes(rows, rows.min(columns), k);
    let needed = solver.saturating_add(jacobian.bytes(block));
    let what = format!("{k} eigenpairs of {rows} rows and {columns} parameters");
    ensure(&what, needed, None, "ask for fewer with --k")?;
    say(format_args!(
        "{rows} rows, {columns} parameters with a gradient: {} passes over the inputs a block of \
         {block} columns",
        if rows > columns { "one" } else { "two" }
    ));
    Ok(())
}
