//! Training of a linearization in coefficient space: data and a recipe come in, records of its
//! epochs go out, and for a kernel that is not exact how far it is from the exact one. Called by
//! the main of `train`.

use anyhow::Result;
use candle_core::Tensor;
use entk::{
    gram::{GramConfig, gram},
    train::{DualSgd, EpochRecord, KernelOutputs, Optimizer, SgdConfig, Targets, logits},
};
use entk_cli::{
    InitialKernel, KernelChoice, OutputChoice, OutputFlags, Run, ensure_input, fit_over, refused,
    say,
};
use serde::Serialize;

use crate::commands::train::{data::TrainingData, flags::Flags};

/// A linearization that was trained over a kernel.
pub struct DualResult {
    pub epochs: Vec<EpochRecord>,
    pub record: DualRecord,
}

/// Which kernel it was trained over.
#[derive(Serialize)]
pub struct DualRecord {
    #[serde(flatten)]
    pub kernel: KernelChoice,
    /// What stands for the block of every output: a number times the kernel; none if it is exact.
    pub pseudo_kernel_scale: Option<f64>,
    /// Logits beside those over the full kernel; none if it is exact.
    pub distance_to_exact: Option<LogitDistance>,
}

/// Logits z after training over a kernel that is not exact beside the exact ones z*, both on the
/// same training examples.
#[derive(Serialize)]
pub struct LogitDistance {
    /// Training examples, which both were trained on.
    pub examples: usize,
    /// Root of the mean of (z - z*)^2.
    pub rms: f64,
    /// ||z - z*|| / ||z* - f_0||.
    pub relative: Option<f64>,
    /// Share of examples with the same predicted class; none of real targets.
    pub same_prediction: Option<f64>,
}

/// Trains over the kernel of the flags.
pub fn train(
    run: &Run,
    flags: &Flags,
    data: &TrainingData,
    config: &SgdConfig,
) -> Result<DualResult> {
    ensure_input(config.optimizer == Optimizer::HeavyBall, || {
        "--dual: steps of Adam are no combinations of gradients; use --linearize".into()
    })?;
    let (choice, outputs) = kernel(flags, data)?;
    let TrainingData { network, theta0, inputs, targets, .. } = data;
    let kernel = InitialKernel::find(run, network, theta0, inputs, choice.outputs.kernel())?;
    let f0 = logits(network, theta0, inputs, config.eval_batch)?;
    let dual = DualSgd::with_outputs(&kernel.gram, outputs, data.train, &f0)?;
    let fits = fit_over(run, &dual, std::slice::from_ref(targets), config)?;
    let scale = match outputs {
        KernelOutputs::Pseudo { scale, .. } => Some(scale),
        _ => None,
    };
    let compare = |_| compare(run, flags, data, config, (choice.outputs, outputs));
    let distance_to_exact = scale.map(compare).transpose()?;
    let epochs = fits.into_iter().flat_map(|fit| fit.history.epochs).collect();
    let record = DualRecord { kernel: choice, pseudo_kernel_scale: scale, distance_to_exact };
    Ok(DualResult { epochs, record })
}

/// The kernel of the flags, and how its rows belong to the outputs.
fn kernel(flags: &Flags, data: &TrainingData) -> Result<(KernelChoice, KernelOutputs)> {
    let outputs = data.targets.outputs();
    let chosen = flags.outputs.unwrap_or(OutputChoice::Full);
    let choice = OutputFlags { outputs: Some(chosen) }.of(outputs)?;
    let mean = KernelOutputs::Pseudo { outputs, scale: 1.0 / outputs as f64 };
    let rows = match chosen {
        OutputChoice::Pairs => {
            return Err(refused(
                "--outputs pairs: blocks of pairs are no kernel to train over; take full",
            ));
        }
        _ if outputs == 1 => KernelOutputs::Full { outputs },
        OutputChoice::Full => KernelOutputs::Full { outputs },
        OutputChoice::Trace | OutputChoice::Sum => mean,
        OutputChoice::Class(_) => KernelOutputs::Pseudo { outputs, scale: 1.0 },
    };
    if flags.outputs.is_none() && outputs > 1 {
        say(format_args!("{outputs} outputs: --outputs full, exact, K = {}", choice.formula));
    }
    Ok((choice, rows))
}

/// Trains over both kernels of --compare training examples, evenly spread, and compares the logits
/// there.
fn compare(
    run: &Run,
    flags: &Flags,
    data: &TrainingData,
    config: &SgdConfig,
    approximate: (OutputChoice, KernelOutputs),
) -> Result<LogitDistance> {
    let count = flags.compare.clamp(1, data.train);
    let indices: Vec<u32> = (0..count).map(|at| (at * data.train / count) as u32).collect();
    let at = Tensor::new(indices.as_slice(), data.inputs.device())?;
    let (inputs, targets) = (data.inputs.index_select(&at, 0)?, data.targets.select(&indices));
    let f0 = logits(&data.network, &data.theta0, &inputs, config.eval_batch)?;
    let config = SgdConfig {
        batch: config.batch.min(count),
        eval_every: config.epochs,
        stop_at_loss: None,
        ..config.clone()
    };
    let outputs = targets.outputs();
    let trained = |(choice, rows): (OutputChoice, KernelOutputs)| -> Result<Vec<f64>> {
        let of_kernel = GramConfig { outputs: choice.kernel(), ..GramConfig::default() };
        let kernel = gram(&data.network, &data.theta0, &inputs, &of_kernel)?;
        let dual = DualSgd::with_outputs(&kernel, rows, count, &f0)?;
        Ok(dual.fit(std::slice::from_ref(&targets), &config)?.swap_remove(0).logits)
    };
    run.stage("comparison", 1, |_| {
        let exact = trained((OutputChoice::Full, KernelOutputs::Full { outputs }))?;
        Ok(distance(&trained(approximate)?, &exact, &f0, &targets))
    })
}

fn distance(found: &[f64], exact: &[f64], f0: &[f64], targets: &Targets) -> LogitDistance {
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let (error, moved) = (square(found, exact), square(exact, f0));
    let outputs = targets.outputs();
    let pairs = found.chunks_exact(outputs).zip(exact.chunks_exact(outputs));
    let same = pairs.filter(|(a, b)| largest(a) == largest(b)).count();
    let is_real = matches!(targets, Targets::Values { .. });
    LogitDistance {
        examples: targets.count(),
        rms: (error / found.len() as f64).sqrt(),
        relative: (moved > 0.0).then(|| (error / moved).sqrt()),
        same_prediction: (!is_real).then(|| same as f64 / targets.count() as f64),
    }
}

/// The index of the largest logit.
fn largest(row: &[f64]) -> usize {
    (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}
