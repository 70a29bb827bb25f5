//! Eigenpairs of the kernel of a network on inputs: by way of its Gram where that is quicker and
//! fits, else without it. Called by the program's main; several
//! ranks read the same.

use std::path::Path;

use anyhow::Result;
use entk::{
    device::{hash, memory::ensure},
    gram::{Assembly, Cluster, CostProbe, Way},
    spectral::{CertifiedPairs, Gram, LinearOperator},
};
use entk_examples::{KernelChoice, Run, StreamedFlags, StreamedKernel, ensure_input, say};

use crate::{flags::Flags, solve::Solve};

/// The pairs of the kernel of --model on --inputs, and the way that was taken.
pub fn pairs(solve: &Solve<'_>, path: &Path) -> Result<(CertifiedPairs, KernelChoice, Way)> {
    let kernel = read(solve.run, solve.flags, path)?;
    let jacobian = kernel.jacobian()?.stoppable(solve.stop);
    let (rows, columns) = (jacobian.rows(), jacobian.cols());
    let smaller = rows.min(columns);
    ensure_input(solve.flags.k <= smaller, || {
        format!("--k {}: the kernel has rank {smaller} at most; lower --k", solve.flags.k)
    })?;
    let tensors = kernel.params.iter().chain(kernel.params.statistics());
    let identity = (hash::named(tensors)?, path, rows, columns);
    let way = way(solve, &kernel, &identity)?;
    let found = match way {
        Way::Gram => solve.pairs(&assembled(solve, &kernel)?, &(identity, way))?,
        _ => {
            ensure_fits(solve, &jacobian)?;
            solve.row_gram_pairs(&jacobian, &(identity, way))?
        }
    };
    Ok((found, kernel.kernel, way))
}

/// The network, and its inputs, which are read some at a time.
pub fn read(run: &Run, flags: &Flags, inputs: &Path) -> Result<StreamedKernel> {
    let Flags { network, activation, dtype, outputs, augment, seed, .. } = flags;
    StreamedKernel::read(
        run,
        &StreamedFlags {
            network,
            activation: *activation,
            dtype: *dtype,
            outputs: *outputs,
            inputs,
            augment: *augment,
            seed: *seed,
        },
    )
}

/// The way of the flag, or of a checkpoint, or the quickest by rates that are measured.
fn way(
    solve: &Solve<'_>,
    kernel: &StreamedKernel,
    identity: &(impl serde::Serialize + Clone),
) -> Result<Way> {
    if solve.flags.matrix_free {
        return Ok(Way::MatrixFree);
    }
    for way in [Way::Gram, Way::MatrixFree] {
        if solve.was_stopped(&(identity.clone(), way))? {
            return Ok(way);
        }
    }
    let StreamedKernel { network, params, source, config, .. } = kernel;
    let solver = solve.flags.config()?;
    let cost = solve.run.stage("rates", 1, |_| {
        let probe = CostProbe::measure(network, params, &**source, config, &solver, solve.flags.k)?;
        Ok(probe.cost(source.examples(), &Cluster::default()))
    })?;
    say(&cost);
    // A store outlives the command, and so is for `gram --store` to make.
    let of = |way| cost.of(way).filter(|cost| cost.memory <= Cluster::default().memory);
    let way = match (of(Way::Gram), of(Way::MatrixFree)) {
        (Some(gram), Some(free)) if gram.seconds() <= free.seconds() => Way::Gram,
        (Some(_), None) => Way::Gram,
        _ => Way::MatrixFree,
    };
    solve.run.note(format_args!("{way}; give --matrix-free for pairs without a Gram in any case"));
    Ok(way)
}

/// The Gram, which memory holds.
fn assembled(solve: &Solve<'_>, kernel: &StreamedKernel) -> Result<Gram> {
    let StreamedKernel { network, params, source, config, .. } = kernel;
    let n = source.examples();
    let inputs = solve.run.stage("read", 1, |_| Ok(source.read(0..n)?))?;
    let is_ids = inputs.dtype().is_int();
    let inputs = if is_ids { inputs } else { inputs.to_dtype(params.dtype())? };
    solve.run.stage("gram", 1, |stage| {
        let observe = |done, all| stage.set_progress(done, all);
        let assembly = Assembly::new(network, params, &inputs, config)?;
        Ok(assembly.observed(&observe).stoppable(solve.stop).gram()?)
    })
}

/// Refuses products with a Jacobian that memory cannot hold.
fn ensure_fits(solve: &Solve<'_>, jacobian: &entk::gram::JacobianOperator<'_>) -> Result<()> {
    let (settings, k) = (solve.flags.config()?, solve.flags.k);
    let (rows, columns) = (jacobian.rows(), jacobian.cols());
    let block = settings.block.unwrap_or(jacobian.block());
    let vectors = (rows as u64).saturating_mul(k as u64).saturating_mul(24);
    let solver = settings.bytes(rows.min(columns), k).saturating_add(vectors);
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
