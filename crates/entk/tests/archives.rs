//! Networks of PyTorch's archives against float64 reference values of an independent autograd
//! (`golden/README.md` says how they were made), and archives that have to be refused.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use entk::{
    gram::{DeviceConfig, Engine, GramConfig, Outputs, gram},
    models::{Model, Params},
    torch::{Import, Imported, import},
};
use entk_testing::{TestResult, entrywise_error, relative_error, test_device};
use safetensors::SafeTensors;

/// Two independent f64 implementations: round-off of sums of some thousand terms.
const DOUBLE: f64 = 1e-10;
/// Outputs in f64, of the size of the largest.
const OUTPUTS: f64 = 1e-12;
/// Kernels in f32: what PyTorch itself gives differs by up to 8e-6.
const SINGLE: f64 = 1e-5;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch")
}

/// Paths of the archives in a folder, sorted.
fn archives(folder: &Path) -> TestResult<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pt2") {
            paths.push(path);
        }
    }
    paths.sort();
    assert!(!paths.is_empty(), "no archive in {}", folder.display());
    Ok(paths)
}

/// An archive as a network, with its reference values.
struct Case {
    imported: Imported,
    tensors: Vec<(String, Tensor)>,
    dtype: DType,
}

impl Case {
    fn read(path: &Path, dtype: DType) -> TestResult<Self> {
        let mut imported = import(path, &Import { dtype, ..Import::default() })?;
        imported.params = imported.params.to_device(test_device())?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default();
        let bytes = std::fs::read(path.with_file_name(format!("{name}.safetensors")))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let tensors = file.iter().map(|(key, view)| {
            let dtype = view.dtype().try_into()?;
            let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), test_device())?;
            Ok((key.to_owned(), tensor))
        });
        let tensors = tensors.collect::<TestResult<_>>()?;
        Ok(Self { imported, tensors, dtype })
    }

    fn get(&self, key: &str) -> TestResult<&Tensor> {
        let found = self.tensors.iter().find(|(name, _)| name == key);
        Ok(&found.ok_or_else(|| format!("no {key}"))?.1)
    }

    /// Reference values as numbers of the network.
    fn real(&self, key: &str) -> TestResult<Tensor> {
        Ok(self.get(key)?.to_dtype(self.dtype)?)
    }

    fn values(&self, key: &str) -> TestResult<Vec<f64>> {
        host(self.get(key)?)
    }

    fn inputs(&self) -> TestResult<Tensor> {
        let inputs = self.get("inputs")?;
        Ok(if inputs.dtype().is_int() { inputs.clone() } else { inputs.to_dtype(self.dtype)? })
    }

    /// The given direction in parameter space.
    fn direction(&self) -> TestResult<Params> {
        let named = self.imported.network.specs().into_iter().map(|spec| {
            let tangent = self.real(&format!("tangent.{}", spec.name));
            let zeros = Tensor::zeros(spec.shape.as_slice(), self.dtype, test_device())?;
            let tensor = tangent.unwrap_or(zeros);
            Ok((spec.name, tensor))
        });
        let named = named.collect::<TestResult<Vec<_>>>()?;
        Ok(Params::from_named(&self.imported.network.specs(), named)?)
    }

    /// Outputs, JVP and VJP: the largest error of each, by name.
    fn products(&self) -> TestResult<Vec<(String, f64)>> {
        let Imported { network, params, .. } = &self.imported;
        let sweep = network.sweep(params, &self.inputs()?)?;
        let error = |what: &str, found: &Tensor| -> TestResult<(String, f64)> {
            Ok((what.to_owned(), relative_error(&host(found)?, &self.values(what)?)))
        };
        let mut errors = vec![
            error("outputs", sweep.outputs())?,
            error("jvp", &sweep.jvp(&self.direction()?)?)?,
        ];
        let gradient = sweep.vjp(&self.real("cotangent")?)?;
        let scale = gradient.norm()?;
        for (name, found) in gradient.iter() {
            let expected = self.values(&format!("vjp.{name}"))?;
            let squares = host(found)?.into_iter().zip(expected).map(|(a, b)| (a - b).powi(2));
            errors.push((format!("vjp of {name}"), squares.sum::<f64>().sqrt() / scale));
        }
        Ok(errors)
    }

    /// The kernel of each kind of output, by one engine.
    fn kernels(&self, engine: Engine) -> TestResult<Vec<(String, f64)>> {
        let Imported { network, params, .. } = &self.imported;
        let kinds = [
            (Outputs::Trace, "ntk_trace"),
            (Outputs::Full, "ntk_full"),
            (Outputs::SumOfLogits, "ntk_sum"),
        ];
        let kernel = |(outputs, what): (Outputs, &str)| {
            let config = GramConfig { outputs, engine: engine.clone(), ..GramConfig::default() };
            let found = gram(network, params, &self.inputs()?, &config)?.entries().to_f64_vec();
            let expected = self.get(what)?.to_vec2::<f64>()?;
            let n = expected.len();
            let error = entrywise_error(n, |i, j| found[i * n + j], |i, j| expected[i][j]);
            Ok((what.to_owned(), error))
        };
        kinds.into_iter().map(kernel).collect()
    }
}

