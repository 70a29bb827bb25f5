//! Statistics of a kernel on any number of examples, without the kernel; see `--help`.

pub(crate) mod flags;
mod passes;
mod problem;
mod report;
mod sample;
mod share;
mod sums;
mod targets;

use std::{collections::BTreeMap, io::Write, ops::Range};

use anyhow::Result;
use entk::{
    data::npy,
    device::files,
    gram::JacobianOperator,
    spectral::{LinearOperator, SpectrumStatistics},
};
use entk_cli::{Run, say, stop_on_signals};
use flags::Flags;
use passes::PassFolder;
use problem::Problem;
use share::Share;
use sums::{Exact, Sums};

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let (share, flags) = &Share::of(flags)?;
    let stop = stop_on_signals("stopping; the sums of finished passes are kept", None)?;
    let run = Run::start_in("stats", flags.out.as_deref(), share.folder_use(flags.dry_run))?;
    let run = if share.speaks { run } else { run.silent() };
    let problem = Problem::read(&run, flags, share.parts)?;
    let folder = PassFolder {
        path: run.folder().file("passes"),
        identity: problem.identity,
        share: *share,
        stop: &stop,
    };
    let sums = Sums { run: &run, flags, problem: &problem, folder };
    let plan = sums.plan()?;
    if flags.dry_run {
        return Ok(writeln!(std::io::stdout(), "{plan}")?);
    }
    if share.speaks {
        say(&plan);
    }
    files::create_folder(&sums.folder.path)?;
    let all = sums.all();
    let jacobian = sums.jacobian(&all)?;
    let exact = sums.exact(jacobian.cols())?;
    let lanczos = sums.lanczos(jacobian.cols())?;
    if !share.writes {
        if share.speaks {
            say("all passes are done; the same command without --part writes the results");
        }
        return Ok(());
    }
    let found = lanczos.statistics(exact.diagonal.iter().sum())?;
    let layers = layers(&jacobian);
    let leading = lanczos.leading();
    let targets = report::targets(&problem.targets, &exact, &layers, leading, &found.ritz);
    let rows = write(&sums, &exact, &found, &targets)?;
    let results = serde_json::json!({
        "examples": problem.examples(),
        "parameters": problem.of.params.count(),
        "columns": jacobian.cols(),
        "kernel": problem.of.kernel,
        "targets": targets.len(),
        "plan": plan,
        "statistics": rows,
    });
    run.finish(flags.seed, flags, &results)?;
    Ok(())
}

/// The columns of each layer; of a trace over outputs a range for each group of them.
fn layers(jacobian: &JacobianOperator<'_>) -> BTreeMap<String, Vec<Range<usize>>> {
    let mut layers = BTreeMap::<String, Vec<_>>::new();
    for (names, range) in jacobian.layer_columns() {
        let name = names.first().map_or("", |name| name.trim_end_matches(".weight"));
        layers.entry(name.to_owned()).or_default().push(range);
    }
    layers
}

/// The table and the picture; returns the rows that belong to no target.
fn write(
    sums: &Sums<'_>,
    exact: &Exact,
    found: &SpectrumStatistics,
    targets: &[report::TargetReport],
) -> Result<Vec<report::Row>> {
    let (run, n) = (sums.run, exact.diagonal.len());
    let squares = exact.diagonal.iter().map(|k| k * k).sum();
    let sampled = run.stage("sample", 1, |_| sample::sample(sums, squares))?;
    let rows =
        [report::diagonal(exact), report::spectrum(found), report::sample(&sampled)].concat();
    let of_targets = targets.iter().flat_map(|target| &target.rows);
    let table: Vec<_> = rows.iter().chain(of_targets).cloned().collect();
    run.save_table("statistics", &table)?;
    npy::write(run.folder().file("diagonal.npy"), &[n], &exact.diagonal)?;
    match report::figure(found, targets, n) {
        Some(figure) => run.save_figure("spectrum", &figure)?,
        None => say("no part of the spectrum is resolved: spectrum.svg is left out; raise --steps"),
    }
    Ok(rows)
}
