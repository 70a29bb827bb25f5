//! What the benchmarks share: networks at their initial parameters and standard-normal images, all
//! from fixed seeds, and what the system says of this process. Called by the files in
//! `benches/benches/` and `benches/examples/`.

use std::fs;

use candle_core::{DType, Device, Tensor};
use entk::models::{
    Initializer, LeNet5Config, MlpConfig, Model, ModelError, Network, ParamSpec, Params,
};

/// An allocator that keeps the pages of freed tensors, for every program that uses this library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A network at its initial parameters, f32.
#[derive(Debug)]
pub struct Subject {
    /// Name in the benchmark's title.
    pub name: &'static str,
    /// The network.
    pub network: Network,
    /// Its parameters.
    pub theta: Params,
}

/// The paper's MLP and LeNet5 at their default sizes.
///
/// # Errors
/// None in practice; those of the tensor library.
pub fn subjects() -> Result<Vec<Subject>, ModelError> {
    [("mlp", MlpConfig::default().network()?), ("lenet5", LeNet5Config::default().network()?)]
        .into_iter()
        .map(|(name, network)| {
            let theta = network.init(0, DType::F32, &Device::Cpu)?;
            Ok(Subject { name, network, theta })
        })
        .collect()
}

/// `n` standard-normal images of 3 x 32 x 32.
///
/// # Errors
/// None in practice; those of the tensor library.
pub fn images(n: usize, dtype: DType) -> Result<Tensor, ModelError> {
    let spec = ParamSpec::trainable("images", &[n, 3, 32, 32], Initializer::Normal);
    let values = spec.draw(0);
    Ok(Tensor::from_vec(values, spec.shape, &Device::Cpu)?.to_dtype(dtype)?)
}

/// User and system time of this process; NaN where the system does not say.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    // Fields 14 and 15 of the line, in hundredths of a second.
    match (ticks(12), ticks(13)) {
        (Some(user), Some(system)) => (user + system) / 100.0,
        _ => f64::NAN,
    }
}

/// Peak resident memory; 0 where the system does not say.
#[must_use]
pub fn peak_megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
