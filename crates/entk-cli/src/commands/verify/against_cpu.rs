//! Whether a device computes right: a device comes in, errors against known answers and against the
//! CPU in f64 go out, beside what is allowed. Called by its `run`.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use entk::{
    device::{Precision, self_test},
    gram::{Assembly, DeviceConfig, Engine, GramConfig},
    models::{Model, Params},
    spectral::{EigshConfig, Gram, Solver, eigh, eigsh},
    train::{Examples, SgdConfig, Trainer},
};
use serde::Serialize;

use crate::commands::verify::cases::{Case, images};

/// Round-off of sums of a few hundred thousand terms in f32, relative to the norms of what is
/// multiplied.
const SINGLE: f64 = 1e-5;
/// What derivatives may be off in f32: a ReLU whose input is within round-off of 0 may take either
/// slope, which moves the derivatives of its example by the share of one unit. One of those of 48
/// images does so in the moved ResNet18, on the CPU too: 1.1e-5 of J v; with GELUs it is 2e-7.
pub const SLOPES: f64 = 5e-5;
/// That of [`SINGLE`] in f64.
pub const DOUBLE: f64 = 1e-12;
/// Gradients through batch statistics and momentum add up to a few times the round-off of one
/// product in a step.
const STEP: f64 = 5e-5;
/// How much larger rounded inputs may make an error: products of pixels cancel where rows do not.
const CANCELLATION: f64 = 4.0;
/// Eigenvalues that are compared.
const PAIRS: usize = 4;

/// An error beside its tolerance.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub what: String,
    pub arithmetic: String,
    pub error: f64,
    pub tolerance: f64,
}

impl Check {
    /// Whether the error is within the tolerance; false for NaN.
    pub fn passed(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// The known answers of all kernels.
pub fn kernels(device: &Device) -> Result<Vec<Check>> {
    let checks = self_test(device)?.into_iter().map(|check| Check {
        what: check.kernel.clone(),
        arithmetic: format!("{:?}", check.dtype),
        error: check.worst,
        tolerance: check.tolerance,
    });
    Ok(checks.collect())
}

/// A network at its parameters on some images, on the CPU in f64 and on the device in f32: the same
/// numbers, those of f32, so that only arithmetic differs.
pub struct Comparison<'a> {
    pub case: &'a Case,
    pub images: [Tensor; 2],
    pub thetas: [Params; 2],
    pub expected: Gram,
}

impl<'a> Comparison<'a> {
    pub fn new(case: &'a Case, device: &Device, n: usize) -> Result<Self> {
        let single = images(&case.network, n, DType::F64, &Device::Cpu)?.to_dtype(DType::F32)?;
        let images = [single.to_dtype(DType::F64)?, single.to_device(device)?];
        let single = case.theta.to_dtype(DType::F32)?;
        let thetas = [single.to_dtype(DType::F64)?, single.to_device(device)?];
        let config = GramConfig::default();
        let expected = Assembly::new(&case.network, &thetas[0], &images[0], &config)?.gram()?;
        Ok(Self { case, images, thetas, expected })
    }

    pub fn check(
        &self,
        what: &str,
        arithmetic: impl ToString,
        error: f64,
        tolerance: f64,
    ) -> Check {
        let what = format!("{}: {what}", self.case.name);
        Check { what, arithmetic: arithmetic.to_string(), error, tolerance }
    }

