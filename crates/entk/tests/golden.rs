//! The whole path against float64 reference values of an independent implementation
//! (`golden/README.md` says how they were made).

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use entk::{
    gram::{DeviceConfig, Engine, GramConfig, GramError, Strategy, gram},
    linearize::{Jacobian, Linearized},
    models::{MlpConfig, Model, Network, Params},
    spectral::{Gram, alignment, alignments, eigh, energy_concentration, rayleigh_alignment},
    train::logits,
};
use entk_testing::{direction, networks, relative_error, stream, test_device};
use safetensors::SafeTensors;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Two independent f64 implementations: round-off of sums of up to 3e5 terms.
const DOUBLE: f64 = 1e-10;
/// f32 against f64, relative to sqrt(K_ii K_jj) or to the norm of the vector.
const SINGLE: f64 = 1e-5;

struct Case {
    name: &'static str,
    network: Network,
    theta: Params,
    expected: Value,
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn cases() -> Result<Vec<Case>> {
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(path("expected.json"))?)?;
    (networks::REFERENCES.iter())
        .map(|(name, network)| {
            let network = networks::named(network)?;
            let file = path(&format!("{name}.safetensors"));
            let theta = Params::load(&network.specs(), file, DType::F64, test_device())?;
            let expected = expected["cases"][name].clone();
            assert!(expected.is_object(), "no reference values for {name}");
            Ok(Case { name, network, theta, expected })
        })
        .collect()
}

