//! Parameters of networks: arrays by name come in from state dicts, arrays by name go out. Made by
//! networks, read by everything that computes with one.

use std::sync::Arc;

use entk::{
    candle_core::{DType, Tensor},
    models,
};
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    arrays::Numbers,
    error::{InvalidInput, exception},
};

/// Parameters of a network, with the statistics of batch norms.
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct Params {
    pub(crate) inner: Arc<models::Params>,
}

impl Params {
    pub(crate) fn new(params: models::Params) -> Self {
        Self { inner: Arc::new(params) }
    }

    /// Parameters from a state dict, in the type of its arrays.
    pub(crate) fn of_dict(network: &models::Network, dict: &Bound<'_, PyDict>) -> PyResult<Self> {
        let tensors = dict.iter().map(|(name, array)| {
            let numbers: Numbers<'_> = array.extract()?;
            Ok((name.extract::<String>()?, numbers.tensor()?))
        });
        let tensors = tensors.collect::<PyResult<Vec<_>>>()?;
        let specs = models::Model::specs(network);
        Ok(Self::new(models::Params::from_named(&specs, tensors).map_err(exception)?))
    }

    fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.inner.iter().chain(self.inner.statistics())
    }
}

#[pymethods]
impl Params {
    /// Names of all tensors: what is trained, then what is frozen and the statistics.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.tensors().map(|(name, _)| name.to_owned()).collect()
    }

    /// Number of trained scalars, P.
    #[getter]
    fn count(&self) -> usize {
        self.inner.count()
    }

    /// "float32" or "float64".
    #[getter]
    fn dtype(&self) -> &'static str {
        dtype_name(self.inner.dtype())
    }

    /// These numbers in another type.
    fn astype(&self, dtype: &str) -> PyResult<Self> {
        let dtype = parse_dtype(dtype)?;
        if dtype == self.inner.dtype() {
            return Ok(Self { inner: Arc::clone(&self.inner) });
        }
        Ok(Self::new(self.inner.to_dtype(dtype).map_err(exception)?))
    }

    /// A copy of one tensor, or None.
    fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.tensors().find(|(own, _)| *own == name);
        found.map(|(_, tensor)| array(py, tensor)).transpose()
    }

    /// Writes a safetensors file.
    fn save(&self, path: std::path::PathBuf) -> PyResult<()> {
        self.inner.save(path).map_err(exception)
    }
}

fn array<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let (flat, shape) = (tensor.flatten_all().map_err(exception)?, tensor.dims());
    Ok(match tensor.dtype() {
        DType::F32 => {
            let values = flat.to_vec1::<f32>().map_err(exception)?;
            values.into_pyarray(py).reshape(shape)?.into_any()
        }
        _ => {
            let values = flat.to_vec1::<f64>().map_err(exception)?;
            values.into_pyarray(py).reshape(shape)?.into_any()
        }
    })
}

/// A type by numpy's name.
pub(crate) fn parse_dtype(name: &str) -> PyResult<DType> {
    match name {
        "float32" => Ok(DType::F32),
        "float64" => Ok(DType::F64),
        other => Err(InvalidInput::new_err(format!(
            "dtype is {other}; expected float32 or float64, in which kernels are computed"
        ))),
    }
}

fn dtype_name(dtype: DType) -> &'static str {
    if dtype == DType::F64 { "float64" } else { "float32" }
}
