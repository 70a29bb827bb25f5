//! Table 1: how much of the class task lies in the top eigenfunctions of the kernel, at
//! initialisation and after training, and the test accuracy that training reaches.
//!
//! Writes `table1.csv`, a row a seed, and `record.json` with the medians.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::{models::Params, spectral::EnergyConcentration};
use entk_cli::{
    Defaults, Experiment, FigureFlags, FigureProgram, KernelChoice, ModelName, OneSeed,
    OutputFlags, Size, Task, ensure_input, exit, last_epoch, parse_size, summarize,
};
use serde::Serialize;
use serde_json::json;

/// Energy concentration of the class task at initialisation and after training, and accuracy (Table
/// 1).
#[derive(Args, Clone, Serialize)]
struct Own {
    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = parse_size)]
    top: usize,

    /// Training images on which the energy is measured [default: all of --train]
    #[arg(long, value_name = "N")]
    energy_images: Option<usize>,

    /// Energies at initialisation only
    #[arg(long)]
    initial_only: bool,

    /// Which kernel of all classes
    #[command(flatten)]
    #[serde(flatten)]
    kernel: OutputFlags,
}

/// One seed. Energies are unsquared ratios ||Phi y|| / ||y||, as in the paper; of all classes for
/// one-hot targets less 1/C and the kernel of --outputs.
#[derive(Serialize, Clone, Copy)]
struct Row {
    seed: u64,
    initial_energy: f64,
    initial_energy_squared: f64,
    final_energy: Option<f64>,
    final_energy_squared: Option<f64>,
    test_accuracy: Option<f64>,
    train_accuracy: Option<f64>,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let defaults = Defaults {
        model: ModelName::Mlp,
        train: Size::new(2_000, 1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(50, 30),
        seeds: 3,
        ..Defaults::default()
    };
    let mut chosen = None;
    let program = FigureProgram::start("table1", &defaults, |flags| {
        chosen = Some(kernel(flags)?);
        energy_images(flags)?;
        if flags.own.initial_only { Ok(()) } else { flags.ensure_batch() }
    })?
    .with_classes();
    let rows = program.rows("table1", |seed| Ok(vec![one_seed(seed)?]))?;
    let median = |value: fn(&Row) -> Option<f64>| {
        summarize(&rows.iter().filter_map(value).collect::<Vec<_>>())
    };
    program.finish(json!({
        "kernel": chosen,
        "initial_energy": median(|row| Some(row.initial_energy)),
        "final_energy": median(|row| row.final_energy),
        "test_accuracy": median(|row| row.test_accuracy),
    }))
}

/// The kernel in which energies are measured.
fn kernel(flags: &FigureFlags<Own>) -> Result<KernelChoice> {
    flags.own.kernel.of_one(flags.common.network.classes.unwrap_or(1))
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Row> {
    let whole = seed.experiment()?;
    let class_task = whole.class_task()?;
    let experiment = whole.of_task(&class_task);
    let initial = energy(seed, experiment, &class_task, &experiment.theta0)?;
    let mut row = Row {
        seed: seed.flags.common.seed,
        initial_energy: initial.ratio,
        initial_energy_squared: initial.squared,
        final_energy: None,
        final_energy_squared: None,
        test_accuracy: None,
        train_accuracy: None,
    };
    if seed.flags.own.initial_only {
        return Ok(row);
    }
    let tasks = [class_task];
    let fits = whole.networks(seed.run, &tasks, &seed.flags.sgd())?;
    let (_, train, test) = last_epoch(&fits[0].history)?;
    let trained = energy(seed, experiment, &tasks[0], &fits[0].params)?;
    row.train_accuracy = Some(train.accuracy);
    row.test_accuracy = Some(test.accuracy);
    row.final_energy = Some(trained.ratio);
    row.final_energy_squared = Some(trained.squared);
    Ok(row)
}

/// Images on which energies are measured.
fn energy_images(flags: &FigureFlags<Own>) -> Result<usize> {
    let (train, top) = (flags.common.train, flags.own.top);
    let n = flags.own.energy_images.unwrap_or(train);
    ensure_input(n <= train, || {
        format!("--energy-images {n}: there are {train} training images; lower it")
    })?;
    ensure_input(top <= n, || format!("--top {top}: there are {n} eigenfunctions; lower it"))?;
    Ok(n)
}

/// Energy concentration of the class task on the first training images, at `params`.
fn energy(
    seed: &OneSeed<'_, Own>,
    experiment: &Experiment,
    task: &Task,
    params: &Params,
) -> Result<EnergyConcentration> {
    let (n, top) = (energy_images(&seed.flags)?, seed.flags.own.top);
    let outputs = seed.flags.own.kernel.kernel();
    experiment.energy(seed.run, params, &task.targets()?.first(n), outputs, top)
}
