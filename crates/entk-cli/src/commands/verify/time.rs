//! How fast a device is: a device and sizes come in; rates of copies and products go out, and times
//! beside the floor that these rates set. Called by its `run`.

use std::{hint::black_box, time::Instant};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use entk::{
    device::{HostCopies, Operand, Precision, add_product},
    gram::{
        Assembly, DeviceConfig, Engine, GramConfig,
        plan::{Plan, Target},
    },
    models::Model,
    spectral::{EigshConfig, Solver, eigsh},
    train::{Examples, SgdConfig, Trainer},
};
use serde::Serialize;

use crate::commands::verify::cases::{Case, cases, images};

/// Repetitions of a rate, of which the fastest counts.
const REPEATS: usize = 5;
/// Columns that one product of a Gram sums.
const COLUMNS: usize = 8192;
/// Entries that are compared with gradients in f64.
const CHECKED: usize = 4;

/// The sizes of all that is timed.
pub struct CheckSizes {
    pub quick: bool,
    pub max_n: usize,
    /// Bytes copied.
    copied: usize,
    /// Edge of the products.
    edge: usize,
    /// Images of a sweep, and of an epoch.
    micro_batch: usize,
    epoch: usize,
    /// Images and pairs of the spectrum.
    spectrum: [usize; 2],
}

impl CheckSizes {
    pub fn new(quick: bool, max_n: usize) -> Self {
        let (copied, edge) = if quick { (4 << 20, 192) } else { (2 << 30, 8192) };
        let (micro_batch, epoch) = if quick { (16, 64) } else { (256, 10_000) };
        let spectrum = if quick { [96, 4] } else { [60_000.min(max_n), 1_000.min(max_n / 4)] };
        Self { quick, max_n, copied, edge, micro_batch, epoch, spectrum }
    }
}

/// What a device was measured to do in a second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rates {
    /// Bytes read and written by copies on the device.
    pub copy: f64,
    /// Bytes copied to the host.
    pub to_host: f64,
    /// Operations of square products.
    pub products: Vec<(String, f64)>,
}

impl Rates {
    fn of(&self, precision: Precision) -> f64 {
        let name = precision.to_string();
        self.products.iter().find(|(of, _)| *of == name).map_or(f64::NAN, |(_, rate)| *rate)
    }
}

/// A measured time beside its floor.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    pub what: String,
    pub n: usize,
    pub precision: String,
    pub seconds: f64,
    /// Operations at the measured product rates and bytes at the measured bandwidths.
    pub floor_s: f64,
    pub operations: f64,
    pub bytes: f64,
    /// The largest error of a few entries against f64, relative to sqrt(K_ii K_jj).
    pub error: Option<f64>,
}

