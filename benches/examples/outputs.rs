//! Times of the kernels of several outputs beside that of one, on random images.
//!
//!     cargo run --release -p entk-benches --example outputs -- lenet5 500 10 5
//!     cargo run --release -p entk-benches --example outputs -- wide 64 1000 3 trace
//!
//! Network, examples, outputs, repetitions in alternation (0: plans alone), and, unless all, which
//! kernel (one, sum, trace or full), and examples of a micro-batch. A line a kernel: median wall
//! seconds, their ratio to those of one output, median CPU seconds, and the peak resident memory so
//! far.
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use candle_core::{DType, Device};
use entk::{
    gram::{Assembly, GramConfig, Outputs, plan::Target},
    models::{LeNet5Config, MlpConfig, MobileNetV2Config, Model, Network, ResNetConfig},
};
use entk_benches::{cpu_seconds, images, peak_megabytes};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The kernels by name.
const KERNELS: [(&str, Outputs); 4] = [
    ("one", Outputs::One(0)),
    ("sum", Outputs::SumOfLogits),
    ("trace", Outputs::Trace),
    ("full", Outputs::Full),
];

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let word = |at: usize, default: &str| words.get(at).map_or(default, String::as_str).to_owned();
    let (n, outputs) = (word(1, "500").parse()?, word(2, "10").parse()?);
    let network = network(&word(0, "lenet5"), outputs)?;
    let (reps, kernel) = (word(3, "3").parse()?, word(4, ""));
    let micro_batch = words.get(5).map(|word| word.parse()).transpose()?;
    let chosen = KERNELS.iter().filter(|(name, _)| kernel.is_empty() || *name == kernel);
    let chosen: Vec<_> = chosen.collect();

    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let x = images(n, DType::F32)?;
    let mut times = vec![Vec::new(); chosen.len()];
    let mut peaks = vec![0; chosen.len()];
    for _ in 0..reps {
        for (at, (_, outputs)) in chosen.iter().enumerate() {
            let config = GramConfig { outputs: *outputs, micro_batch, ..GramConfig::default() };
            let (wall, cpu) = (Instant::now(), cpu_seconds());
            Assembly::new(&network, &theta, &x, &config)?.gram()?;
            times[at].push((wall.elapsed().as_secs_f64(), cpu_seconds() - cpu));
            peaks[at] = peak_megabytes();
        }
    }
    let medians: Vec<_> = times.into_iter().map(medians).collect();
    for (((name, outputs), (wall, cpu)), peak) in chosen.iter().zip(&medians).zip(peaks) {
        let ratio = wall / medians[0].0;
        println!("{name}: wall {wall:.3} s, x {ratio:.2}, cpu {cpu:.2} s, peak {peak} MB");
        let config = GramConfig { outputs: *outputs, micro_batch, ..GramConfig::default() };
        let plan = Assembly::new(&network, &theta, &x, &config)?.plan(Target::Memory)?;
        println!("  planned {} MB", plan.peak() >> 20);
        if reps == 0 {
            println!("{plan}");
        }
    }
    Ok(())
}

fn network(name: &str, outputs: usize) -> Result<Network> {
    Ok(match name {
        "lenet5" => LeNet5Config { outputs, ..LeNet5Config::default() }.network()?,
        "mlp" => MlpConfig { outputs, ..MlpConfig::default() }.network()?,
        "wide" => {
            MlpConfig { outputs, hidden: vec![2048, 2048], ..MlpConfig::default() }.network()?
        }
        "resnet" => ResNetConfig { outputs, ..ResNetConfig::default() }.network()?,
        "mobilenet" => {
            let input = [3, 32, 32];
            MobileNetV2Config { outputs, input, ..MobileNetV2Config::default() }.network()?
        }
        _ => return Err("say lenet5, mlp, wide, resnet or mobilenet".into()),
    })
}

/// Of wall and of CPU seconds.
fn medians(times: Vec<(f64, f64)>) -> (f64, f64) {
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = times.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    (median(|t| t.0), median(|t| t.1))
}
