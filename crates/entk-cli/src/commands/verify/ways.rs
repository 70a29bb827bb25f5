//! All comparisons, and among them the ways through the Gram engine that one Gram from memory does
//! not take: a device comes in, errors beside tolerances go out. Called by
//! its `run`.

use anyhow::Result;
use candle_core::{DType, Device, DeviceLocation, Tensor};
use entk::{
    device::{DeviceChoice, device_count, files},
    gram::{
        Accumulate, Assembly, DeviceConfig, Engine, GramConfig, GramError, Outputs, StoreConfig,
    },
    models::{MlpConfig, Model, Params},
    spectral::Gram,
};

use crate::commands::verify::{
    against_cpu::{Check, Comparison, DOUBLE, SLOPES, largest},
    cases::{cases, images},
};

/// Examples of a sweep: few, so that later ones read from the middle of their tensors.
const MICRO_BATCH: usize = 5;
/// Outputs of the network whose full kernel is compared.
const OUTPUTS: usize = 3;

/// Small tiles and sweeps, so that each is done several times.
fn small(n: usize) -> (GramConfig, DeviceConfig) {
    let config = GramConfig { micro_batch: Some(MICRO_BATCH), ..GramConfig::default() };
    (config, DeviceConfig { edge: Some(n.div_ceil(3)), ..DeviceConfig::default() })
}

/// All comparisons of all networks.
pub fn comparisons(device: &Device, quick: bool) -> Result<Vec<Check>> {
    let n = if quick { 12 } else { 48 };
    let mut checks = Vec::new();
    for case in cases(quick)? {
        let one = Comparison::new(&case, device, n)?;
        checks.extend(one.grams()?);
        checks.extend(one.ways()?);
        checks.extend(one.products()?);
        checks.push(one.training_step()?);
        checks.push(one.eigenvalues()?);
    }
    checks.push(full_kernel(device, n)?);
    Ok(checks)
}

impl Comparison<'_> {
    /// The Gram in all of these ways.
    fn ways(&self) -> Result<Vec<Check>> {
        let (config, device) = small(self.expected.n());
        let wide = GramConfig { accumulate: Accumulate::F64, ..config.clone() };
        let gram = |config, device: &_| -> Result<f64> {
            Ok(self.distance(&self.assembly(config, device)?.gram()?))
        };
        let resident = DeviceConfig { memory: Some(self.least_memory()?), ..device.clone() };
        let several = DeviceConfig { devices: vec![self.other_device()?], ..device.clone() };
        Ok(vec![
            self.check("Gram, several sweeps", "f32", gram(&config, &device)?, SLOPES),
            self.check("Gram, sums in f64", "f32", gram(&wide, &device)?, SLOPES),
            self.check("Gram, tiles that stay", "f32", gram(&config, &resident)?, SLOPES),
            self.check("Gram on two devices", "f32", gram(&config, &several)?, SLOPES),
            self.check("Gram of parameters in f64", "f64", self.double()?, DOUBLE),
            self.check("kernel between two samples", "f32", self.cross()?, SLOPES),
            self.check("Gram by way of a store", "f32", self.stored()?, SLOPES),
        ])
    }

    /// The least memory in which the Gram can be assembled, as the error about a byte says.
    fn least_memory(&self) -> Result<u64> {
        let (config, device) = small(self.expected.n());
        let byte = DeviceConfig { memory: Some(1), ..device };
        match self.assembly(&config, &byte)?.gram() {
            Err(GramError::Memory { needed, .. }) => Ok(needed),
            Err(error) => Err(error.into()),
            Ok(_) => anyhow::bail!("a Gram was assembled in one byte"),
        }
    }

    /// Another GPU, or where there is none the one at hand.
    fn other_device(&self) -> Result<Device> {
        let own = self.images[1].device();
        let ordinal = |gpu_id: &usize| own.location() != DeviceLocation::Cuda { gpu_id: *gpu_id };
        Ok(match (0..device_count()).find(ordinal) {
            Some(other) => DeviceChoice::Cuda(other).open()?.device,
            None => own.clone(),
        })
    }

    fn double(&self) -> Result<f64> {
        let device = self.images[1].device();
        let (theta, x) = (self.thetas[0].to_device(device)?, self.images[0].to_device(device)?);
        let (config, there) = small(self.expected.n());
        let config = GramConfig { engine: Engine::Tensors(there), ..config };
        Ok(self.distance(&Assembly::new(&self.case.network, &theta, &x, &config)?.gram()?))
    }

    fn cross(&self) -> Result<f64> {
        let (x, n, d) = (&self.images[1], self.expected.n(), self.expected.diagonal());
        let (rows, cols) = (n / 3, n - n / 3);
        let (config, device) = small(cols);
        let config = GramConfig { engine: Engine::Tensors(device), ..config };
        let few = x.narrow(0, 0, rows)?;
        let assembly = Assembly::new(&self.case.network, &self.thetas[1], &few, &config)?;
        let cross = assembly.cross(&x.narrow(0, rows, cols)?)?;
        let error = |(i, j): (usize, usize)| {
            let error = cross.get(i, j) - self.expected.get(i, rows + j);
            error.abs() / (d[i] * d[rows + j]).sqrt()
        };
        Ok(largest((0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))).map(error)))
    }

    fn stored(&self) -> Result<f64> {
        let (config, device) = small(self.expected.n());
        let folder = std::env::temp_dir().join(format!("entk-verify-{}", std::process::id()));
        let stored = StoreConfig { edge: self.expected.n().div_ceil(3), ..StoreConfig::default() };
        let report = self.assembly(&config, &device)?.store(&folder, &stored);
        let gram = report.and_then(|report| report.store.gram());
        files::remove_folder(&folder)?;
        Ok(self.distance(&gram?))
    }
}

/// The kernel of each pair of outputs of a network with several, against the CPU in f64.
fn full_kernel(device: &Device, n: usize) -> Result<Check> {
    let network = MlpConfig { outputs: OUTPUTS, ..MlpConfig::default() }.network()?;
    let single = network.init(0, DType::F32, &Device::Cpu)?;
    let x = images(&network, n, DType::F64, &Device::Cpu)?.to_dtype(DType::F32)?;
    let gram = |params: &Params, x: &Tensor, engine: Engine| -> Result<Gram> {
        let (config, _) = small(n);
        let config = GramConfig { outputs: Outputs::Full, engine, ..config };
        Ok(Assembly::new(&network, params, x, &config)?.gram()?)
    };
    let expected = gram(&single.to_dtype(DType::F64)?, &x.to_dtype(DType::F64)?, Engine::Auto)?;
    let engine = Engine::Tensors(small(n * OUTPUTS).1);
    let found = gram(&single.to_device(device)?, &x.to_device(device)?, engine)?;
    Ok(Check {
        what: format!("MLP of {OUTPUTS} outputs: full Gram"),
        arithmetic: "f32".into(),
        error: crate::commands::verify::against_cpu::distance(&found, &expected),
        tolerance: SLOPES,
    })
}