/// Seconds of the fastest of several runs; the device is idle before and after each.
fn fastest(device: &Device, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?; // compiles kernels and fills caches
    let mut seconds = f64::MAX;
    for _ in 0..REPEATS {
        device.synchronize()?;
        let start = Instant::now();
        work()?;
        device.synchronize()?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// Copies, and products in every precision.
pub fn rates(device: &Device, sizes: &CheckSizes) -> Result<Rates> {
    let block = Tensor::zeros(sizes.copied / 4, DType::F32, device)?;
    let copy = fastest(device, || Ok(block.copy().map(drop)?))?;
    // By way of page-locked memory, as tiles go; the first entry is read, so that it has arrived.
    let mut copies = HostCopies::<f32>::new(device, block.elem_count(), 1)?;
    let to_host = fastest(device, || {
        copies.start(block.clone())?;
        copies.take(|entries| black_box(entries[0]))?;
        Ok(())
    })?;
    let products = Precision::ALL.into_iter().map(|precision| {
        let dtype = if precision == Precision::F64 { DType::F64 } else { DType::F32 };
        let (edge, sum) = (sizes.edge, Tensor::zeros((sizes.edge, sizes.edge), dtype, device)?);
        // Random numbers: products of constant ones take less power, and run at a higher clock.
        let rows = Operand::new(&sum.rand_like(-1.0, 1.0)?, precision)?;
        let seconds = fastest(device, || Ok(add_product(&sum, &rows, &rows.t()?)?))?;
        // A split product counts as one product; that it takes three is its cost.
        Ok((precision.to_string(), 2.0 * (edge as f64).powi(3) / seconds))
    });
    Ok(Rates {
        copy: 2.0 * sizes.copied as f64 / copy,
        to_host: sizes.copied as f64 / to_host,
        products: products.collect::<Result<_>>()?,
    })
}

/// Grams of growing size, an epoch, and eigenpairs; `show` sees each as soon as it is measured.
pub fn times(
    device: &Device,
    sizes: &CheckSizes,
    rates: &Rates,
    show: impl Fn(&Time) -> Result<()>,
) -> Result<Vec<Time>> {
    let mut times = Vec::new();
    let mut add = |time: Time| -> Result<()> {
        show(&time)?;
        times.push(time);
        Ok(())
    };
    for case in cases(sizes.quick)? {
        for &n in case.grams.iter().filter(|n| **n <= sizes.max_n) {
            for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
                add(gram(&case, device, n, precision, sizes, rates)?)?;
            }
        }
        add(epoch(&case, device, sizes, rates)?)?;
    }
    if let Some(time) = spectrum(device, sizes, rates)? {
        add(time)?;
    }
    Ok(times)
}

/// Settings of a kernel in tensor operations.
fn config(sizes: &CheckSizes, device: DeviceConfig) -> GramConfig {
    let engine = Engine::Tensors(device);
    GramConfig { micro_batch: Some(sizes.micro_batch), engine, ..GramConfig::default() }
}

/// A Gram from images on the device to entries on the host.
fn gram(
    case: &Case,
    device: &Device,
    n: usize,
    precision: Precision,
    sizes: &CheckSizes,
    rates: &Rates,
) -> Result<Time> {
    let theta = case.theta.to_dtype(DType::F32)?.to_device(device)?;
    let x = images(&case.network, n, DType::F32, device)?;
    let settings = DeviceConfig { precision: Some(precision), ..DeviceConfig::default() };
    let config = config(sizes, settings);
    let assembly = Assembly::new(&case.network, &theta, &x, &config)?;
    let plan = assembly.plan(Target::Memory)?;
    // Compiles kernels, and lets libraries choose theirs.
    let few = x.narrow(0, 0, n.min(sizes.micro_batch))?;
    Assembly::new(&case.network, &theta, &few, &config)?.gram()?;
    device.synchronize()?;
    let start = Instant::now();
    let kernel = assembly.gram()?;
    let seconds = start.elapsed().as_secs_f64();
    let error = assembly.estimate_error(CHECKED, 0, |i, j| Ok(kernel.get(i, j)))?.largest;
    let (bytes, to_host) = (kernel_bytes(&plan), (n * n) as f64 * 2.0);
    let floor_s = plan.sweep_operations() / rates.of(Precision::F32)
        + plan.operations() / rates.of(precision)
        + bytes / rates.copy
        + to_host / rates.to_host;
    Ok(Time {
        what: format!("{}: Gram", case.name),
        n,
        precision: precision.to_string(),
        seconds,
        floor_s,
        operations: plan.sweep_operations() + plan.operations(),
        bytes: bytes + to_host,
        error: Some(error),
    })
}

/// Bytes of the tiles, which every product of so many columns reads and writes.
fn kernel_bytes(plan: &Plan) -> f64 {
    let columns: usize = plan.layers().iter().map(|layer| layer.columns).sum();
    (plan.n() as f64).powi(2) / 2.0 * 4.0 * 2.0 * columns.div_ceil(COLUMNS) as f64
}

/// One epoch of SGD with the paper's settings.
fn epoch(case: &Case, device: &Device, sizes: &CheckSizes, rates: &Rates) -> Result<Time> {
    let theta = case.theta.to_dtype(DType::F32)?.to_device(device)?;
    let n = sizes.epoch.min(sizes.max_n);
    let x = images(&case.network, n, DType::F32, device)?;
    let examples = Examples::new(x, (0..n).map(|i| (i % 3 % 2) as u8).collect::<Vec<_>>())?;
    let config = SgdConfig {
        epochs: 2,
        learning_rate: 1e-4,
        batch: SgdConfig::default().batch.min(n),
        ..SgdConfig::default()
    };
    let mut trainer = Trainer::new(&case.network, &theta, &examples, None, &config)?;
    trainer.step_epoch()?; // compiles kernels
    device.synchronize()?;
    let start = Instant::now();
    trainer.step_epoch()?;
    device.synchronize()?;
    // A step is a forward pass and two gradients; metrics over all examples are one more forward
    // pass.
    let operations = 4.0 * case.network.operations() * n as f64;
    Ok(Time {
        what: format!("{}: training epoch", case.name),
        n,
        precision: Precision::F32.to_string(),
        seconds: start.elapsed().as_secs_f64(),
        floor_s: operations / rates.of(Precision::F32),
        operations,
        bytes: 0.0,
        error: None,
    })
}

/// The leading eigenpairs of LeNet5's Gram.
fn spectrum(device: &Device, sizes: &CheckSizes, rates: &Rates) -> Result<Option<Time>> {
    let [n, pairs] = sizes.spectrum;
    let Some(case) = cases(sizes.quick)?.into_iter().find(|case| case.name == "LeNet5") else {
        return Ok(None);
    };
    let theta = case.theta.to_dtype(DType::F32)?.to_device(device)?;
    let x = images(&case.network, n, DType::F32, device)?;
    let config = config(sizes, DeviceConfig::default());
    let assembly = Assembly::new(&case.network, &theta, &x, &config)?;
    let resident = assembly.resident_gram()?;
    device.synchronize()?;
    let start = Instant::now();
    let solver = if sizes.quick { Solver::Krylov } else { Solver::Auto };
    let block = sizes.quick.then_some(8);
    let top = eigsh(&resident, pairs, &EigshConfig { solver, block, ..EigshConfig::default() })?;
    let seconds = start.elapsed().as_secs_f64();
    let operations = 2.0 * (n as f64).powi(2) * top.products as f64;
    // One pass over the triangle, in f32, for each block of columns.
    let bytes = (n as f64).powi(2) / 2.0 * 4.0 * (top.products as f64 / 128.0);
    Ok(Some(Time {
        what: format!("{}: {pairs} eigenpairs", case.name),
        n,
        precision: Precision::F64.to_string(),
        seconds,
        floor_s: operations / rates.of(Precision::F64) + bytes / rates.copy,
        operations,
        bytes,
        error: top.residuals.first().map(|residual| residual / top.pairs.values()[0]),
    }))
}
