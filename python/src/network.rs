//! Networks: a name or an archive of PyTorch comes in, a network goes out, with its parameters
//! where the archive has them. The Python half wraps it.

use std::{path::PathBuf, sync::Arc};

use entk::{
    candle_core::Device,
    models::{self, InputKind, Model, ParamKind, Trainable, ensure_finite},
    torch::{Import, Imported, import, import_bytes},
    train::logits,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    arrays::{Numbers, table},
    error::exception,
    interrupt::run,
    named::{NAMES, named},
    params::{Params, parse_dtype},
};

/// A network f(theta, x).
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct Network {
    pub(crate) inner: Arc<models::Network>,
}

/// Where the archive of a module is.
#[derive(FromPyObject)]
enum Archive {
    #[pyo3(transparent, annotation = "bytes")]
    Bytes(Vec<u8>),
    #[pyo3(transparent, annotation = "path")]
    Path(PathBuf),
}

/// Network, parameters, notes, names of tied parameters, and the version of torch.
type ImportedParts = (Network, Params, Vec<String>, Vec<(String, String)>, String);

#[pymethods]
impl Network {
    /// Names of published networks.
    #[staticmethod]
    fn names() -> [&'static str; 16] {
        NAMES
    }

    /// A published network.
    #[staticmethod]
    fn named(
        py: Python<'_>,
        name: String,
        input: Vec<usize>,
        outputs: usize,
        activation: Option<String>,
    ) -> PyResult<Self> {
        let network = py.detach(|| named(&name, &input, outputs, activation.as_deref()))?;
        Ok(Self { inner: Arc::new(network) })
    }

    /// The network of an archive.
    #[staticmethod]
    fn of_archive(
        py: Python<'_>,
        archive: Archive,
        dtype: &str,
        only: Option<Vec<String>>,
        except: Vec<String>,
    ) -> PyResult<ImportedParts> {
        let config = Import {
            dtype: parse_dtype(dtype)?,
            device: Device::Cpu,
            trainable: trainable(only, except),
        };
        let imported = run(py, None, move |_| {
            Ok(match archive {
                Archive::Bytes(bytes) => import_bytes(bytes, &config)?,
                Archive::Path(path) => import(path, &config)?,
            })
        })?;
        let Imported { network, params, notes, aliases, torch_version, .. } = imported;
        let network = Self { inner: Arc::new(network) };
        Ok((network, Params::new(params), notes, aliases, torch_version))
    }

    /// This network with other parameters trained.
    fn trained(&self, only: Option<Vec<String>>, except: Vec<String>) -> PyResult<Self> {
        let trainable = trainable(only, except).unwrap_or_default();
        let network = (*self.inner).clone().with_trainable(&trainable).map_err(exception)?;
        Ok(Self { inner: Arc::new(network) })
    }

    /// Shape of one input.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.inner.input_shape().to_vec()
    }

    /// Number of outputs C.
    #[getter]
    fn outputs(&self) -> usize {
        self.inner.outputs()
    }

    /// Whether inputs are numbers of tokens.
    #[getter]
    fn reads_ids(&self) -> bool {
        self.inner.input_kind() == InputKind::Ids
    }

    /// (name, shape, "trained", "frozen" or "statistic") of every tensor.
    fn specs(&self) -> Vec<(String, Vec<usize>, &'static str)> {
        let kind = |kind| match kind {
            ParamKind::Trainable => "trained",
            ParamKind::Statistic => "statistic",
            _ => "frozen",
        };
        let specs = self.inner.specs().into_iter();
        specs.map(|spec| (spec.name, spec.shape, kind(spec.kind))).collect()
    }

    /// Parameters at the initial law.
    fn init(&self, py: Python<'_>, seed: u64, dtype: &str) -> PyResult<Params> {
        let (network, dtype) = (Arc::clone(&self.inner), parse_dtype(dtype)?);
        let params = run(py, None, move |_| Ok(network.init(seed, dtype, &Device::Cpu)?))?;
        Ok(Params::new(params))
    }

    /// Parameters from arrays by name.
    fn params(&self, arrays: &Bound<'_, PyDict>) -> PyResult<Params> {
        Params::of_dict(&self.inner, arrays)
    }

    /// Parameters from a file.
    fn load(&self, py: Python<'_>, path: PathBuf, dtype: &str) -> PyResult<Params> {
        let (network, dtype) = (Arc::clone(&self.inner), parse_dtype(dtype)?);
        let params = run(py, None, move |_| {
            Ok(models::Params::load(&network.specs(), path, dtype, &Device::Cpu)?)
        })?;
        Ok(Params::new(params))
    }

    /// f(theta, x), (N, C), so many examples at a time.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        params: &Params,
        x: Numbers<'py>,
        batch: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (network, params) = (Arc::clone(&self.inner), Arc::clone(&params.inner));
        let x = x.tensor()?;
        let values = run(py, None, move |_| {
            ensure_finite(&x, "inputs")?;
            Ok(logits(&*network, &params, &x, batch)?)
        })?;
        table(py, values, self.inner.outputs())
    }

    /// The table of operations, shapes and parameters.
    fn __str__(&self) -> String {
        self.inner.to_string()
    }
}

/// Which parameters are trained, if anything is said of it.
fn trainable(only: Option<Vec<String>>, except: Vec<String>) -> Option<Trainable> {
    match (only, except.is_empty()) {
        (None, true) => None,
        (None, false) => Some(Trainable::except(except)),
        (Some(only), _) => Some(Trainable::only(only).without(except)),
    }
}
