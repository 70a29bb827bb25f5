//! Published networks of every kind against float64 reference values of an independent autograd,
//! at the initial law and at moved weights (`golden/README.md` says how they were made).

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use entk::{
    gram::{DeviceConfig, Engine, GramConfig, Outputs, Strategy, gram},
    models::{Model, Network, Params},
};
use entk_testing::{
    TestResult, direction, entrywise_error,
    published::{PUBLISHED, published},
    relative_error, stream,
};
use safetensors::SafeTensors;

/// Two independent f64 implementations: round-off of sums of some thousand terms.
const DOUBLE: f64 = 1e-10;
const OUTPUTS: usize = 3;

/// The reference values of one network.
struct Reference {
    name: &'static str,
    network: Network,
    tensors: Vec<(String, Tensor)>,
}

impl Reference {
    fn read(name: &'static str) -> TestResult<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/networks");
        let bytes = std::fs::read(folder.join(format!("{name}.safetensors")))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let tensors = (file.iter())
            .filter(|(key, _)| !key.ends_with("num_batches_tracked"))
            .map(|(key, view)| Ok((key.to_owned(), tensor(&view)?)))
            .collect::<TestResult<_>>()?;
        Ok(Self { name, network: published(name)?, tensors })
    }

    fn get(&self, key: &str) -> TestResult<&Tensor> {
        let found = self.tensors.iter().find(|(name, _)| name == key);
        Ok(&found.ok_or_else(|| format!("{}: no {key}", self.name))?.1)
    }

    fn values(&self, key: &str) -> TestResult<Vec<f64>> {
        host(self.get(key)?)
    }

    /// The state dict: the names and shapes are those of the network, no more and no fewer.
    fn theta(&self, point: &str) -> TestResult<Params> {
        let prefix = format!("{point}/state/");
        let mut found: Vec<_> = (self.tensors.iter())
            .filter_map(|(key, t)| Some((key.strip_prefix(&prefix)?.to_owned(), t.dims())))
            .collect();
        let specs = self.network.specs();
        let mut expected: Vec<_> =
            specs.iter().map(|s| (s.name.clone(), s.shape.as_slice())).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{}", self.name);
        let values = |name: &str| self.values(&format!("{prefix}{name}")).unwrap_or_default();
        Ok(Params::from_fn(&specs, DType::F64, &Device::Cpu, |spec| values(&spec.name))?)
    }
}

fn tensor(view: &safetensors::tensor::TensorView<'_>) -> TestResult<Tensor> {
    let (bytes, shape) = (view.data(), view.shape());
    let dtype = view.dtype().try_into()?;
    let tensor = Tensor::from_raw_buffer(bytes, dtype, shape, &Device::Cpu)?;
    Ok(if dtype == DType::I64 { tensor } else { tensor.to_dtype(DType::F64)? })
}

fn host(tensor: &Tensor) -> TestResult<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Every network at both points.
fn each(check: impl Fn(&Reference, &str, &Params, &Tensor) -> TestResult) -> TestResult {
    for &name in PUBLISHED {
        let reference = Reference::read(name)?;
        for point in ["initial", "moved"] {
            check(&reference, point, &reference.theta(point)?, reference.get("inputs")?)?;
        }
    }
    Ok(())
}

#[test]
fn outputs_jvp_and_vjp() -> TestResult {
    each(|reference, point, theta, x| {
        let label = |what: &str| format!("{} {point}: {what}", reference.name);
        let sweep = reference.network.sweep(theta, x)?;
        let check = |what: &str, found: &Tensor| -> TestResult {
            let error =
                relative_error(&host(found)?, &reference.values(&format!("{point}/{what}"))?);
            assert!(error <= DOUBLE, "{}: {error:e}", label(what));
            Ok(())
        };
        check("outputs", sweep.outputs())?;
        check("jvp", &sweep.jvp(&direction(&reference.network.specs())?)?)?;
        let u: Vec<f64> = stream(x.dim(0)? * OUTPUTS, 2).collect();
        let gradient = sweep.vjp(&Tensor::from_vec(u, (x.dim(0)?, OUTPUTS), &Device::Cpu)?)?;
        let scale = gradient.norm()?;
        for (name, found) in gradient.iter() {
            let expected = reference.get(&format!("{point}/vjp/{name}"))?;
            let error = (found - expected)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt() / scale;
            assert!(error <= DOUBLE, "{}: {error:e}", label(name));
        }
        Ok(())
    })
}

/// `J J^T` from the rows that factors stand for: (N C, N C), row `n C + c`.
fn kernel_of_rows(network: &Network, params: &Params, x: &Tensor) -> TestResult<Tensor> {
    let sweep = network.sweep(params, x)?;
    let rows = |output: usize| -> TestResult<Tensor> {
        let factors = sweep.output_factors(output)?;
        let rows = factors.iter().map(|factor| factor.rows()).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&rows, 1)?)
    };
    let rows = (0..OUTPUTS).map(rows).collect::<TestResult<Vec<_>>>()?;
    let rows = Tensor::stack(&rows, 1)?.flatten_to(1)?;
    Ok(rows.matmul(&rows.t()?)?)
}

/// Root mean squares of two draws of n numbers are equal but for six standard errors.
#[test]
fn initial_laws_are_those_of_the_classes() -> TestResult {
    const ENOUGH: usize = 100;
    each(|reference, point, theta, _| {
        if point != "initial" {
            return Ok(());
        }
        let drawn = reference.network.init(1, DType::F64, &Device::Cpu)?;
        let scale = |values: Vec<f64>| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (name, tensor) in drawn.iter().filter(|(_, t)| t.elem_count() >= ENOUGH) {
            let (ours, theirs) = (scale(host(tensor)?), scale(host(theta.get(name)?)?));
            let error = (ours - theirs).abs();
            let limit = 6.0 * theirs / (tensor.elem_count() as f64).sqrt();
            assert!(error <= limit, "{} {name}: {ours} {theirs}", reference.name);
        }
        Ok(())
    })
}

#[test]
fn factors_stand_for_the_rows_of_the_jacobian() -> TestResult {
    each(|reference, point, theta, x| {
        let found = kernel_of_rows(&reference.network, theta, x)?.to_vec2::<f64>()?;
        let expected = reference.get(&format!("{point}/ntk_full"))?.to_vec2::<f64>()?;
        let error = entrywise_error(found.len(), |i, j| found[i][j], |i, j| expected[i][j]);
        assert!(error <= DOUBLE, "{} {point}: {error:e}", reference.name);
        Ok(())
    })
}

#[test]
fn kernels_of_three_outputs() -> TestResult {
    each(|reference, point, theta, x| {
        for (outputs, what) in [(Outputs::Trace, "ntk_trace"), (Outputs::Full, "ntk_full")] {
            let expected = reference.get(&format!("{point}/{what}"))?.to_vec2::<f64>()?;
            let n = expected.len();
            let check = |config: GramConfig| -> TestResult {
                let config = GramConfig { outputs, ..config };
                let found = gram(&reference.network, theta, x, &config)?.entries().to_f64_vec();
                let error = entrywise_error(n, |i, j| found[i * n + j], |i, j| expected[i][j]);
                let Reference { name, .. } = reference;
                assert!(error <= DOUBLE, "{name} {point} {what} {config:?}: {error:e}");
                Ok(())
            };
            check(GramConfig::default())?;
            let strategy = Strategy::JacobianContraction;
            check(GramConfig { strategy, ..GramConfig::default() })?;
            let engine = Engine::Tensors(DeviceConfig::default());
            check(GramConfig { engine, ..GramConfig::default() })?;
        }
        Ok(())
    })
}
