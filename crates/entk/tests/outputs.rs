//! Kernels of ten outputs against float64 reference values of an independent autograd, at initial
//! and moved weights (`golden/README.md` says how they were made).

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use entk::{
    gram::{DeviceConfig, Engine, GramConfig, Outputs, Strategy, gram},
    models::{LeNet5Config, Model, Network, Params, ResNetConfig},
};
use entk_testing::{TestResult, entrywise_error, networks, stream};
use safetensors::SafeTensors;

/// Two independent f64 implementations: round-off of sums of up to 3e5 terms.
const DOUBLE: f64 = 1e-10;
/// f32 against f64.
const SINGLE: f64 = 1e-5;
const EXAMPLES: usize = 4;
const OUTPUTS: usize = 10;

struct Case {
    name: &'static str,
    network: Network,
    theta: Params,
    /// (N C, N C), row `n C + c`.
    full: Vec<f64>,
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn file(name: &str) -> TestResult<Vec<(String, Tensor)>> {
    let bytes = std::fs::read(path(name))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = |(key, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let dtype = view.dtype().try_into()?;
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        Ok((key.to_owned(), tensor.to_dtype(DType::F64)?))
    };
    file.iter().map(tensor).collect()
}

fn get(tensors: &[(String, Tensor)], name: &str) -> TestResult<Vec<f64>> {
    let found = tensors.iter().find(|(key, _)| key == name).ok_or_else(|| format!("no {name}"))?;
    Ok(found.1.flatten_all()?.to_vec1()?)
}

/// The stored weights of one output with a head of ten: streams 5 and 6, by the root of its inputs
/// and 10.
fn with_head(network: &Network, name: &str) -> TestResult<Params> {
    let stored = file(&format!("{name}.safetensors"))?;
    let head = if name.starts_with("lenet5") { "fc3" } else { "fc" };
    let values = |spec: &entk::models::ParamSpec| match spec.name.strip_prefix(head) {
        Some(".weight") => {
            let root = (spec.shape[1] as f64).sqrt();
            stream(spec.elem_count(), 5).map(|w| w / root).collect()
        }
        Some(".bias") => stream(OUTPUTS, 6).map(|b| b / 10.0).collect(),
        _ => get(&stored, &spec.name).unwrap_or_default(),
    };
    Ok(Params::from_fn(&network.specs(), DType::F64, &Device::Cpu, values)?)
}

fn cases() -> TestResult<Vec<Case>> {
    let lenet5 = || LeNet5Config { outputs: OUTPUTS, ..LeNet5Config::default() }.network();
    let resnet = || ResNetConfig { width: 8, outputs: OUTPUTS, ..Default::default() }.network();
    let expected = file("outputs.safetensors")?;
    let case = |name: &'static str| {
        let network = if name.starts_with("lenet5") { lenet5()? } else { resnet()? };
        let theta = with_head(&network, name)?;
        Ok(Case { name, network, theta, full: get(&expected, &format!("{name}/full"))? })
    };
    let names = networks::REFERENCES.iter().map(|(name, _)| *name);
    names
        .filter(|name| expected.iter().any(|(key, _)| *key == format!("{name}/full")))
        .map(case)
        .collect()
}

impl Case {
    /// The reference of a kernel: a sum of blocks of the full one.
    fn expected(&self, outputs: Outputs) -> Vec<f64> {
        let entry = |i: usize, j: usize| self.full[i * EXAMPLES * OUTPUTS + j];
        let blocks = |n: usize, m: usize, keep: &dyn Fn(usize, usize) -> bool| -> f64 {
            let all = (0..OUTPUTS * OUTPUTS).map(|at| (at / OUTPUTS, at % OUTPUTS));
            let kept = all.filter(|(c, d)| keep(*c, *d));
            kept.map(|(c, d)| entry(n * OUTPUTS + c, m * OUTPUTS + d)).sum()
        };
        let sum = |keep: &dyn Fn(usize, usize) -> bool| {
            let all = (0..EXAMPLES * EXAMPLES).map(|at| (at / EXAMPLES, at % EXAMPLES));
            all.map(|(n, m)| blocks(n, m, keep)).collect()
        };
        match outputs {
            Outputs::Trace => sum(&|c, d| c == d),
            Outputs::One(one) => sum(&|c, d| c == one && d == one),
            Outputs::SumOfLogits => sum(&|_, _| true),
            _ => self.full.clone(),
        }
    }

    fn check(&self, x: &Tensor, config: &GramConfig, tolerance: f64) -> TestResult {
        let theta = self.theta.to_dtype(x.dtype())?;
        let found = gram(&self.network, &theta, x, config)?;
        let (n, expected) = (found.n(), self.expected(config.outputs));
        assert_eq!(n * n, expected.len());
        let error = entrywise_error(n, |i, j| found.get(i, j), |i, j| expected[i * n + j]);
        assert!(error <= tolerance, "{} {config:?}: {error:e}", self.name);
        Ok(())
    }
}

fn kernels() -> Vec<Outputs> {
    let ones = (0..OUTPUTS).map(Outputs::One);
    [Outputs::Full, Outputs::Trace, Outputs::SumOfLogits].into_iter().chain(ones).collect()
}

fn inputs() -> TestResult<Tensor> {
    let tensors = file("inputs.safetensors")?;
    let normal = tensors.iter().find(|(key, _)| key == "normal").ok_or("no inputs")?;
    Ok(normal.1.narrow(0, 0, EXAMPLES)?)
}

#[test]
fn all_kernels_of_ten_outputs_by_both_engines() -> TestResult {
    let x = inputs()?;
    let cases = cases()?;
    assert_eq!(cases.len(), 4);
    for (case, outputs) in
        cases.iter().flat_map(|case| kernels().into_iter().map(move |o| (case, o)))
    {
        let config = GramConfig { outputs, ..GramConfig::default() };
        case.check(&x, &config, DOUBLE)?;
        let device = DeviceConfig { edge: Some(3), ..DeviceConfig::default() };
        let engine = Engine::Tensors(device);
        case.check(&x, &GramConfig { engine, ..config.clone() }, DOUBLE)?;
        case.check(&x.to_dtype(DType::F32)?, &config, SINGLE)?;
    }
    Ok(())
}

#[test]
fn jacobians_of_ten_outputs() -> TestResult {
    let x = inputs()?;
    for (case, outputs) in
        cases()?.iter().flat_map(|case| kernels().into_iter().take(3).map(move |o| (case, o)))
    {
        let strategy = Strategy::JacobianContraction;
        case.check(&x, &GramConfig { outputs, strategy, ..GramConfig::default() }, DOUBLE)?;
    }
    Ok(())
}