    pub fn assembly<'s>(
        &'s self,
        config: &GramConfig,
        device: &DeviceConfig,
    ) -> Result<Assembly<'s>> {
        let config = GramConfig { engine: Engine::Tensors(device.clone()), ..config.clone() };
        Ok(Assembly::new(&self.case.network, &self.thetas[1], &self.images[1], &config)?)
    }

    /// The Gram in every precision of f32 numbers, tile by tile.
    pub fn grams(&self) -> Result<Vec<Check>> {
        let (n, config) = (self.expected.n(), GramConfig::default());
        let mut checks = Vec::new();
        for precision in Precision::ALL.into_iter().filter(|p| *p != Precision::F64) {
            let edge = Some(n.div_ceil(3));
            let device = DeviceConfig { precision: Some(precision), edge, ..Default::default() };
            let e = precision.input_error();
            let tolerance = SLOPES + CANCELLATION * (2.0 * e + e * e);
            let error = self.distance(&self.assembly(&config, &device)?.gram()?);
            checks.push(self.check("Gram", precision, error, tolerance));
        }
        Ok(checks)
    }

    pub fn distance(&self, kernel: &Gram) -> f64 {
        distance(kernel, &self.expected)
    }

    /// f, J v and J^T u.
    pub fn products(&self) -> Result<Vec<Check>> {
        let (network, [double, single]) = (&self.case.network, &self.images);
        let v = Params::standard_normal(&network.specs(), 2, DType::F32, &Device::Cpu)?;
        let (v, v_there) = (v.to_dtype(DType::F64)?, v.to_device(single.device())?);
        let [theta, theta_there] = &self.thetas;
        let (here, there) = (network.sweep(theta, double)?, network.sweep(theta_there, single)?);
        let u = (here.outputs().ones_like()? * 0.5)?;
        let u_there = u.to_dtype(DType::F32)?.to_device(single.device())?;
        let gradient = here.vjp(&u)?;
        let difference = on_host(&there.vjp(&u_there)?)?.sub(&gradient)?;
        let backward = difference.norm()? / gradient.norm()?;
        Ok(vec![
            self.check("outputs", "f32", relative(there.outputs(), here.outputs())?, SINGLE),
            self.check("J v", "f32", relative(&there.jvp(&v_there)?, &here.jvp(&v)?)?, SLOPES),
            self.check("J^T u", "f32", backward, SLOPES),
        ])
    }

    /// The distance of the parameters after an epoch of two steps from those of the CPU, over the
    /// length of the move.
    pub fn training_step(&self) -> Result<Check> {
        let n = self.expected.n();
        let labels: Vec<u8> = (0..n).map(|i| (i * i % 3 % 2) as u8).collect();
        let config =
            SgdConfig { batch: n / 2, epochs: 1, learning_rate: 0.02, ..SgdConfig::default() };
        let end = |params: &Params, images: &Tensor| -> Result<Params> {
            let examples = Examples::new(images.clone(), labels.clone())?;
            let mut trainer = Trainer::new(&self.case.network, params, &examples, None, &config)?;
            trainer.step_epoch()?;
            let moved = trainer.params().sub(trainer.start())?;
            on_host(&moved)
        };
        let [theta, theta_there] = &self.thetas;
        let (here, there) = (end(theta, &self.images[0])?, end(theta_there, &self.images[1])?);
        // Parameters are f32 numbers: what a step adds to them is rounded to their last bit.
        let rounding = f64::from(f32::EPSILON) * theta.norm()? / here.norm()?;
        let error = there.sub(&here)?.norm()? / here.norm()?;
        Ok(self.check("training epoch of two steps", "f32", error, STEP + rounding))
    }

    /// The largest eigenvalues by blocks of vectors on the device, relative to the first.
    pub fn eigenvalues(&self) -> Result<Check> {
        let expected = eigh(&self.expected)?;
        let resident =
            self.assembly(&GramConfig::default(), &DeviceConfig::default())?.resident_gram()?;
        let solver =
            EigshConfig { solver: Solver::Krylov, block: Some(4), ..EigshConfig::default() };
        let pairs = eigsh(&resident, PAIRS, &solver)?.pairs;
        let errors = pairs.values().iter().zip(expected.values()).map(|(a, b)| (a - b).abs());
        let worst = largest(errors);
        // Entries that err by e sqrt(K_ii K_jj) move no eigenvalue further than e times the trace.
        let trace: f64 = expected.values().iter().sum();
        Ok(self.check("eigenvalues", "f32", worst / trace, SINGLE))
    }
}

/// The parameters in f64 on the CPU.
fn on_host(parameters: &Params) -> Result<Params> {
    Ok(parameters.to_device(&Device::Cpu)?.to_dtype(DType::F64)?)
}

/// max |K_ij - expected_ij| / sqrt(K_ii K_jj); NaN if there is one.
pub fn distance(kernel: &Gram, expected: &Gram) -> f64 {
    let (n, d) = (kernel.n(), expected.diagonal());
    let error = |(i, j): (usize, usize)| {
        (kernel.get(i, j) - expected.get(i, j)).abs() / (d[i] * d[j]).sqrt()
    };
    let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
    largest(pairs.map(error))
}

/// The largest of some errors; NaN if one of them is.
pub fn largest(errors: impl Iterator<Item = f64>) -> f64 {
    let larger = |worst: f64, e: f64| if worst.is_nan() || e <= worst { worst } else { e };
    errors.fold(0.0, larger)
}

/// ||a - b|| / ||b||.
fn relative(a: &Tensor, b: &Tensor) -> Result<f64> {
    let a = a.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let norm = |t: &Tensor| -> Result<f64> { Ok(t.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt()) };
    Ok(norm(&(a - b)?)? / norm(b)?)
}
