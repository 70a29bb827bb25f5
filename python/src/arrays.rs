//! Numbers between numpy and the library: arrays come in and become tensors by one copy, what the
//! library has computed goes out as arrays that read its memory.

use candle_core::Tensor;
use entk::{candle_core, device::memory::ensure, spectral::Entries};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{prelude::*, types::PyDict};

use crate::error::{InvalidInput, exception};

/// An array of Python in row-major order, of one of the types that inputs may have.
#[derive(FromPyObject)]
pub(crate) enum Numbers<'py> {
    /// Reals.
    F32(PyReadonlyArrayDyn<'py, f32>),
    /// Reals.
    F64(PyReadonlyArrayDyn<'py, f64>),
    /// Numbers of tokens.
    Ids(PyReadonlyArrayDyn<'py, u32>),
}

impl<'py> Numbers<'py> {
    /// Reals from anything that is an array, as the Python half takes it.
    pub(crate) fn reals(array: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        let reals = array.py().import("entk._arrays")?.getattr("reals")?;
        reals.call1((array, name))?.extract()
    }

    /// A copy as a tensor on the CPU: tensors own their memory.
    pub(crate) fn tensor(&self) -> PyResult<Tensor> {
        match self {
            Self::F32(array) => tensor(array),
            Self::F64(array) => tensor(array),
            Self::Ids(array) => tensor(array),
        }
    }
}

fn tensor<T>(array: &PyReadonlyArrayDyn<'_, T>) -> PyResult<Tensor>
where
    T: numpy::Element + candle_core::WithDType,
{
    let bytes = (array.len() as u64).saturating_mul(size_of::<T>() as u64);
    ensure("a copy of the array", bytes, None, "use fewer examples").map_err(exception)?;
    let device = candle_core::Device::Cpu;
    Tensor::from_slice(contiguous(array)?, array.shape(), &device).map_err(exception)
}

/// The entries row by row.
pub(crate) fn contiguous<'a, T: numpy::Element>(
    array: &'a PyReadonlyArrayDyn<'_, T>,
) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| {
        InvalidInput::new_err("an array is not in row-major order; use numpy.ascontiguousarray")
    })
}

/// Memory of the library that numpy reads: it keeps what owns the memory.
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct View {
    #[expect(dead_code, reason = "it owns the memory")]
    owner: Py<PyAny>,
    interface: Interface,
}

#[pymethods]
impl View {
    /// The array interface of numpy, version 3.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.interface.dict(py)
    }
}

/// Where a matrix lies: what numpy's array interface says of it.
pub(crate) struct Interface {
    address: usize,
    shape: Vec<usize>,
    kind: &'static str,
}

impl Interface {
    /// Of entries that neither move nor change as long as their owner lives.
    pub(crate) fn new(entries: Entries<'_>, shape: &[usize]) -> Self {
        let (address, kind) = match entries {
            Entries::F32(values) => (values.as_ptr().expose_provenance(), F32),
            Entries::F64(values) => (values.as_ptr().expose_provenance(), F64),
        };
        Self { address, shape: shape.to_vec(), kind }
    }

    pub(crate) fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("version", 3)?;
        dict.set_item("shape", pyo3::types::PyTuple::new(py, &self.shape)?)?;
        dict.set_item("typestr", self.kind)?;
        // The second entry: nobody may write.
        dict.set_item("data", (self.address, true))?;
        Ok(dict)
    }

    /// An array of numpy over this memory of `owner`.
    pub(crate) fn array<'py>(
        self,
        py: Python<'py>,
        owner: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let view = Bound::new(py, View { owner, interface: self })?;
        py.import("numpy")?.call_method1("asarray", (view,))
    }
}

const F32: &str = if cfg!(target_endian = "little") { "<f4" } else { ">f4" };
const F64: &str = if cfg!(target_endian = "little") { "<f8" } else { ">f8" };

/// A table (rows, cols) as an array of numpy, which takes over the memory.
pub(crate) fn table<'py>(
    py: Python<'py>,
    values: Vec<f64>,
    cols: usize,
) -> PyResult<Bound<'py, PyAny>> {
    use numpy::{IntoPyArray, PyArrayMethods};
    let rows = values.len() / cols.max(1);
    Ok(values.into_pyarray(py).reshape([rows, cols])?.into_any())
}
