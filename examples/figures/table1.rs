//! Table 1: how much of the class task lies in the top eigenfunctions of the kernel, at
//! initialisation and after training, and the test accuracy that training reaches.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::Parser;
use entk::{models::Params, spectral::EnergyConcentration};
use entk_examples::{
    DataPool, Defaults, Experiment, FigureFlags, ModelName, Run, Size, last_epoch, parse_flags,
    summarize,
};
use serde::Serialize;

/// Energy concentration of the class task at initialisation and after training, and accuracy (Table
/// 1).
#[derive(Parser, Serialize)]
#[command(name = "table1", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// Leading eigenfunctions K
    #[arg(long, value_name = "K", default_value_t = 50)]
    top: usize,

    /// Training images on which the energy is measured [default: all of --train]
    #[arg(long, value_name = "N")]
    energy_images: Option<usize>,

    /// Energies at initialisation only
    #[arg(long)]
    initial_only: bool,
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
        train: Size::new(2_000, 1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(50, 30),
        seeds: 3,
        ..Defaults::default()
    });
    let mut run = flags.figure.common.start("table1")?;
    let source = DataPool::load(&flags.figure.common)?;
    let rows = flags.figure.rows(&mut run, "table1", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        Ok(vec![one_seed(run, &flags, figure, &experiment)?])
    })?;
    let median = |value: fn(&Row) -> Option<f64>| {
        summarize(&rows.iter().filter_map(value).collect::<Vec<_>>())
    };
    let results = serde_json::json!({
        "origin": source.origin(),
        "initial_energy": median(|row| Some(row.initial_energy)),
        "final_energy": median(|row| row.final_energy),
        "test_accuracy": median(|row| row.test_accuracy),
    });
    run.finish(flags.figure.common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    flags: &Flags,
    figure: &FigureFlags,
    experiment: &Experiment,
) -> Result<Row> {
    let initial = energy(run, flags, experiment, &experiment.theta0)?;
    let mut row = Row {
        seed: figure.common.seed,
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
    let class_task = experiment.class_task()?;
    let fits = experiment.networks(run, &[class_task], &figure.sgd())?;
    let (_, train, test) = last_epoch(&fits[0].history)?;
    let trained = energy(run, flags, experiment, &fits[0].params)?;
    row.train_accuracy = Some(train.accuracy);
    row.test_accuracy = Some(test.accuracy);
    row.final_energy = Some(trained.ratio);
    row.final_energy_squared = Some(trained.squared);
    Ok(row)
}

/// Energy concentration of the class task on the first training images, at `params`.
fn energy(
    run: &mut Run,
    flags: &Flags,
    experiment: &Experiment,
    params: &Params,
) -> Result<EnergyConcentration> {
    let n = flags.energy_images.unwrap_or(experiment.train);
    ensure!(
        n <= experiment.train && flags.top <= n,
        "--top {} and --energy-images {n} must not exceed --energy-images and --train {}",
        flags.top,
        experiment.train
    );
    let signs = experiment.class_task()?.target.signs();
    experiment.energy(run, params, &signs[..n], flags.top)
}
