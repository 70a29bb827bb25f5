//! Verifies a GPU against the CPU, then times it beside its floors; see `--help`.

mod against_cpu;
mod cases;
mod report;
mod time;
mod ways;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Error, Result};
use clap::{Parser, ValueEnum};
use entk::device::{DeviceChoice, DeviceProperties, OpenedDevice};
use entk_cli::{Run, WRONG, by_name, exit_with, parse_device, parse_size, takes_negative};
use report::Results;
use serde::Serialize;

/// Verifies a GPU, then times it.
///
/// Every kernel's known answers; Gram, Jacobian products, a training step and eigenpairs against
/// the CPU in f64; then copies, products, Grams, an epoch and eigenpairs, each beside its floor:
/// its operations and bytes at the rates measured first. Tables on stdout, all numbers in
/// record.json.
///
/// Exit codes: 0 all is right, 2 wrong flags, 69 no usable GPU, or a program built without CUDA, 65
/// more memory than may be used, 70 a number is wrong, 74 a file or a full disk, 1 anything else.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "verify", version, verbatim_doc_comment, mut_args(takes_negative))]
pub(crate) struct Flags {
    /// Device: cuda, cuda:N, or cpu, which runs the same program on tensors of the CPU
    #[arg(long, value_name = "DEVICE", default_value = "cuda", value_parser = parse_device)]
    #[serde(serialize_with = "by_name")]
    device: DeviceChoice,

    /// Sizes of seconds on a CPU
    #[arg(long)]
    quick: bool,

    /// Do one part only
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<PartName>,

    /// Largest number of images that is timed
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = parse_size)]
    max_n: usize,

    /// Folder for the results, in place of those of an earlier run [default: results/verify]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum PartName {
    /// Known answers and comparisons
    Verify,
    /// Times
    Time,
}

pub(crate) fn run(flags: &Flags) -> ExitCode {
    let opened = flags.device.open().map_err(Error::from);
    match opened.and_then(|opened| check(flags, &opened)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err(error) => exit_with(&error),
    }
}

/// Whether everything is right.
fn check(flags: &Flags, opened: &OpenedDevice) -> Result<bool> {
    let run = Run::start("verify", flags.out.as_deref())?;
    let mut results = Results { device: describe(opened)?, ..Results::default() };
    report::device(&results.device)?;
    if flags.only != Some(PartName::Time) {
        let device = &opened.device;
        results.kernels = run.stage("kernels", 1, |_| against_cpu::kernels(device))?;
        results.comparisons =
            run.stage("comparisons", 1, |_| ways::comparisons(device, flags.quick))?;
        report::kernels(&results.kernels)?;
        report::comparisons(&results.comparisons)?;
    }
    if flags.only != Some(PartName::Verify) {
        let sizes = time::CheckSizes::new(flags.quick, flags.max_n);
        results.rates = run.stage("rates", 1, |_| time::rates(&opened.device, &sizes))?;
        report::rates(&results.rates)?;
        report::times()?;
        results.times = run.stage("times", 1, |_| {
            time::times(&opened.device, &sizes, &results.rates, report::time)
        })?;
    }
    let right = results.are_right();
    run.finish(0, flags, &results)?;
    Ok(right)
}

fn describe(opened: &OpenedDevice) -> Result<Vec<String>> {
    let mut lines = vec![opened.note.clone()];
    if let Some(gpu) = DeviceProperties::of(&opened.device)? {
        let gib = |bytes: usize| bytes as f64 / (1u64 << 30) as f64;
        let (major, minor) = gpu.compute_capability;
        lines.push(format!("{}, compute capability {major}.{minor}", gpu.name));
        lines.push(format!(
            "{} multiprocessors, {:.1} GiB of memory, {:.1} GiB free",
            gpu.multiprocessors,
            gib(gpu.total_bytes),
            gib(gpu.free_bytes)
        ));
    }
    Ok(lines)
}