fn host(tensor: &Tensor) -> TestResult<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Runs a check on every archive, and lists all that fail.
fn each(
    dtype: DType,
    tolerance: impl Fn(&str) -> f64,
    check: impl Fn(&Case) -> TestResult<Vec<(String, f64)>>,
) -> TestResult {
    let mut failures = Vec::new();
    for path in archives(&folder())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Case::read(&path, dtype).and_then(|case| check(&case)) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(errors) => failures.extend(
                (errors.into_iter())
                    .filter(|(what, error)| error.is_nan() || *error > tolerance(what))
                    .map(|(what, error)| format!("{name}: {what}: {error:e}")),
            ),
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn outputs_jvp_and_vjp_are_those_of_pytorch() -> TestResult {
    let tolerance = |what: &str| if what == "outputs" { OUTPUTS } else { DOUBLE };
    each(DType::F64, tolerance, Case::products)
}

#[test]
fn kernels_are_those_of_pytorch() -> TestResult {
    each(DType::F64, |_| DOUBLE, |case| case.kernels(Engine::default()))
}

#[test]
fn kernels_of_the_engine_of_tensors_are_those_of_pytorch() -> TestResult {
    let engine = Engine::Tensors(DeviceConfig::default());
    each(DType::F64, |_| DOUBLE, |case| case.kernels(engine.clone()))
}

#[test]
fn kernels_in_single_precision_are_close() -> TestResult {
    each(DType::F32, |_| SINGLE, |case| case.kernels(Engine::default()))
}

/// Each archive that has to be refused, with words of the reason.
const REFUSED: [(&str, &str); 15] = [
    ("train_mode", "model.eval()"),
    ("examples_interact", "example 0, output 0 is"),
    // A sum over the examples before.
    ("examples_add_up", "example 1, output 0 is"),
    // The larger of an example and the first, which is itself where the first is smaller.
    ("examples_beside_the_first", "among others"),
    ("random", "no random numbers"),
    ("fft", "fft"),
    ("inverse", "linalg_inv"),
    ("two_outputs", "2 tensors"),
    ("branch", "branch"),
    ("integer_output", "no derivative"),
    ("truncated", "cut off"),
    ("newer_schema", "schema 9"),
    ("missing_weight", "is not in the archive"),
    ("short_weight", "does not lie within"),
    ("big_endian", "byteorder"),
];

#[test]
fn archives_that_are_no_networks_are_refused_with_the_reason() -> TestResult {
    let refuse = folder().join("refuse");
    assert_eq!(archives(&refuse)?.len(), REFUSED.len());
    let mut failures = Vec::new();
    for (name, words) in REFUSED {
        match import(refuse.join(format!("{name}.pt2")), &Import::default()) {
            Ok(_) => failures.push(format!("{name}: taken")),
            Err(error) if error.to_string().contains(words) => {}
            Err(error) => failures.push(format!("{name}: {error}, without {words:?}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
