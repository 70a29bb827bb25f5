//! Table 1: how much of the class task lies in the top eigenfunctions of the kernel, at initialisation and after
//! training, and the test accuracy that training reaches.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use entk::models::Params;
use entk::spectral::{EigshConfig, eigsh, energy_concentration};
use entk::train::{SgdConfig, fit};
use entk_examples::{
    CommonFlags, DataName, Defaults, Experiment, ModelName, Run, Size, parse_flags, summarize,
};
use serde::Serialize;

/// Energy concentration of the class task at initialisation and after training, and accuracy (Table 1).
#[derive(Parser, Serialize)]
#[command(name = "table1", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// Seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,

    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50)]
    top: usize,

    /// Training images on which the energy is measured [default: all of --train]
    #[arg(long, value_name = "N")]
    energy_images: Option<usize>,

    /// Energies at initialisation only
    #[arg(long)]
    initial_only: bool,

    /// Learning rate at the first step, falling linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    learning_rate: f64,
}

/// One seed. Energies are unsquared ratios ||Phi y|| / ||y||, as in the paper.
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

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::Mlp,
        data: DataName::FashionMnist,
        train: Size::new(2_000, 500),
        test: Size::new(1_000, 250),
        epochs: Size::new(50, 10),
    });
    ensure!(flags.seeds >= 1, "--seeds {}: at least one seed is needed", flags.seeds);
    let mut run = Run::start("table1", flags.common.out.as_deref())?;
    let mut rows = Vec::new();
    for seed in flags.common.seed..flags.common.seed + flags.seeds {
        rows.push(one_seed(&mut run, &flags, seed)?);
        run.save_table("table1", &rows)?;
    }
    let median = |value: fn(&Row) -> Option<f64>| {
        summarize(&rows.iter().filter_map(value).collect::<Vec<_>>())
    };
    let results = serde_json::json!({
        "initial_energy": median(|row| Some(row.initial_energy)),
        "final_energy": median(|row| row.final_energy),
        "test_accuracy": median(|row| row.test_accuracy),
    });
    run.finish(flags.common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(run: &mut Run, flags: &Flags, seed: u64) -> Result<Row> {
    let common = CommonFlags { seed, ..flags.common.clone() };
    let experiment = Experiment::load(&common)?;
    let initial = energy(run, flags, &experiment, &experiment.theta0)?;
    let mut row = Row {
        seed,
        initial_energy: initial.ratio,
        initial_energy_squared: initial.squared,
        final_energy: None,
        final_energy_squared: None,
        test_accuracy: None,
        train_accuracy: None,
    };
    if flags.initial_only {
        return Ok(row);
    }
    let (train, test) = experiment.examples(&experiment.labels)?;
    let config = SgdConfig {
        learning_rate: flags.learning_rate,
        epochs: common.epochs,
        seed,
        eval_every: common.epochs,
        ..SgdConfig::default()
    };
    let fitted = run.stage("training", common.epochs as u64, |stage| {
        let (network, theta0) = (&experiment.network, &experiment.theta0);
        Ok(fit(network, theta0, &train, Some(&test), &config, |_| {
            stage.advance(1);
            ControlFlow::Continue(())
        })?)
    })?;
    let last = fitted.history.last().context("no epoch was run")?;
    row.train_accuracy = last.train.map(|metrics| metrics.accuracy);
    row.test_accuracy = last.test.map(|metrics| metrics.accuracy);
    let trained = energy(run, flags, &experiment, &fitted.params)?;
    row.final_energy = Some(trained.ratio);
    row.final_energy_squared = Some(trained.squared);
    Ok(row)
}

/// Energy concentration of the class task on the first training images, at `theta`.
fn energy(
    run: &mut Run,
    flags: &Flags,
    experiment: &Experiment,
    theta: &Params,
) -> Result<entk::spectral::EnergyConcentration> {
    let n = flags.energy_images.unwrap_or(experiment.train);
    ensure!(
        n <= experiment.train && flags.top <= n,
        "--top {} and --energy-images {n} must not exceed --energy-images and --train {}",
        flags.top,
        experiment.train
    );
    let images = experiment.images.narrow(0, 0, n)?;
    let signs: Vec<f64> =
        experiment.labels[..n].iter().map(|label| 2.0 * f64::from(*label) - 1.0).collect();
    let gram = experiment.gram(run, theta, &images)?;
    run.stage("eigenpairs", 1, |_| {
        let pairs = eigsh(&gram, flags.top, &EigshConfig::default())?.pairs;
        Ok(energy_concentration(&pairs, &signs, flags.top)?)
    })
}