fn inputs() -> Result<Tensor> {
    let bytes = std::fs::read(path("inputs.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let view = file.tensor("normal")?;
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Tensor::from_vec(values, view.shape(), test_device())?.to_dtype(DType::F64)?)
}

/// A float64 array of `expected.safetensors`.
fn array(name: &str) -> Result<Vec<f64>> {
    array_of("expected.safetensors", name)
}

/// A float64 array of a reference file.
fn array_of(file: &str, name: &str) -> Result<Vec<f64>> {
    let bytes = std::fs::read(path(file))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let words = file.tensor(name)?.data().chunks_exact(8).map(<[u8; 8]>::try_from);
    Ok(words.map(|b| b.map(f64::from_le_bytes)).collect::<std::result::Result<_, _>>()?)
}

fn labels(n: usize) -> Vec<f64> {
    stream(n, 4).map(|v| if v >= 0.0 { 1.0 } else { -1.0 }).collect()
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

#[test]
fn parameter_counts() -> Result<()> {
    for case in cases()? {
        assert_eq!(Some(case.theta.count() as u64), case.expected["params"].as_u64());
    }
    assert_eq!(
        MlpConfig::default().network()?.init(0, DType::F32, test_device())?.count(),
        317_501
    );
    Ok(())
}

#[test]
fn outputs_jvp_and_vjp() -> Result<()> {
    let x = inputs()?;
    for case in cases()? {
        let jacobian = Jacobian::new(&case.network, &case.theta, &x)?.with_batch(10);
        let outputs = array(&format!("{}/outputs", case.name))?;
        let found = logits(&case.network, &case.theta, &x, 10)?;
        assert!(relative_error(&found, &outputs) <= DOUBLE, "{}", case.name);
        let v = direction(&case.network.specs())?;
        let jvp = array(&format!("{}/jvp", case.name))?;
        assert!(relative_error(&jacobian.jvp(&v)?, &jvp) <= DOUBLE, "{}", case.name);

        let u: Vec<f64> = stream(32, 2).collect();
        let gradient = jacobian.vjp(&u)?;
        let scale = gradient.norm()?;
        for (name, tensor) in gradient.iter() {
            let expected = &case.expected["vjp_fingerprint"][name];
            let flat = tensor.flatten_all()?.to_vec1::<f64>()?;
            let close = |got: f64, key: &str| {
                let error = (got - number(&expected[key])).abs();
                assert!(error <= DOUBLE * scale * (flat.len() as f64).sqrt(), "{name} {key}");
            };
            close(norm(&flat), "l2");
            close(flat.iter().sum(), "sum");
            let along = v.get(name)?.flatten_all()?.to_vec1::<f64>()?;
            close(flat.iter().zip(&along).map(|(a, b)| a * b).sum(), "dot_direction");
            let samples: Vec<f64> = (0..8).map(|j| flat[j * flat.len() / 8]).collect();
            let expected = numbers(&expected["samples"]);
            assert!(samples.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= DOUBLE * scale));
        }
    }
    Ok(())
}

/// Examples of a kernel of all sizes of memory: of few, since the least memory costs many sweeps;
/// more than a micro-batch, and no multiple of an edge.
const FEW: usize = 14;

/// Settings of the engine in tensor operations: all rows resident, and tiles resident, with as
/// little memory as the kernel can be assembled in, and with twice that.
fn devices(
    case: &Case,
    params: &Params,
    x: &Tensor,
    config: &GramConfig,
) -> Result<Vec<DeviceConfig>> {
    let mut devices = vec![DeviceConfig::default()];
    for (edge, times) in [(Some(5), 1), (None, 2)] {
        let device = |memory| DeviceConfig { memory: Some(memory), edge, ..Default::default() };
        let byte = GramConfig { engine: Engine::Tensors(device(1)), ..config.clone() };
        let Err(GramError::Memory { needed, .. }) = gram(&case.network, params, x, &byte) else {
            return Err("a kernel in one byte".into());
        };
        devices.push(device(times * needed));
    }
    Ok(devices)
}

#[test]
fn gram_on_a_device_in_both_precisions() -> Result<()> {
    let x = inputs()?.narrow(0, 0, FEW)?;
    for case in cases()? {
        let expected = array(&format!("{}/gram", case.name))?;
        for (dtype, tolerance) in [(DType::F64, DOUBLE), (DType::F32, SINGLE)] {
            let (theta, x) = (case.theta.to_dtype(dtype)?, x.to_dtype(dtype)?);
            let config = GramConfig { micro_batch: Some(10), ..GramConfig::default() };
            for device in devices(&case, &theta, &x, &config)? {
                let engine = Engine::Tensors(device.clone());
                let config = GramConfig { engine, ..config.clone() };
                let kernel = gram(&case.network, &theta, &x, &config)?;
                let error = entrywise_error(&kernel, &expected);
                assert!(error <= tolerance, "{} {dtype:?} {device:?}: {error:e}", case.name);
            }
        }
    }
    Ok(())
}

/// The largest error of an entry, relative to sqrt(K_ii K_jj); NaN if there is one. The kernel may
/// be of the first examples only.
fn entrywise_error(kernel: &Gram, expected: &[f64]) -> f64 {
    let all = expected.len().isqrt();
    entk_testing::entrywise_error(kernel.n(), |i, j| kernel.get(i, j), |i, j| expected[all * i + j])
}

#[test]
fn gram_in_double_precision_by_every_strategy() -> Result<()> {
    let x = inputs()?;
    for case in cases()? {
        let expected = array(&format!("{}/gram", case.name))?;
        for strategy in [Strategy::Structured, Strategy::JacobianContraction, Strategy::PerExample]
        {
            let config = GramConfig { strategy, ..GramConfig::default() };
            let kernel = gram(&case.network, &case.theta, &x, &config)?;
            let error = relative_error(&kernel.entries().to_f64_vec(), &expected);
            assert!(error <= DOUBLE, "{} {strategy:?}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn gram_and_products_in_single_precision() -> Result<()> {
    let x = inputs()?;
    for case in cases()? {
        let expected = array(&format!("{}/gram", case.name))?;
        let (theta, x) = (case.theta.to_dtype(DType::F32)?, x.to_dtype(DType::F32)?);
        for strategy in [Strategy::Structured, Strategy::JacobianContraction] {
            let config = GramConfig { strategy, ..GramConfig::default() };
            let kernel = gram(&case.network, &theta, &x, &config)?;
            let error = entrywise_error(&kernel, &expected);
            assert!(error <= SINGLE, "{} {strategy:?}: {error:e}", case.name);
        }
        let jacobian = Jacobian::new(&case.network, &theta, &x)?;
        let outputs = array(&format!("{}/outputs", case.name))?;
        let found = logits(&case.network, &theta, &x, 128)?;
        assert!(relative_error(&found, &outputs) <= SINGLE, "{}", case.name);
        let jvp = array(&format!("{}/jvp", case.name))?;
        let v = direction(&case.network.specs())?.to_dtype(DType::F32)?;
        assert!(relative_error(&jacobian.jvp(&v)?, &jvp) <= SINGLE, "{}", case.name);
    }
    Ok(())
}

#[test]
fn spectrum_alignment_and_energy() -> Result<()> {
    let x = inputs()?;
    let y = labels(32);
    for case in cases()? {
        let kernel = gram(&case.network, &case.theta, &x, &GramConfig::default())?;
        let pairs = eigh(&kernel)?;
        let expected = |key: &str| number(&case.expected[key]);
        let close = |got: f64, key: &str| {
            let error = (got - expected(key)).abs() / expected(key).abs();
            assert!(error <= DOUBLE, "{} {key}: {error:e}", case.name);
        };
        let top = numbers(&case.expected["top10_eigenvalues"]);
        assert!(relative_error(&pairs.values()[..10], &top) <= DOUBLE, "{}", case.name);
        close(kernel.trace()?, "trace");
        close(kernel.frobenius()?, "frobenius");
        close(alignment(&kernel, &y)?, "alignment_over_n2");
        close(rayleigh_alignment(&kernel, &y)?, "alignment_authors_over_yty");
        close(alignments(&kernel, &y)?[0], "alignment_over_n2");
        let jacobian = Jacobian::new(&case.network, &case.theta, &x)?;
        close(jacobian.alignment(&y)?, "alignment_over_n2");
        // The top ten are defined up to round-off over the gap to the eleventh.
        let gap = expected("eig_gap_10_11_rel");
        let energy = energy_concentration(&pairs, &y, 10)?;
        for (got, key) in
            [(energy.ratio, "energy_k10_norm_ratio"), (energy.squared, "energy_k10_squared_ratio")]
        {
            assert!((got - expected(key)).abs() <= DOUBLE / gap, "{} {key}", case.name);
        }
    }
    Ok(())
}

#[test]
fn a_linearization_has_the_same_gram_everywhere() -> Result<()> {
    let x = inputs()?;
    for case in cases()? {
        let linear = Linearized::new(&case.network, case.theta.clone());
        let far = case.theta.add_scaled(3.0, &direction(&case.network.specs())?)?;
        let here = gram(&linear, &case.theta, &x, &GramConfig::default())?;
        let there: Gram = gram(&linear, &far, &x, &GramConfig::default())?;
        assert_eq!(here.entries().to_f64_vec(), there.entries().to_f64_vec(), "{}", case.name);
    }
    Ok(())
}

/// One step in training mode: outputs, gradients through the batch statistics, new running
/// statistics.
#[test]
fn training_step_of_batch_norm_in_both_precisions() -> Result<()> {
    let targets: Vec<f64> = labels(32).iter().map(|y| (y + 1.0) / 2.0).collect();
    for case in cases()?.iter().filter(|case| case.name.starts_with("resnet")) {
        let file = format!("{}_training_step.safetensors", case.name);
        for (dtype, tolerance) in [(DType::F64, DOUBLE), (DType::F32, SINGLE)] {
            let theta = case.theta.to_dtype(dtype)?;
            let sweep = case.network.training_sweep(&theta, &inputs()?.to_dtype(dtype)?)?;
            let outputs = host(sweep.outputs())?;
            let error = relative_error(&outputs, &array_of(&file, "outputs")?);
            assert!(error <= tolerance, "{} {dtype:?} outputs: {error:e}", case.name);

            // The gradient of the mean sigmoid cross-entropy.
            let u =
                outputs.iter().zip(&targets).map(|(f, y)| (1.0 / (1.0 + (-f).exp()) - y) / 32.0);
            let u = Tensor::from_vec(u.collect::<Vec<f64>>(), (32, 1), test_device())?;
            let gradient = sweep.vjp(&u.to_dtype(dtype)?)?;
            let scale = gradient.norm()?;
            for (name, tensor) in gradient.iter() {
                let expected = array_of(&file, &format!("grad.{name}"))?;
                let difference: Vec<f64> =
                    host(tensor)?.iter().zip(&expected).map(|(a, b)| a - b).collect();
                let error = norm(&difference) / scale;
                assert!(error <= tolerance, "{} {dtype:?} {name}: {error:e}", case.name);
            }
            for (name, tensor) in sweep.statistics() {
                let expected = array_of(&file, &format!("new.{name}"))?;
                let error = relative_error(&host(tensor)?, &expected);
                assert!(error <= tolerance, "{} {dtype:?} {name}: {error:e}", case.name);
            }
            assert_eq!(sweep.statistics().len(), theta.statistics().count());
        }
    }
    Ok(())
}

fn host(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}
