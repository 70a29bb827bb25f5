//! Times of published networks at their own sizes, on random inputs, with one output.
//!
//!     cargo run --release -p entk-benches --example networks -- sweep mobilenet-v2 16
//!     cargo run --release -p entk-benches --example networks -- gram vit-tiny 64
//!     cargo run --release -p entk-benches --example networks -- plan gpt2-lora 60000
//!
//! Networks: mobilenet-v2 (64 x 64 pixels), vit-tiny (96 x 96), gpt2 (64 tokens), gpt2-lora (rank 8
//! on queries and values). A sweep is outputs and the summed gradient; its time the median of five.
//! A Gram is timed as often as a fourth argument says, by default once: the first one takes fresh
//! memory from the system. A plan is printed for inputs that need not exist.
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use candle_core::{DType, Device, Tensor};
use entk::{
    gram::{Assembly, GramConfig, gram, plan::Target},
    models::{
        Gpt2Config, Initializer, LanguageHead, Lora, MobileNetV2Config, Model, Network, ParamSpec,
        Params, VitConfig,
    },
};
use entk_benches as _;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "say sweep, gram or plan, the network, and how many inputs";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (what, name, count, times) = match arguments.as_slice() {
        [what, name, count] => (what, name, count, 1),
        [what, name, count, times] => (what, name, count, times.parse()?),
        _ => return Err(USAGE.into()),
    };
    let network = network(name)?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let active = network.active_parameters(&theta)?;
    println!("{name}: {} parameters, {} active", theta.count(), active.count());
    let count: usize = count.parse()?;
    match what.as_str() {
        "sweep" => sweep(&network, &theta, &inputs(&network, count)?),
        "gram" => {
            let x = inputs(&network, count)?;
            for _ in 0..times {
                let begin = Instant::now();
                let kernel = gram(&network, &theta, &x, &GramConfig::default())?;
                println!("gram: {:.3} s, trace {}", begin.elapsed().as_secs_f64(), kernel.trace()?);
            }
            Ok(())
        }
        "plan" => {
            let x = inputs(&network, count)?;
            println!(
                "{}",
                Assembly::new(&network, &theta, &x, &GramConfig::default())?
                    .plan(Target::Memory)?
            );
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn network(name: &str) -> Result<Network> {
    let gpt2 = Gpt2Config { tokens: 64, head: LanguageHead::Labels(1), ..Gpt2Config::default() };
    Ok(match name {
        "mobilenet-v2" => {
            let input = [3, 64, 64];
            MobileNetV2Config { input, outputs: 1, ..MobileNetV2Config::default() }.network()?
        }
        "vit-tiny" => {
            VitConfig { input: [3, 96, 96], outputs: 1, ..VitConfig::tiny() }.network()?
        }
        "gpt2" => gpt2.network()?,
        "gpt2-lora" => {
            let adapters = Lora::new(8, 16.0).on_part("*.attn.c_attn", "q", 0, 3).on_part(
                "*.attn.c_attn",
                "v",
                2,
                3,
            );
            adapters.apply(&gpt2.network()?)?
        }
        _ => return Err(USAGE.into()),
    })
}

/// Standard-normal images, or tokens without a pattern.
fn inputs(network: &Network, count: usize) -> Result<Tensor> {
    let shape = [&[count], network.input_shape()].concat();
    if shape.len() > 2 {
        let spec = ParamSpec::trainable("images", &shape, Initializer::Normal);
        return Ok(Tensor::from_vec(spec.draw(0), shape, &Device::Cpu)?.to_dtype(DType::F32)?);
    }
    let ids = (0..shape.iter().product::<usize>()).map(|at| (at * 40_503 % 50_257) as u32);
    Ok(Tensor::from_iter(ids, &Device::Cpu)?.reshape(shape)?)
}

fn sweep(network: &Network, params: &Params, x: &Tensor) -> Result<()> {
    let mut seconds = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        let sweep = network.sweep(params, x)?;
        sweep.vjp(&sweep.outputs().ones_like()?)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!("sweep: {:.3} s", seconds[2]);
    Ok(())
}
